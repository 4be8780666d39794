"""The stop's sweep: orders that could add risk are cancelled, what is held is looked after, venues confirm.

Each run goes as far as the venues allow and may be repeated by anyone: the ledger of steps says what
is done. A venue account is confirmed when two reads in a row show nothing to cancel, no entry of ours
is on its way, and what is held is as the policy wants it. Venue accounts are swept side by side, each
for a few seconds at a time: one that hangs holds up neither the others nor another stop.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.audit.services import record
from controlplane.errors import DomainError
from risk import metrics, models, selectors
from risk.core.emergency_stop import PositionPolicy, StepAction, StepStatus, StopProgress, parse_scope
from risk.stops.escalation import SWEEPER, escalate_if_worse, get_sweep_began_at, resume_stop
from risk.stops.side_by_side import run_side_by_side
from risk.stops.sweep_ledger import POSITION_ACTIONS, Ledger, Turn
from risk.stops.sweep_orders import cancel_resting, has_come_back, list_entries, settle_entries
from risk.stops.sweep_positions import choose_policy, follow, is_foreign, list_held, settle_positions
from trading import locks
from trading.core.values import Clocks
from trading.models import Position, VenueAccount

logger = logging.getLogger(__name__)

PAGE_AFTER = timedelta(seconds=30)
UNCONFIRMED = "emergency_stop_unconfirmed"
# How long one venue account may keep its sweeper in one run; a request takes three seconds at most.
TURN_SECONDS = 4.0
# The parts of a turn, and what to say where one is not finished.
OUTSTANDING: dict[Callable[[Turn], bool], str] = {
    settle_entries: "entries are not settled",
    cancel_resting: "orders are still open",
    settle_positions: "positions are not as they must be",
}


def sweep_stop(*, event_id: int, clocks: Clocks) -> models.StopEvent:
    """Bring one stop as far as the venues allow now; raises NotFound.

    A second sweeper at the same time does nothing: one at a time works on an event.
    """
    sweep_stops(events=[selectors.get_stop_event(event_id)], clocks=clocks)
    return selectors.get_stop_event(event_id)


def sweep_stops(*, events: Sequence[models.StopEvent], clocks: Clocks) -> None:
    """Bring every one of the stops that is not confirmed as far as the venues allow now."""
    with ExitStack() as held:
        ours = [event for event in events if _take(held, event)]
        for event in ours:
            escalate_if_worse(event)
        places = [place for place in list_places() if any(_covers(event, place) for event in ours)]
        confirmed = run_side_by_side([partial(_sweep_place, ours, place, clocks) for place in places])
        for event in ours:
            mine = (done for place, done in zip(places, confirmed, strict=True) if _covers(event, place))
            if all(event.pk in done for done in mine):
                _finish(event, clocks.wall_at)
            else:
                _page(event, clocks.wall_at)


def _take(held: ExitStack, event: models.StopEvent) -> bool:
    """Take the event for this run, if it is unfinished and nobody else works on it."""
    if event.progress == StopProgress.STOPPED:
        return False
    if not held.enter_context(locks.try_hold(f"emergency_stop:{event.pk}")):
        return False
    event.refresh_from_db()
    return event.progress == StopProgress.STOPPING


def list_places() -> list[VenueAccount]:
    """Every venue account of this environment."""
    rows = VenueAccount.objects.select_related("account")
    rows = rows.filter(account__environment=settings.TRADING_ENVIRONMENT)
    return list(rows.order_by("account__name", "priority"))


def _covers(event: models.StopEvent, place: VenueAccount) -> bool:
    """Whether an order of the event's scope may rest at the venue account."""
    scope = parse_scope(event.scope)
    names = {"venue": place.venue, "account": place.account.name}
    return names.get(scope.kind, scope.name) == scope.name


def _sweep_place(events: Sequence[models.StopEvent], place: VenueAccount, clocks: Clocks) -> set[int]:
    """The events that the venue account has confirmed, each swept in turn, the least tried first.

    Where one turn took all its time the others have theirs in the next run: however many stops stand,
    a venue that is slow keeps no run longer than one of them.
    """
    confirmed: set[int] = set()
    turns = [_begin(event, place, clocks) for event in events if _covers(event, place)]
    for turn in sorted(turns, key=lambda turn: turn.ledger.count_attempts(StepAction.CONFIRM)):
        begun = replace(turn, deadline=time.monotonic() + TURN_SECONDS)
        if _sweep_turn(begun):
            confirmed.add(turn.event.pk)
        if begun.is_over:
            break
    return confirmed


def _begin(event: models.StopEvent, place: VenueAccount, clocks: Clocks) -> Turn:
    return Turn(
        event=event,
        scope=parse_scope(event.scope),
        place=place,
        ledger=Ledger(event, place),
        clocks=clocks,
        deadline=time.monotonic() + TURN_SECONDS,
    )


def _sweep_turn(turn: Turn) -> bool:
    """Settle, cancel and look after what is held; whether the venue confirmed that all is as it must be."""
    note = turn.ledger
    if note.is_done(StepAction.CONFIRM):
        # Other venues have not confirmed yet, which may take long: this one is not left alone meanwhile.
        trouble = _keep_watch(turn)
        if trouble:
            note.write(StepAction.CONFIRM, StepStatus.RETRYING, detail=trouble)
        return not trouble
    note.write(StepAction.CONFIRM, StepStatus.PENDING)
    # All of them, always: an order that cannot be cancelled must not keep a position at risk.
    troubles = [trouble for part in OUTSTANDING for trouble in _try(part, turn)]
    if troubles:
        note.write(StepAction.CONFIRM, StepStatus.RETRYING, detail="; ".join(troubles))
        return False
    return _confirm(turn)


