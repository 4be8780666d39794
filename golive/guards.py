"""The guards of a fresh activation: each reads one thing since it was activated, and says what that means.

None of them can release or activate anything: they end in a verdict, and `observing` counts those.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Count, Q, Sum

from golive.core.guards import (
    GuardName,
    GuardResult,
    GuardRule,
    Reading,
    judge_age,
    judge_reading,
    judge_state,
)
from golive.core.words import GuardVerdict
from golive.freeze import find_drift
from golive.models import Activation, GuardCount
from risk.core.values import RiskLevel
from risk.global_risk.drawdown import measure_drawdown
from risk.models import Decision, GlobalRisk
from risk.snapshot import FLOW_KINDS
from risk.stops.rules import get_stop_rules
from risk.stops.symptoms import find_errors
from trading import selectors
from trading.core.values import Clocks, OrderPurpose, OrderState, Side, TradingStateName
from trading.models import Account, EquitySample, Income, Order, TradingState, VenueAccount

logger = logging.getLogger(__name__)

ZERO = Decimal(0)
ERROR_WINDOW = timedelta(minutes=10)
# Of the adverse distances, so many of a hundred are no larger.
SLIPPAGE_PERCENTILE = 95

Read = Callable[[Activation, Clocks], Reading]
Judge = Callable[[str, GuardRule, Reading, datetime], GuardResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How it is read, and how that is judged."""

    read: Read
    judge: Judge = judge_reading


def read_loss(activation: Activation, clocks: Clocks) -> Reading:
    """(E_0 + F - E) / E_0 since activation, of all venues of the account; negative is a gain."""
    places = list_read_places(activation.account)
    spans = [(_first_equity(place, activation), selectors.latest_equity(place)) for place in places]
    known = [(first, last) for first, last in spans if first is not None and last is not None]
    base = sum((first.equity for first, _ in known), ZERO)
    if not known or len(known) < len(places) or base <= 0:
        return Reading(value=None, samples=0, detail="equity is not known")
    flow = sum((sum_flows(place, activation.market_at) for place in places), ZERO)
    equity = sum((last.equity for _, last in known), ZERO)
    return Reading(
        value=round((base + flow - equity) / base, 10),
        as_of=min(last.at for _, last in known),
        detail=f"equity {equity:f} of {base:f} USDT at activation, {flow:f} came from outside",
    )


def list_read_places(account: Account) -> list[VenueAccount]:
    """The primary, and every place in reserve whose balance was ever read."""
    return [
        place
        for place in selectors.list_venue_accounts(account)
        if place.priority == 0 or EquitySample.objects.filter(venue_account=place).exists()
    ]


def _first_equity(place: VenueAccount, activation: Activation) -> EquitySample | None:
    return selectors.equity_at(place, activation.market_at)


def sum_flows(place: VenueAccount, since: datetime) -> Decimal:
    """What came from outside since (USDT; negative: went there), by the venue's income ledger."""
    rows = Income.objects.filter(venue_account=place, kind__in=FLOW_KINDS, market_at__gt=since)
    return rows.aggregate(total=Sum("amount"))["total"] or ZERO


def read_drawdown(activation: Activation, clocks: Clocks) -> Reading:
    """The deepest of the account's venues since activation (RISK.md part 1: by an index, net of flows)."""
    worst, oldest = ZERO, clocks.wall_at
    for place in list_read_places(activation.account):
        last = selectors.latest_equity(place)
        found = measure_drawdown(place, clocks.market_at, since=activation.market_at)
        if last is None or found is None:
            return Reading(value=None, samples=0, detail=f"{place}: equity is not known")
        worst, oldest = max(worst, found), min(oldest, last.at)
    return Reading(value=worst, as_of=oldest)


def read_unprotected(activation: Activation, clocks: Clocks) -> Reading:
    """The longest time that a position has been without a stop at the venue, seconds of wall time."""
    rows = [
        row
        for place in selectors.list_venue_accounts(activation.account)
        for row in selectors.list_open_positions(place)
        if row.unprotected_since is not None
    ]
    times = {row.symbol: clocks.wall_at - row.unprotected_since for row in rows if row.unprotected_since}
    longest = max(times.values(), default=timedelta(0))
    return Reading(
        value=_seconds(longest),
        as_of=_compared_at(activation.account),
        samples=0 if _compared_at(activation.account) is None else 1,
        detail=", ".join(sorted(times)),
    )


