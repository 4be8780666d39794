"""What an account has earned, computed from the ledger and never typed in; each evaluation is kept."""

from collections.abc import Iterable
from dataclasses import asdict

from django.conf import settings
from django.db import transaction

from controlplane.audit import services as audit
from controlplane.code_version import get_code_version
from controlplane.errors import Conflict
from golive.advancement_rules import get_advancement_rules
from golive.core.advancement import Criterion, find_next, judge_record, recommend
from golive.models import Evaluation
from golive.track_record import gather_record
from risk.limits import get_limits
from trading.core.values import Clocks
from trading.models import Account, Permit
from trading.selectors import get_active_permit

LIVE = "LIVE"
TOP = "LARGE"


class NothingToEvaluate(Conflict):
    """The account has no permit: it has no record."""

    code = "nothing_to_evaluate"


def evaluate_account(*, account: Account, actor: str, clocks: Clocks) -> Evaluation:
    """Judge every criterion of the rung above now, keep the answer and its evidence; it changes nothing else.

    Raises NothingToEvaluate.
    """
    permit = get_active_permit(account)
    if permit is None:
        raise NothingToEvaluate(f"account {account.name} has no permit and so no record")
    rules, above = get_advancement_rules(), find_next(permit.profile)
    rung = rules.rungs[above or TOP]
    record = gather_record(
        permit=permit, limits=get_limits(permit.limit_set_digest), rules=rules, rung=rung, clocks=clocks
    )
    criteria = judge_record(record, rules, rung)
    may_rise = permit.kind == LIVE and above is not None
    recommendation = recommend(criteria, record, may_rise=may_rise)
    with transaction.atomic():
        row = Evaluation.objects.create(
            account=account,
            profile=permit.profile,
            recommendation=recommendation.value,
            criteria=[_describe(item) for item in criteria],
            code_version=get_code_version(),
            market_at=clocks.market_at,
        )
        _audit(row, permit, rules.digest, criteria, actor)
    return row


def _describe(item: Criterion) -> dict[str, object]:
    return {**asdict(item), "evidence": list(item.evidence)}


def _audit(
    row: Evaluation, permit: Permit, rules_digest: str, criteria: Iterable[Criterion], actor: str
) -> None:
    audit.record(
        action="golive.evaluate",
        actor=actor,
        subject_type="account",
        subject_id=row.account.name,
        detail={
            "evaluation": row.pk,
            "permit": permit.pk,
            "profile": row.profile,
            "recommendation": row.recommendation,
            "rules": rules_digest,
            "unmet": [item.name for item in criteria if item.is_met is False],
        },
    )


def list_evaluable_accounts() -> list[Account]:
    """Every account with a permit in this environment, by name."""
    rows = Permit.objects.select_related("account").filter(
        active=True, environment=settings.TRADING_ENVIRONMENT
    )
    return [row.account for row in rows.order_by("account__name")]


def get_latest_evaluation(account: Account) -> Evaluation | None:
    return Evaluation.objects.filter(account=account).order_by("-id").first()
