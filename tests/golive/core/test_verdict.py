import pytest

from golive.core.values import CheckName, CheckStatus, Finding, Measured
from golive.core.verdict import is_passed, judge, list_failed

HEALTH, DATABASE, SEEING = CheckName.HEALTH, CheckName.DATABASE, CheckName.OBSERVABILITY


def trouble(reason: str, *depends_on: CheckName) -> Finding:
    return Finding(reason=reason, text=f"text of {reason}", next=f"fix {reason}", depends_on=depends_on)


def verdicts(**findings: tuple[Finding, ...]):
    names = {"health": HEALTH, "database": DATABASE, "seeing": SEEING}
    measured = {names[key]: Measured(reason="fine", findings=value) for key, value in findings.items()}
    return judge(measured, seconds=dict.fromkeys(measured, 0.5))


def test_a_check_without_findings_passes():
    (result,) = verdicts(health=())
    assert (result.status, result.reason, result.next) == (CheckStatus.PASS, "fine", "")
    assert is_passed([result])


def test_a_finding_of_its_own_fails_for_the_first_of_them():
    (result,) = verdicts(health=(trouble("refused"), trouble("other")))
    assert (result.status, result.reason, result.next) == (CheckStatus.FAIL, "refused", "fix refused")
    assert not is_passed([result])


def test_what_another_failed_check_explains_is_inconclusive_and_counts_as_failed():
    _, result = verdicts(database=(trouble("worker_silent"),), seeing=(trouble("unseen", DATABASE),))
    assert result.status is CheckStatus.INCONCLUSIVE
    assert result.reason == "depends_on=check_database_redis"
    assert result.next == "fix unseen"
    assert not is_passed([result])


def test_one_finding_of_its_own_is_enough_to_fail():
    _, result = verdicts(
        database=(trouble("worker_silent"),), seeing=(trouble("unseen", DATABASE), trouble("no_channel"))
    )
    assert (result.status, result.reason) == (CheckStatus.FAIL, "no_channel")


@pytest.mark.parametrize("other", [{}, {"database": ()}])
def test_a_check_that_passed_or_was_not_run_explains_nothing(other):
    result = verdicts(**other, seeing=(trouble("unseen", DATABASE),))[-1]
    assert (result.status, result.reason) == (CheckStatus.FAIL, "unseen")


def test_two_checks_cannot_excuse_each_other():
    results = verdicts(health=(trouble("a", DATABASE),), database=(trouble("b", HEALTH),))
    assert {result.status for result in results} == {CheckStatus.FAIL}
    assert list_failed({HEALTH: Measured(reason="", findings=(trouble("a", DATABASE),))}) == frozenset()


def test_any_of_several_causes_explains():
    _, result = verdicts(database=(trouble("gone"),), seeing=(trouble("old", HEALTH, DATABASE),))
    assert result.reason == "depends_on=check_database_redis"


def test_an_uncounted_failure_does_not_matter_and_nothing_counted_is_not_a_pass():
    measured = {HEALTH: Measured(reason="fine"), SEEING: Measured(reason="", findings=(trouble("x"),))}
    results = judge(
        measured, seconds=dict.fromkeys(measured, 0.0), not_counted=frozenset({CheckName.OBSERVABILITY})
    )
    assert is_passed(results)
    assert not is_passed(results[1:])
    assert not is_passed([])
