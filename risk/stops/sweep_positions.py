"""The part of the sweep that looks after what is held: protect, reduce or flatten (RISK.md 3.6).

What to do is the stricter of the stop's own policy and that of the account's profile. A position that
is not ours (RISK.md 3.16) is named in the ledger and left to a person: closing it could undo a hedge
that we do not know of. Nothing counts as done before two reads of the venue agree and our book says
the same; where the two differ the books are compared first.
"""

from datetime import timedelta
from decimal import Decimal

from django.db import transaction

from controlplane.errors import DomainError
from risk import models
from risk.core.emergency_stop import PositionPolicy, StepAction, StepStatus
from risk.core.escalation import choose_stricter, plan_half
from risk.stops.rules import get_stop_policy, get_stop_rules
from risk.stops.sweep_ledger import POSITION_ACTIONS, Turn
from risk.stops.sweep_orders import AGREEING_READS, READS
from trading import dispatch, market, reconcile, selectors
from trading.core.values import OrderPurpose, OrderState, Scope
from trading.models import Position, VenueAccount
from trading.trips import FOREIGN

ZERO = Decimal(0)
# A whole comparison is dear at a real venue; the guard and the workers compare besides.
COMPARE_EVERY = timedelta(seconds=10)
NOT_OURS = "not ours, left to a person"


def settle_positions(turn: Turn) -> bool:
    """Bring what is held to what the policy wants; whether two reads of the venue agree that it is so.

    Raises VenueError.
    """
    policy = choose_policy(turn.event, turn.place)
    agreeing = 0
    for _ in range(READS):
        if turn.is_over:
            return False
        agreeing = agreeing + 1 if _settle_once(turn, policy) else 0
        if agreeing == AGREEING_READS:
            turn.ledger.close(POSITION_ACTIONS, _describe_end(policy))
            return True
    return False


def choose_policy(event: models.StopEvent, place: VenueAccount) -> PositionPolicy:
    """The stricter of the stop's policy and the profile's; without a permit the strictest profile's."""
    permit = selectors.get_active_permit(place.account)
    profile = get_stop_policy("" if permit is None else permit.profile)
    return choose_stricter((PositionPolicy(event.positions), profile.positions))


def _describe_end(policy: PositionPolicy) -> str:
    return "the venue reads flat" if policy is PositionPolicy.FLATTEN else "as wanted, the venue says"


def list_held(scope: Scope, place: VenueAccount) -> list[Position]:
    """What our book holds of the scope at the venue account, foreign positions among it."""
    rows = selectors.list_open_positions(place)
    if scope.kind == "strategy":
        rows = rows.filter(strategy=scope.name)
    if scope.kind == "symbol":
        rows = rows.filter(symbol=scope.name)
    return list(rows)


def is_foreign(position: Position) -> bool:
    return position.strategy == FOREIGN or position.entry_intent_id is None


def _settle_once(turn: Turn, policy: PositionPolicy) -> bool:
    """One read of the venue and what follows from it; True where nothing was left to do."""
    held = dispatch.read_positions(venue_account=turn.place)
    ours = {position.symbol: position for position in list_held(turn.scope, turn.place)}
    symbols = ours.keys() | {symbol for symbol in held if _may_hold(turn.scope, symbol)}
    results = [
        _settle_symbol(turn, policy, symbol, ours.get(symbol), held.get(symbol, ZERO))
        for symbol in sorted(symbols)
        if not turn.is_over
    ]
    return all(results) and len(results) == len(symbols)


def _may_hold(scope: Scope, symbol: str) -> bool:
    """Whether what only the venue knows of may belong to the scope; of a strategy nothing does."""
    return scope.kind != "strategy" and (scope.kind != "symbol" or symbol == scope.name)


def _settle_symbol(
    turn: Turn, policy: PositionPolicy, symbol: str, position: Position | None, held: Decimal
) -> bool:
    """One symbol; a refusal is written down and the others go on."""
    ours = ZERO if position is None else position.quantity
    is_ours = position is not None and not is_foreign(position)
    try:
        # What is ours and there is dealt with first, whether or not the books can be compared.
        if position is not None and is_ours and held and not follow(turn, policy, position):
            return False
        if held != ours and not _is_compared(turn, symbol):
            return False
        # A position of ours that only our book has stays outstanding: absence is no proof.
        return bool(held) if is_ours else _leave(turn, policy, symbol, held)
    except DomainError as refusal:
        turn.ledger.write(
            _action_of(policy), StepStatus.RETRYING, symbol, symbol, f"{refusal.code}: {refusal}"
        )
        return False


