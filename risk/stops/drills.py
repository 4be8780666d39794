"""A drill really stops an account: entries rest, a position is held, the venue is read before and after.

It may end its own stop and no other. What it proves is stored for good (Drill): entries gone, protections
kept, an order denied, and how long it took from the trip until the venue had confirmed it.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction

from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.approvals.core import Actor, ActorKind
from controlplane.audit.services import audited_attempt, record
from controlplane.code_version import get_code_version
from controlplane.errors import DomainError
from risk import metrics, models
from risk.core.emergency_stop import StopProgress, StopSource, must_cancel, parse_scope
from risk.core.reasons import ReasonCode
from risk.execution import execute_intent
from risk.judgement import judge_intent
from risk.selectors import find_last_good_drill, get_active_limits, list_breaches
from risk.stops.drill_desk import (
    STRATEGY,
    DrillNotReady,
    DrillRunning,
    Ware,
    make_ready,
    open_drill_place,
    require_drill_account,
    tidy,
)
from risk.stops.emergency import require_may_stop, trip_emergency_stop
from risk.stops.rearm import end_stop, lock_stop
from risk.stops.rules import get_stop_rules
from risk.stops.sweep import sweep_stop
from trading import dispatch, locks, selectors
from trading import services as trading
from trading.core.values import Environment, OrderPurpose, OrderReport, OrderType, Side
from trading.models import Order, OrderIntent, VenueAccount

logger = logging.getLogger(__name__)

DRILL = Actor(name="drill", kind=ActorKind.SYSTEM)
LOCK = "emergency_stop_drill"
ALERT = "drill_failed"
ROOT_CAUSE = "drill"
REASON = "a rehearsal of the emergency stop"
# How long the venue may take to confirm, and how long to wait between two looks (wall seconds).
PATIENCE_SECONDS, PAUSE_SECONDS = 60.0, 0.2
# After a drill that failed the next is not tried sooner.
RETRY_AFTER = timedelta(minutes=5)


@dataclass(slots=True, kw_only=True)
class Notes:
    """What a drill has seen so far; `faults` is what is not as it must be."""

    proof: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def require(self, is_so: bool, fault: str) -> None:
        if not is_so:
            self.faults.append(fault)


def is_drill_due(wall_at: datetime) -> bool:
    """On paper, where the last good one of this code is too old; a failed one is given some minutes."""
    if settings.TRADING_ENVIRONMENT != Environment.PAPER:
        return False
    good = find_last_good_drill()
    if good is not None and wall_at - good.finished_at < get_stop_rules().drill_every:
        return False
    return not models.Drill.objects.filter(finished_at__gt=wall_at - RETRY_AFTER).exists()


def run_due_drill() -> models.Drill | None:
    """What the guard does: rehearse where it is due; an account that is not ready yet is tried again."""
    if not is_drill_due(selectors.get_clocks().wall_at):
        return None
    try:
        return run_drill()
    except DomainError as refusal:
        logger.info("no drill now: %s: %s", refusal.code, refusal)
        return None


def run_drill(*, account: str | None = None, actor: Actor = DRILL) -> models.Drill:
    """Rehearse a stop of the drill's account from the entry to the proof; a failed one is a row too.

    Raises DrillNotOnPaper, DrillRunning, DrillNotReady, NotDesignated and, before anything was stopped,
    VenueError; a refusal is audited where a person asked.
    """
    if actor is DRILL:
        return _run(require_drill_account(account), actor)
    with audited_attempt(
        action="risk.drill",
        actor=actor.audit_name,
        subject_type="account",
        subject_id=account or get_stop_rules().drill_account,
    ):
        require_may_stop(actor)
        return _run(require_drill_account(account), actor)


def _run(name: str, actor: Actor) -> models.Drill:
    with locks.try_hold(LOCK) as is_held:
        if not is_held:
            raise DrillRunning("a drill is running")
        place = open_drill_place(name, actor=actor.audit_name)
        _end_leftover(place)
        if held := tidy(place):
            raise DrillNotReady(f"{place} still holds {', '.join(held)}")
        notes = Notes()
        _set_the_stage(place, make_ready(place, actor=actor.audit_name), notes)
        event = trip_emergency_stop(
            scope=f"account:{name}",
            reason=REASON,
            source=StopSource.DRILL,
            actor=actor,
            clocks=selectors.get_clocks(),
            call_sweeper=_leave_to_us,
        )
        _rehearse(place, event, notes)
        return _finish(place, event, notes, actor)


def _leave_to_us(event_id: int) -> None:
    """The drill sweeps itself, beside the guard."""


def _end_leftover(place: VenueAccount) -> None:
    """A drill that died left its stop standing: bring it to its end, and only that."""
    event = models.StopEvent.objects.filter(
        scope=f"account:{place.account.name}", source=StopSource.DRILL, ended_at__isnull=True
    ).first()
    if event is not None:
        _wait_until_stopped(event)
        with transaction.atomic():
            _end_own_stop(event)


# Before ---------------------------------------------------------------------------------------------


def _set_the_stage(place: VenueAccount, wares: list[Ware], notes: Notes) -> None:
    """A small position with both protections, and an entry that rests; raises DrillNotReady."""
    limits = get_active_limits(place.account)
    first, last = wares[0], wares[-1]
    held = _enter(place, first, limits, price=None)
    resting = _enter(place, last, limits, price=last.far_price())
    if held.state != "filled" or resting.state != "open":
        tidy(place)
        raise DrillNotReady(f"{place}: the entries are {held.state} and {resting.state}")
    notes.proof |= {
        "position": {"symbol": first.symbol, "order": held.client_order_id},
        "entry": {"symbol": last.symbol, "order": resting.client_order_id},
        # The door sends market and limit entries only.
        "conditional_entry": "not applicable",
        "before": _read_venue(place),
    }
    shown = notes.proof["before"]
    notes.require(resting.client_order_id in shown["entries"], "the venue did not show the entry")
    notes.require(len(shown["protections"]) == 2, "the venue did not show a stop and a target")


def _enter(place: VenueAccount, ware: Ware, limits: Any, *, price: Decimal | None) -> Order:
    intent = _register(place, ware, limits, price=price, execute=True)
    done = execute_intent(intent_id=intent.pk, clocks=selectors.get_clocks())
    if done.order is None:
        tidy(place)
        raise DrillNotReady(f"{place}: no entry in {ware.symbol}: {done.summary}")
    return done.order


def _register(
    place: VenueAccount, ware: Ware, limits: Any, *, price: Decimal | None, execute: bool
) -> OrderIntent:
    plan, clocks = ware.plan(limits, price or ware.mark), selectors.get_clocks()
    return trading.register_intent(
        account=place.account,
        venue_account=place,
        strategy=STRATEGY,
        symbol=ware.symbol,
        side=Side.BUY,
        order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
        purpose=OrderPurpose.ENTRY,
        quantity=plan.quantity,
        price=price,
        stop_loss=plan.stop_loss,
        take_profit=plan.take_profit,
        reduce_only=False,
        source="drill",
        client_ref=f"drill-{uuid.uuid4().hex[:20]}",
        signal_at=clocks.market_at,
        market_at=clocks.market_at,
        execute=execute,
    )


def _read_venue(place: VenueAccount) -> dict[str, Any]:
    """What the venue itself shows: ids of what could add risk and of what protects, and what is held."""
    scope = parse_scope(f"account:{place.account.name}")
    reports = [row for row in dispatch.read_open_orders(venue_account=place) if not row.state.is_final]
    adding = {row.client_order_id for row in reports if must_cancel(row, None, scope)}
    positions = dispatch.read_positions(venue_account=place)
    return {
        "at": selectors.get_clocks().wall_at.isoformat(),
        "entries": sorted(adding),
        "protections": sorted(_name(row) for row in reports if row.client_order_id not in adding),
        "positions": {symbol: f"{quantity:f}" for symbol, quantity in sorted(positions.items())},
    }


def _name(report: OrderReport) -> str:
    return f"{report.symbol} {report.client_order_id}"


# The stop -------------------------------------------------------------------------------------------


def _rehearse(place: VenueAccount, event: models.StopEvent, notes: Notes) -> None:
    """From the trip to a flat account; what goes wrong on the way is a fault of the drill, not an error."""
    steps: tuple[Callable[[], None], ...] = (
        lambda: _watch_the_stop(event, notes),
        lambda: _ask_for_an_entry(place, notes),
        lambda: _compare_with_venue(place, notes),
        lambda: notes.require(not tidy(place), "the position could not be closed"),
    )
    for step in steps:
        try:
            step()
        except DomainError as refusal:
            notes.faults.append(f"{refusal.code}: {refusal}")


def _watch_the_stop(event: models.StopEvent, notes: Notes) -> None:
    _wait_until_stopped(event)
    notes.require(event.progress == StopProgress.STOPPED, "the venue did not confirm the stop in time")
    if event.stopped_at is not None:
        notes.proof["seconds"] = f"{(event.stopped_at - event.tripped_at).total_seconds():.3f}"


def _wait_until_stopped(event: models.StopEvent) -> None:
    """Sweep, as the guard does too, until the venue has confirmed or the patience is over."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        sweep_stop(event_id=event.pk, clocks=selectors.get_clocks())
        event.refresh_from_db()
        if event.progress == StopProgress.STOPPED or time.monotonic() > give_up_at:
            return
        time.sleep(PAUSE_SECONDS)