def _confirm(turn: Turn) -> bool:
    """Note the venue's word, unless more was asked of the stop since this turn looked."""
    with transaction.atomic():
        row = models.StopEvent.objects.select_for_update().get(pk=turn.event.pk)
        is_same = row.positions == turn.event.positions
        status = StepStatus.DONE if is_same else StepStatus.RETRYING
        detail = "two reads agree" if is_same else f"positions are to be {row.positions} now"
        turn.ledger.write(StepAction.CONFIRM, status, detail=detail)
    return is_same


def _try(part: Callable[[Turn], bool], turn: Turn) -> Iterator[str]:
    try:
        if not part(turn):
            yield OUTSTANDING.get(part, "not finished")
    except DomainError as refusal:
        yield f"{refusal.code}: {refusal}"


def _finish(event: models.StopEvent, wall_at: datetime) -> None:
    """STOPPED, once, with its audit event; not where more was asked of it meanwhile."""
    with transaction.atomic():
        moved = models.StopEvent.objects.filter(
            pk=event.pk, progress=StopProgress.STOPPING, positions=event.positions
        ).update(progress=StopProgress.STOPPED, stopped_at=Now())
        if moved == 0:
            return
        event.refresh_from_db()
        stopped_at = event.stopped_at or event.tripped_at
        seconds = max(0.0, (stopped_at - get_sweep_began_at(event)).total_seconds())
        transaction.on_commit(lambda: metrics.STOP_SECONDS.observe(seconds))
        resolve_alert(code=UNCONFIRMED, scope=event.scope, wall_at=wall_at)
        record(
            action="risk.stop_confirm",
            actor=SWEEPER,
            subject_type="scope",
            subject_id=event.scope,
            reason="the venues confirm that nothing rests that could add risk",
            detail={"event_id": event.pk, "steps": event.steps.count(), "seconds": f"{seconds:.3f}"},
        )


def _page(event: models.StopEvent, wall_at: datetime) -> None:
    """Tell people of a stop that the venues have not confirmed for too long; once while it lasts."""
    if wall_at - get_sweep_began_at(event) < PAGE_AFTER:
        return
    with transaction.atomic():
        raise_alert(
            code=UNCONFIRMED,
            severity="critical",
            scope=event.scope,
            text=f"Emergency stop {event.pk} of {event.scope} is not confirmed by every venue",
            wall_at=wall_at,
        )


# Stops that stand confirmed -----------------------------------------------------------------------


def watch_stops(*, clocks: Clocks) -> None:
    """Look after what is held under stops that stand confirmed; what must go is swept anew.

    The venue is asked only for symbols of which our book holds something of ours.
    """
    with ExitStack() as held:
        rows = models.StopEvent.objects.filter(progress=StopProgress.STOPPED, ended_at__isnull=True)
        ours = [
            event
            for event in rows.order_by("tripped_at", "id")
            if held.enter_context(locks.try_hold(f"emergency_stop:{event.pk}"))
        ]
        quiet = [event for event in ours if not escalate_if_worse(event)]
        places = [place for place in list_places() if any(_covers(event, place) for event in quiet)]
        run_side_by_side([partial(_watch_place, quiet, place, clocks) for place in places])


def _watch_place(events: Sequence[models.StopEvent], place: VenueAccount, clocks: Clocks) -> None:
    for event in events:
        if _covers(event, place):
            _watch_turn(_begin(event, place, clocks))


def _watch_turn(turn: Turn) -> None:
    trouble = _keep_watch(turn)
    if trouble:
        resume_stop(turn.event, reason=trouble)


def _keep_watch(turn: Turn) -> str:
    """Look after what is held where the venue has confirmed; why it must be swept anew, "" if it need not."""
    if list_entries(turn.scope, turn.place).exists():
        return "an entry of ours is not settled any more"
    try:
        if has_come_back(turn):
            return "an order that is not ours could add risk again"
    except DomainError as refusal:
        logger.warning("stop %s at %s: %s: %s", turn.event.pk, turn.place, refusal.code, refusal)
    policy = choose_policy(turn.event, turn.place)
    held = [position for position in list_held(turn.scope, turn.place) if not is_foreign(position)]
    if held and policy is PositionPolicy.FLATTEN:
        return "something is held again that must be closed"
    if turn.ledger.has_outstanding(POSITION_ACTIONS):
        for trouble in _try(settle_positions, turn):
            logger.warning("stop %s at %s: %s", turn.event.pk, turn.place, trouble)
    else:
        for position in held:
            _look_after(turn, policy, position)
    return ""


def _look_after(turn: Turn, policy: PositionPolicy, position: Position) -> None:
    try:
        follow(turn, policy, position)
    except DomainError as refusal:
        # Nothing is known of its stop: from now on the venue is asked in full until it answers.
        detail = f"{refusal.code}: {refusal}"
        turn.ledger.write(StepAction.PROTECT, StepStatus.RETRYING, position.symbol, position.symbol, detail)