def _action_of(policy: PositionPolicy) -> StepAction:
    return {
        PositionPolicy.KEEP: StepAction.PROTECT,
        PositionPolicy.REDUCE: StepAction.REDUCE,
        PositionPolicy.FLATTEN: StepAction.FLATTEN,
    }[policy]


def _is_compared(turn: Turn, symbol: str) -> bool:
    """Whether book and venue differ although they were compared since the stop and nothing is unsettled.

    Where they were not, they are compared now; while they differ, again every COMPARE_EVERY.
    """
    latest, now = selectors.latest_reconciliation(turn.place), selectors.get_clocks()
    is_since = latest is not None and latest.started_at >= turn.event.tripped_at
    if latest is None or not is_since or now.wall_at - latest.finished_at >= COMPARE_EVERY:
        reconcile.reconcile_venue_account(venue_account=turn.place, market_at=now.market_at)
        return False
    on_its_way = selectors.list_unsettled_orders(turn.place, symbol)
    return not on_its_way.filter(state__in=[OrderState.SENDING, OrderState.UNKNOWN]).exists()


def _leave(turn: Turn, policy: PositionPolicy, symbol: str, held: Decimal) -> bool:
    """A position that is not ours: told where the stop would have changed it."""
    if policy is not PositionPolicy.KEEP:
        turn.ledger.write(
            _action_of(policy), StepStatus.FAILED, f"foreign:{symbol}", symbol, f"{held} {NOT_OURS}"
        )
    return True


def follow(turn: Turn, policy: PositionPolicy, position: Position) -> bool:
    """One step of the policy for a position of ours; True where the venue already has it so."""
    if policy is PositionPolicy.FLATTEN:
        return _flatten(turn, position)
    if policy is PositionPolicy.REDUCE and not _reduce(turn, position):
        return False
    return _protect(turn, position)


def _flatten(turn: Turn, position: Position) -> bool:
    """Close what is left; whether that made it flat the venue's next read says."""
    symbol = position.symbol
    detail = f"{position.quantity} left"
    turn.ledger.write(StepAction.FLATTEN, StepStatus.RETRYING, symbol, symbol, detail)
    left = dispatch.close_position(position_id=position.pk, purpose=OrderPurpose.FLATTEN).quantity
    turn.ledger.write(StepAction.FLATTEN, StepStatus.RETRYING, symbol, symbol, f"{left} left by our book")
    return False


def _reduce(turn: Turn, position: Position) -> bool:
    """Close down to what was fixed when the stop first looked: half goes once, however often we come."""
    symbol = position.symbol
    leave = _get_target(turn, position)
    if abs(position.quantity) <= leave:
        return True
    detail = f"{position.quantity} held, {leave} is to stay"
    turn.ledger.write(StepAction.REDUCE, StepStatus.RETRYING, symbol, symbol, detail)
    dispatch.close_position(position_id=position.pk, purpose=OrderPurpose.FLATTEN, leave=leave)
    return False


def _get_target(turn: Turn, position: Position) -> Decimal:
    """What is to stay, committed before the first request."""
    key = f"{turn.place}:{position.symbol}"
    instrument = market.get_or_refresh_instrument(venue_account=turn.place, symbol=position.symbol)
    with transaction.atomic():
        event = models.StopEvent.objects.select_for_update().get(pk=turn.event.pk)
        targets: dict[str, str] = event.evidence.setdefault("leave", {})
        if key not in targets:
            targets[key] = str(plan_half(position.quantity, instrument))
            event.save(update_fields=["evidence"])
    return Decimal(targets[key])


def _protect(turn: Turn, position: Position) -> bool:
    """True where the venue has the stop; else it gets one after a while, and is closed after a longer one."""
    symbol = position.symbol
    reports = dispatch.read_open_orders(venue_account=turn.place, symbol=symbol)
    if dispatch.verify_stop(position_id=position.pk, reports=reports):
        return True
    position.refresh_from_db()
    if position.quantity == 0:
        return False
    age = _measure_age(turn, position)
    detail = f"no stop at the venue for {age.total_seconds():.0f} s"
    turn.ledger.write(StepAction.PROTECT, StepStatus.RETRYING, symbol, symbol, detail)
    rules = get_stop_rules()
    if age >= rules.close_after:
        dispatch.close_position(position_id=position.pk, purpose=OrderPurpose.FLATTEN)
    elif age >= rules.protect_after:
        dispatch.protect_position(position_id=position.pk)
    return False


def _measure_age(turn: Turn, position: Position) -> timedelta:
    """How long it has been without a stop while halted."""
    since = turn.event.tripped_at
    if position.unprotected_since is not None:
        since = max(since, position.unprotected_since)
    return max(timedelta(0), turn.clocks.wall_at - since)
