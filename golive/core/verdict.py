"""From what was measured to verdicts. Pure."""

from collections.abc import Iterable, Mapping

from golive.core.values import CheckName, CheckResult, CheckStatus, Finding, Measured

DEPENDS_ON = "depends_on="


def list_failed(measured: Mapping[CheckName, Measured]) -> frozenset[CheckName]:
    """The checks that fail by themselves: at least one finding names no other check as its cause.

    Only these explain another check's findings, so two checks can never excuse each other.
    """
    return frozenset(
        name for name, item in measured.items() if any(not finding.depends_on for finding in item.findings)
    )


def judge(
    measured: Mapping[CheckName, Measured],
    *,
    seconds: Mapping[CheckName, float],
    not_counted: frozenset[CheckName] = frozenset(),
) -> tuple[CheckResult, ...]:
    """The verdict on each check, in the documented order.

    Without findings it passes. Where other failed checks explain every finding, it is INCONCLUSIVE
    with reason `depends_on=<check>`; otherwise it fails for its first unexplained finding.
    """
    failed = list_failed(measured)
    return tuple(
        _judge_one(name, measured[name], failed, seconds[name], name not in not_counted)
        for name in CheckName
        if name in measured
    )


def _judge_one(
    name: CheckName, item: Measured, failed: frozenset[CheckName], seconds: float, is_counted: bool
) -> CheckResult:
    own = [finding for finding in item.findings if failed.isdisjoint(finding.depends_on)]
    status, reason = CheckStatus.PASS, item.reason
    chosen = Finding(reason=reason, text="", next="")
    if item.findings:
        chosen = (own or list(item.findings))[0]
        status = CheckStatus.FAIL if own else CheckStatus.INCONCLUSIVE
        reason = chosen.reason if own else f"{DEPENDS_ON}{_cause(chosen, failed)}"
    return CheckResult(
        name=name, status=status, reason=reason, text=chosen.text, details=item.details,
        seconds=seconds, next=chosen.next, is_counted=is_counted,
    )  # fmt: skip


def _cause(finding: Finding, failed: frozenset[CheckName]) -> CheckName:
    return next(name for name in finding.depends_on if name in failed)


def is_passed(results: Iterable[CheckResult]) -> bool:
    """Whether at least one check counted and every counted one is good; unknown is a denial."""
    counted = [result for result in results if result.is_counted]
    return bool(counted) and all(result.status.is_good for result in counted)