def read_reconciliation(activation: Activation, clocks: Clocks) -> Reading:
    """How many differences the newest comparisons with the venues found."""
    runs = [selectors.latest_reconciliation(place) for place in list_read_places(activation.account)]
    known = [run for run in runs if run is not None]
    if not known or len(known) < len(runs):
        return Reading(value=None, samples=0, detail="never compared with the venue")
    differing = sum(0 if run.is_clean else max(1, len(run.differences)) for run in known)
    return Reading(value=Decimal(differing), as_of=min(run.finished_at for run in known))


def _compared_at(account: Account) -> datetime | None:
    """When the primary's book was last compared (wall time); without that nobody knows what is held."""
    run = selectors.latest_reconciliation(selectors.get_primary(account))
    return None if run is None else run.finished_at


def read_execution_errors(activation: Activation, clocks: Clocks) -> Reading:
    """Refused and lost orders within ten minutes of wall time, while the desk talks to the venue at all."""
    rules = replace(get_stop_rules(), error_window=ERROR_WINDOW)
    found = find_errors(activation.account, rules, clocks)
    as_of = _compared_at(activation.account)
    return Reading(value=Decimal(found.measured), as_of=as_of, samples=0 if as_of is None else 1)


def read_denials(activation: Activation, clocks: Clocks) -> Reading:
    """The share of the entries judged since activation that was denied."""
    asked, allowed = count_entries(activation)
    share = None if asked == 0 else round(Decimal(asked - allowed) / asked, 6)
    return Reading(value=share, samples=asked, detail=f"{asked - allowed} of {asked} denied")


def count_entries(activation: Activation) -> tuple[int, int]:
    """Entries judged since activation, and those of them that were allowed."""
    rows = Decision.objects.filter(
        account=activation.account,
        intent__purpose=OrderPurpose.ENTRY,
        decided_at__gte=activation.activated_at,
    )
    found = rows.aggregate(asked=Count("id"), allowed=Count("id", filter=Q(allowed=True)))
    return found["asked"], found["allowed"]


def read_global_risk(activation: Activation, clocks: Clocks) -> Reading:
    """OK 0, WARNING 1, CRITICAL 2, as last assessed."""
    row = GlobalRisk.objects.order_by("-id").first()
    if row is None:
        return Reading(value=None, samples=0, detail="never assessed")
    return Reading(
        value=Decimal(list(RiskLevel).index(RiskLevel(row.level))),
        as_of=row.checked_at,
        detail=", ".join(str(reason) for reason in row.reasons),
    )


def read_freshness(activation: Activation, clocks: Clocks) -> Reading:
    """The age of the oldest of prices, balance and comparison, seconds of wall time."""
    ages = read_ages(activation.account, clocks)
    missing = sorted(name for name, age in ages.items() if age is None)
    known = [age for age in ages.values() if age is not None]
    if missing:
        return Reading(value=None, samples=0, detail=f"never read: {', '.join(missing)}")
    return Reading(value=max(known), detail=", ".join(f"{name} {age} s" for name, age in ages.items()))


def read_ages(account: Account, clocks: Clocks) -> dict[str, Decimal | None]:
    """How old what is known of the account's primary venue is, seconds of wall time; None never was."""
    place = selectors.get_primary(account)
    sample, run = selectors.latest_equity(place), selectors.latest_reconciliation(place)
    times = {
        "prices": selectors.get_prices_read_at(place),
        "balance": None if sample is None else sample.at,
        "comparison": None if run is None else run.finished_at,
    }
    return {name: None if at is None else _seconds(clocks.wall_at - at) for name, at in times.items()}


def read_stop_state(activation: Activation, clocks: Clocks) -> Reading:
    """The strictest state of desk, account and venues; a scope without a state is HALTED."""
    scopes = ["all", f"account:{activation.account.name}"]
    scopes += [f"venue:{place.venue}" for place in list_read_places(activation.account)]
    known = dict(TradingState.objects.filter(scope__in=scopes).values_list("scope", "state"))
    states = {scope: TradingStateName(known.get(scope, TradingStateName.HALTED)) for scope in scopes}
    worst = max(states, key=lambda scope: states[scope].strictness)
    order = (TradingStateName.ACTIVE, TradingStateName.REDUCING, TradingStateName.HALTED)
    return Reading(value=Decimal(order.index(states[worst])), detail=f"{worst} {states[worst].value}")


def read_drift(activation: Activation, clocks: Clocks) -> Reading:
    """Groups that are not as they were frozen, and guards that watched and are gone."""
    drifted = [str(item) for item in find_drift(activation.freeze, activation.account)]
    gone = list_gone(activation, GUARDS)
    return Reading(
        value=Decimal(len(drifted) + len(gone)),
        detail="; ".join([*drifted, *(f"guard {name} is gone" for name in gone)]),
    )