def _ask_for_an_entry(place: VenueAccount, notes: Notes) -> None:
    """One more entry is judged, and could never be sent; it must be denied for the stop."""
    symbol = notes.proof["entry"]["symbol"]
    price, instrument = (
        selectors.get_price(place.venue, symbol),
        selectors.get_instrument(place.venue, symbol),
    )
    if price is None or instrument is None:
        notes.faults.append(f"no price of {symbol} to ask for an entry with")
        return
    ware = Ware(symbol=symbol, mark=price.mark, instrument=instrument)
    limits = get_active_limits(place.account)
    intent = _register(place, ware, limits, price=None, execute=False)
    decision = judge_intent(intent_id=intent.pk, clocks=selectors.get_clocks())
    codes = [item["code"] for item in list_breaches(decision)]
    notes.proof["denial"] = {"decision": decision.pk, "allowed": decision.allowed, "codes": codes}
    notes.require(
        not decision.allowed and ReasonCode.STATE_HALTED.value in codes, "an entry was not denied as halted"
    )


def _compare_with_venue(place: VenueAccount, notes: Notes) -> None:
    before, after = notes.proof["before"], _read_venue(place)
    notes.proof["after"] = after
    notes.require(not after["entries"], "an entry still rests at the venue")
    notes.require(after["positions"] == before["positions"], "the position is not what it was")
    notes.require(after["protections"] == before["protections"], "the protections are not what they were")


