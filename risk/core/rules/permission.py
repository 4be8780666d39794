"""Who may trade what, now: account, trading states, permit, allow-list, global risk."""

from risk.core.reasons import ReasonCode
from risk.core.rules.case import Case, LimitedCase, breach
from risk.core.values import Breach, PendingStage, RiskLevel
from trading.core.values import OrderPurpose, TradingStateName

# Who may still remove risk while HALTED (RISK.md part 2): protections, the stop's own sweep, a person.
SAFETY_PURPOSES = frozenset(
    {
        OrderPurpose.STOP_LOSS,
        OrderPurpose.TAKE_PROFIT,
        OrderPurpose.SAFETY_CLOSE,
        OrderPurpose.FLATTEN,
    }
)
OPERATOR = "operator"
ACTIVE, APPROVED, CRITICAL = TradingStateName.ACTIVE, PendingStage.APPROVED, RiskLevel.CRITICAL
# The order, its stop and its target.
MESSAGES_PER_ENTRY = 3


def permits_known_accounts(case: Case) -> Breach | None:
    """The account is known and belongs to the desk's environment."""
    environment = case.snapshot.account_environment
    if environment is None:
        return breach(ReasonCode.ACCOUNT_UNKNOWN, measured=case.intent.account)
    if environment is not case.snapshot.environment:
        return breach(
            ReasonCode.ENVIRONMENT_MISMATCH, measured=environment.value, limit=case.snapshot.environment.value
        )
    return None


def find_strictest(case: Case) -> tuple[str, TradingStateName]:
    """The strictest state over the order's scopes and the widest scope that has it; no row is HALTED."""
    known = {item.scope: item.state for item in case.snapshot.states}
    states = [(scope, known.get(scope, TradingStateName.HALTED)) for scope in case.scopes]
    return max(states, key=lambda item: item[1].strictness)


def permits_active_scopes(case: Case) -> Breach | None:
    """Adding risk needs every scope ACTIVE (strictest wins). Source: RISK.md part 2, FIX TradingState."""
    states = case.snapshot.states
    active = {item.scope for item in states if item.state is ACTIVE}
    if len(active) == len(states) and active.issuperset(case.scopes):
        return None
    scope, state = find_strictest(case)
    if state is ACTIVE:
        return None
    halted = state is TradingStateName.HALTED
    code = ReasonCode.STATE_HALTED if halted else ReasonCode.STATE_REDUCING
    return breach(code, measured=f"{scope} {state.value}", limit=TradingStateName.ACTIVE.value)


def permits_exits_unless_halted(case: Case) -> Breach | None:
    """A reduce-only order passes unless a scope is HALTED; safety and operators pass even then."""
    if case.intent.purpose in SAFETY_PURPOSES or case.intent.source == OPERATOR:
        return None
    scope, state = find_strictest(case)
    if state is not TradingStateName.HALTED:
        return None
    return breach(ReasonCode.STATE_HALTED, measured=f"{scope} {state.value}", limit="not HALTED")


def permits_living_permits(case: Case) -> Breach | None:
    """The account has an active permit of this environment whose lease has not run out (wall time)."""
    permit = case.snapshot.permit
    if permit is None:
        return breach(ReasonCode.PERMIT_MISSING, measured=case.intent.account)
    if permit.environment is not case.snapshot.environment:
        return breach(
            ReasonCode.PERMIT_MISMATCH,
            measured=permit.environment.value,
            limit=case.snapshot.environment.value,
        )
    if case.snapshot.wall_at < permit.lease_expires_at:
        return None
    overdue = case.snapshot.wall_at - permit.lease_expires_at
    return breach(ReasonCode.PERMIT_EXPIRED, measured=overdue, limit="lease in the future")


def permits_assigned_strategies(case: Case) -> Breach | None:
    """The strategy is assigned to the symbol on this account (allow-list)."""
    allowed = case.snapshot.allowed_symbols
    if allowed is not None and case.intent.symbol in allowed:
        return None
    return breach(
        ReasonCode.STRATEGY_NOT_ALLOWED,
        measured=f"{case.intent.strategy} {case.intent.symbol}",
        limit="not assigned" if allowed is None else ", ".join(allowed),
    )


def permits_the_permitted_profile(case: LimitedCase) -> Breach | None:
    """The limits judged by are those that the permit names: same profile, same digest."""
    permit = case.snapshot.permit
    if permit is None:
        return breach(ReasonCode.PERMIT_MISSING, measured=case.intent.account)
    limits = case.limits
    if limits.profile == permit.profile and limits.digest == permit.limit_set_digest:
        return None
    judged, permitted = (limits.profile, limits.digest), (permit.profile, permit.limit_set_digest)
    return breach(ReasonCode.PERMIT_MISMATCH, measured=" ".join(judged), limit=" ".join(permitted))


def permits_calm_global_risk(case: LimitedCase) -> Breach | None:
    """Global risk is known, at most max_global_risk_age old (wall time) and not CRITICAL."""
    known = case.snapshot.global_risk
    if known is None:
        return breach(ReasonCode.GLOBAL_RISK_UNKNOWN)
    age = case.snapshot.wall_at - known.checked_at
    if age > case.limits.max_global_risk_age:
        return breach(ReasonCode.GLOBAL_RISK_STALE, measured=age, limit=case.limits.max_global_risk_age)
    if known.level is CRITICAL:
        return breach(ReasonCode.GLOBAL_RISK_CRITICAL, measured=known.level.value, limit="WARNING")
    return None


def permits_message_rate(case: LimitedCase) -> Breach | None:
    """Requests of the last 60 s + those of entries not yet sent + those of this one <= the limit.

    Submits, modifies and cancels count (RTS 6 art. 15 (1) (c)); an entry is itself, a stop and a target.
    """
    sent = case.snapshot.messages_last_minute
    if sent is None:
        return breach(ReasonCode.MESSAGE_RATE_UNKNOWN)
    intent_id, count, limit = case.intent.intent_id, sent, case.limits.max_orders_per_minute
    count += MESSAGES_PER_ENTRY
    for item in case.snapshot.pending:
        if item.stage is APPROVED and item.intent_id != intent_id:
            count += MESSAGES_PER_ENTRY
    return None if count <= limit else breach(ReasonCode.MESSAGE_RATE, measured=count, limit=limit)


def permits_unthrottled_strategies(case: LimitedCase) -> Breach | None:
    """The strategy's entries in the symbol have not reached the throttle, or a person re-enabled it.

    Source: RTS 6 art. 15 (1) (e), repeated automated execution throttle.
    """
    activity = case.snapshot.activity
    if activity is None:
        return breach(ReasonCode.ACTIVITY_UNKNOWN, measured=f"{case.intent.strategy} {case.intent.symbol}")
    if activity.throttled_at is None:
        return None
    measured, limit = activity.entries, case.limits.max_repeats
    return breach(ReasonCode.STRATEGY_THROTTLED, measured=measured, limit=limit)


def permits_new_signals(case: LimitedCase) -> Breach | None:
    """The signal is newer than the last one on which the strategy entered the symbol on this side."""
    activity, intent = case.snapshot.activity, case.intent
    if activity is None or activity.last_signal_at is None or activity.last_side != intent.side:
        return None
    if intent.signal_at > activity.last_signal_at:
        return None
    last = activity.last_signal_at.isoformat()
    return breach(ReasonCode.DUPLICATE_INTENT, measured=intent.signal_at.isoformat(), limit=f"after {last}")