def list_gone(activation: Activation, present: Iterable[str]) -> list[str]:
    """Guards that have watched this activation and are no longer among those present."""
    watched = GuardCount.objects.filter(activation=activation).values_list("guard", flat=True)
    return sorted(set(watched) - {str(name) for name in present})


def read_slippage(activation: Activation, clocks: Clocks) -> Reading:
    """How far protections were filled beyond their trigger since activation, a ratio of it."""
    rows = Order.objects.filter(
        venue_account__account=activation.account,
        purpose__in=[OrderPurpose.STOP_LOSS, OrderPurpose.TAKE_PROFIT],
        state=OrderState.FILLED,
        updated_at__gte=activation.activated_at,
        trigger_price__gt=0,
        average_price__isnull=False,
    ).values_list("side", "trigger_price", "average_price")
    found = sorted(
        _adverse(side, trigger, price) for side, trigger, price in rows if trigger and price is not None
    )
    if not found:
        return Reading(value=None, samples=0, detail="no protection was filled")
    rank = -(-len(found) * SLIPPAGE_PERCENTILE // 100)
    return Reading(value=round(found[rank - 1], 8), samples=len(found))


def _adverse(side: str, trigger: Decimal, price: Decimal) -> Decimal:
    worse = trigger - price if side == Side.SELL else price - trigger
    return max(ZERO, worse / trigger)


def _seconds(span: timedelta) -> Decimal:
    return Decimal(max(0, span // timedelta(milliseconds=1))) / 1000


GUARDS: Mapping[GuardName, Guard] = {
    GuardName.LOSS: Guard(read=read_loss),
    GuardName.DRAWDOWN: Guard(read=read_drawdown),
    GuardName.UNPROTECTED: Guard(read=read_unprotected),
    GuardName.RECONCILIATION: Guard(read=read_reconciliation),
    GuardName.EXECUTION_ERRORS: Guard(read=read_execution_errors),
    GuardName.DENIALS: Guard(read=read_denials),
    GuardName.GLOBAL_RISK: Guard(read=read_global_risk),
    GuardName.FRESHNESS: Guard(read=read_freshness, judge=judge_age),
    GuardName.STOP_STATE: Guard(read=read_stop_state, judge=judge_state),
    GuardName.DRIFT: Guard(read=read_drift),
    GuardName.SLIPPAGE: Guard(read=read_slippage),
}


def run_guards(
    activation: Activation,
    rules: Mapping[str, GuardRule],
    clocks: Clocks,
    guards: Mapping[GuardName, Guard] = GUARDS,
) -> list[GuardResult]:
    """What every guard says now; one without a rule, or a rule without a guard, is drift."""
    found = [
        _run(name, guards[name], rules[name], activation, clocks)
        for name in guards
        if name in rules and name is not GuardName.DRIFT
    ]
    return [*found, _run_drift(activation, rules, clocks, guards)]


def _run_drift(
    activation: Activation,
    rules: Mapping[str, GuardRule],
    clocks: Clocks,
    guards: Mapping[GuardName, Guard],
) -> GuardResult:
    """Whatever its own rule says: a set of guards that lost one fails."""
    present = {name: guards[name] for name in guards if name in rules}
    missing = sorted({name.value for name in GuardName} - {name.value for name in present})
    lost = sorted({*missing, *list_gone(activation, present)})
    if not lost:
        name = GuardName.DRIFT
        return _run(name, guards[name], rules[name], activation, clocks)
    return GuardResult(
        guard=GuardName.DRIFT.value,
        verdict=GuardVerdict.FAIL,
        measured=str(len(lost)),
        threshold="0",
        detail=f"guards are gone: {', '.join(lost)}",
    )


def _run(
    name: GuardName, guard: Guard, rule: GuardRule, activation: Activation, clocks: Clocks
) -> GuardResult:
    try:
        with transaction.atomic():
            reading = guard.read(activation, clocks)
        return guard.judge(name.value, rule, reading, clocks.wall_at)
    # Whatever went wrong, the guard did not pass; errors are counted and lead back.
    except Exception as error:
        logger.exception("the guard %s of %s failed", name.value, activation)
        return GuardResult(
            guard=name.value,
            verdict=GuardVerdict.ERROR,
            measured="unknown",
            threshold=f"{rule.limit:f}",
            detail=f"{type(error).__name__}: {error}"[:500],
        )