# After ----------------------------------------------------------------------------------------------


@transaction.atomic
def _finish(place: VenueAccount, event: models.StopEvent, notes: Notes, actor: Actor) -> models.Drill:
    """End the drill's own stop, keep the proof, count it, and tell people of a failure."""
    if not _end_own_stop(event):
        notes.faults.append("the stop stands: it is not confirmed, or somebody tripped it for real")
    clocks, passed = selectors.get_clocks(), not notes.faults
    seconds = notes.proof.get("seconds")
    row = models.Drill.objects.create(
        event=event,
        account=place.account.name,
        code_version=get_code_version(),
        is_passed=passed,
        seconds=None if seconds is None else Decimal(seconds),
        proof={**notes.proof, "faults": notes.faults},
    )
    scope = f"account:{place.account.name}"
    if passed:
        resolve_alert(code=ALERT, scope=scope, wall_at=clocks.wall_at)
    else:
        text = f"Drill {row.pk} of the emergency stop failed: {'; '.join(notes.faults)}"
        raise_alert(code=ALERT, severity="critical", scope=scope, text=text, wall_at=clocks.wall_at)
    transaction.on_commit(lambda: count_drill(row))
    record(
        action="risk.drill",
        actor=actor.audit_name,
        subject_type="account",
        subject_id=place.account.name,
        reason=REASON,
        detail={"drill": row.pk, "event_id": event.pk, "is_passed": passed, **row.proof},
    )
    row.refresh_from_db()
    return row


def _end_own_stop(event: models.StopEvent) -> bool:
    """Only one that is still a drill's and confirmed; whatever else was tripped meanwhile stays."""
    own = lock_stop(event.pk)
    if own.source != StopSource.DRILL or own.progress != StopProgress.STOPPED:
        return False
    end_stop(
        own,
        ended_by=DRILL.audit_name,
        root_cause=ROOT_CAUSE,
        source=StopSource.DRILL,
        clocks=selectors.get_clocks(),
    )
    return True


def count_drill(row: models.Drill) -> None:
    metrics.DRILLS.labels(success=str(row.is_passed).lower()).inc()
    if row.seconds is not None:
        metrics.DRILL_SECONDS.observe(float(row.seconds))
