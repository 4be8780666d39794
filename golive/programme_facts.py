"""Reads what the programme's conditions ask about, at one moment and by the database's clocks."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from controlplane.approvals.core import Mode
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.selectors import find_mode
from controlplane.code_version import get_code_version
from golive.ceiling import get_effective_limits, get_profile_limits, is_enabled, list_halted
from golive.checklist import list_unmet_lines
from golive.core.ceiling import find_numbers_above
from golive.core.direction import Growth, find_growth
from golive.core.programme import rung_of
from golive.core.programme_values import (
    ConfigFacts,
    EvaluationFacts,
    LiveFacts,
    ProgrammeFacts,
    ProgrammeRules,
    RunFacts,
    TradeFacts,
)
from golive.core.values import CheckName, Purpose
from golive.core.words import ActivationState
from golive.demo_trades import list_counting_trades
from golive.demotion import get_barred_until
from golive.freeze import find_drift
from golive.models import Activation, Evaluation, Freeze, Hold, PreflightRun, Programme, Rollback
from golive.selectors import get_active_config
from risk.core.values import Limits, RiskLevel
from risk.limits import get_limits
from risk.selectors import get_risk_state
from trading.core.values import Clocks, OrderPurpose
from trading.models import Account, Permit, Trade
from trading.selectors import get_active_permit, get_clocks


def read_facts(
    account: Account, profile: str, rules: ProgrammeRules, *, programme: Programme | None = None
) -> ProgrammeFacts:
    """Everything as it is now; without a programme nothing is frozen, asked or live."""
    clocks, permit = get_clocks(), get_active_permit(account)
    growth = find_cumulative_growth(account, profile, rules, clocks.wall_at)
    freeze = None if programme is None else programme.freeze
    return ProgrammeFacts(
        now=clocks.wall_at,
        market_now=clocks.market_at,
        account=account.name,
        profile=profile,
        environment=account.environment,
        desk_environment=settings.TRADING_ENVIRONMENT,
        is_solo=find_mode() is not Mode.DUAL,
        current_profile=find_live_profile(permit),
        last_rung_at=_find_last_rung(account),
        barred_until=get_barred_until(account),
        code_version=get_code_version(),
        config=_read_config(profile),
        run=_read_run(account),
        trades=_count_trades(account, rules, clocks.market_at),
        unmet_lines=_list_unmet_lines(programme),
        halted_scopes=tuple(list_halted(account)),
        risk_level=_read_level(clocks),
        is_held=_is_held(account),
        evaluation=_read_evaluation(account),
        growth_limit="" if growth is None else growth.limit,
        growth=None if growth is None else growth.ratio,
        is_frozen=freeze is not None,
        drift=() if freeze is None else list_drifted(freeze, account),
        request_state=_read_request_state(programme),
        live=None if programme is None else _read_live(programme),
    )


def find_live_profile(permit: Permit | None) -> str | None:
    """The rung that the account stands on; None on paper and without a permit."""
    return permit.profile if permit is not None and permit.kind == "LIVE" else None


def list_drifted(freeze: Freeze, account: Account) -> tuple[str, ...]:
    """The groups that are not as frozen, and how."""
    return tuple(str(item) for item in find_drift(freeze, account))


def _list_unmet_lines(programme: Programme | None) -> tuple[str, ...] | None:
    """Lines are signed for a programme; without one nothing is known of them."""
    return None if programme is None else list_unmet_lines(programme)


def _read_level(clocks: Clocks) -> RiskLevel | None:
    """An assessment that is too old counts as its own kind of CRITICAL there."""
    level = get_risk_state(clocks)["global_risk"]["level"]
    return RiskLevel(level) if level in list(RiskLevel) else None


def _is_held(account: Account) -> bool:
    """Also while a rollback has not finished."""
    held = Hold.objects.filter(account=account, released_at__isnull=True)
    return held.exists() or Rollback.objects.filter(account=account, finished_at__isnull=True).exists()


def _read_config(profile: str) -> ConfigFacts | None:
    config = get_active_config()
    if config is None:
        return None
    return ConfigFacts(
        digest=config.digest,
        is_enabled=is_enabled(config),
        allowed_profiles=tuple(config.allowed_profiles),
        min_trades=config.min_testnet_trades,
        worst_risk=RiskLevel(config.require_risk_state),
        above=tuple(str(item) for item in find_numbers_above(get_profile_limits(profile), config)),
    )


def _read_run(account: Account) -> RunFacts | None:
    """The newest that speaks for the account, of this code where there is one."""
    rows = PreflightRun.objects.filter(
        purpose=Purpose.GOLIVE.value,
        is_complete=True,
        finished_at__isnull=False,
        environment=account.environment,
        account__in=("", account.name),
    ).order_by("-id")
    run = rows.filter(code_version=get_code_version()).first() or rows.first()
    if run is None:
        return None
    exchange = run.checks.filter(name=CheckName.EXCHANGE.value).values_list("status", flat=True).first()
    return RunFacts(
        run_id=run.pk,
        is_passed=bool(run.is_passed),
        passed=run.passed_count,
        checks=len(CheckName),
        code_version=run.code_version,
        started_at=run.started_at,
        exchange_status=exchange or "",
    )


def _count_trades(account: Account, rules: ProgrammeRules, market_now: datetime) -> TradeFacts:
    found = list(
        list_counting_trades(account, rules, market_now).order_by("id").values_list("symbol", "closed_by")
    )
    ends = [closed_by for _, closed_by in found]
    return TradeFacts(
        count=len(found),
        symbols=len({symbol for symbol, _ in found}),
        stops=ends.count(OrderPurpose.STOP_LOSS.value),
        targets=ends.count(OrderPurpose.TAKE_PROFIT.value),
    )


def _read_evaluation(account: Account) -> EvaluationFacts | None:
    row = Evaluation.objects.filter(account=account, code_version=get_code_version()).order_by("-id").first()
    if row is None:
        return None
    return EvaluationFacts(
        profile=row.profile, recommendation=row.recommendation, evaluated_at=row.evaluated_at
    )


def _find_last_rung(account: Account) -> datetime | None:
    """When an activation last led to a higher rung than the one before it."""
    rows = Activation.objects.filter(account=account).order_by("id").values_list("profile", "activated_at")
    return _last_rise(rows)


def _last_rise(rows: Iterable[tuple[str, datetime]]) -> datetime | None:
    before, risen_at = -1, None
    for profile, activated_at in rows:
        if rung_of(profile) > before:
            risen_at = activated_at
        before = rung_of(profile)
    return risen_at


def find_baseline(account: Account, rules: ProgrammeRules, now: datetime) -> Activation | None:
    """What was last confirmed before the window began, or first within it; None where nothing was."""
    confirmed = Activation.objects.filter(account=account, confirmed_at__isnull=False).exclude(
        state=ActivationState.ROLLED_BACK
    )
    before = confirmed.filter(confirmed_at__lte=now - rules.cumulative_window)
    return before.order_by("-confirmed_at", "-id").first() or confirmed.order_by("confirmed_at", "id").first()


def find_cumulative_growth(
    account: Account, profile: str, rules: ProgrammeRules, now: datetime
) -> Growth | None:
    """How far the profile's limits are above the baseline; None for an account that is not live."""
    baseline = find_baseline(account, rules, now)
    if baseline is None or find_live_profile(get_active_permit(account)) is None:
        return None
    limits = get_limits(baseline.limit_set_digest)
    if limits is None:
        return Growth(limit="every limit", ratio=Decimal(1))
    return find_growth(limits, find_proposed_limits(profile))


def find_proposed_limits(profile: str) -> Limits:
    """The profile's limits under the ceiling in force."""
    return get_effective_limits(get_profile_limits(profile))


def _read_request_state(programme: Programme | None) -> str:
    if programme is None or programme.request_id is None:
        return ""
    states = ApprovalRequest.objects.filter(pk=programme.request_id).values_list("state", flat=True)
    return states.first() or ""


def _read_live(programme: Programme) -> LiveFacts | None:
    activation = Activation.objects.filter(programme=programme, ended_at__isnull=True).first()
    if activation is None:
        return None
    entries = Trade.objects.filter(
        venue_account__account=programme.account,
        opened_at__gte=activation.market_at,
        stop_verified_at__isnull=False,
    )
    return LiveFacts(
        activated_at=activation.market_at,
        verdicts=dict(activation.observations.values_list("minute", "verdict")),
        trips=activation.trips.count(),
        protected_entry_at=entries.order_by("opened_at").values_list("opened_at", flat=True).first(),
    )
