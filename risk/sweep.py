"""The stop's sweep: what rests at the venues and could add risk is cancelled, and the venues confirm it.

Each run goes as far as the venues allow and may be repeated by anyone: the ledger of steps says what
is done. A venue account is confirmed when two reads in a row show nothing to cancel and no entry of
ours is on its way. Protections are never touched.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from controlplane.alerts.services import raise_alert
from controlplane.audit.services import record
from controlplane.errors import DomainError
from risk import metrics, models
from risk.core.emergency_stop import (
    Owner,
    StepAction,
    StepStatus,
    StopProgress,
    must_cancel,
    parse_scope,
)
from risk.selectors import get_stop_event
from trading import dispatch, locks
from trading.core.values import Clocks, OrderPurpose, OrderReport, OrderState, OutcomeKind, Scope
from trading.models import Order, VenueAccount
from trading.selectors import list_unsettled_orders

SWEEPER = "guard:sweep"
# Reads of one venue account in one run; the guard comes back in a second.
READS = 4
AGREEING_READS = 2
PAGE_AFTER = timedelta(seconds=30)


def sweep_stop(*, event_id: int, clocks: Clocks) -> models.StopEvent:
    """Bring one stop as far as the venues allow now; raises NotFound.

    A second sweeper at the same time does nothing: one at a time works on an event.
    """
    event = get_stop_event(event_id)
    if event.progress == StopProgress.STOPPED:
        return event
    with locks.try_hold(f"emergency_stop:{event.pk}") as is_held:
        if not is_held:
            return event
        scope = parse_scope(event.scope)
        confirmed = [_sweep_account(event, scope, place) for place in list_places(scope)]
        if all(confirmed):
            _finish(event)
        else:
            _page(event, clocks.wall_at)
    return get_stop_event(event_id)


def list_places(scope: Scope) -> list[VenueAccount]:
    """Every venue account where an order of the scope may rest."""
    rows = VenueAccount.objects.select_related("account").filter(
        account__environment=settings.TRADING_ENVIRONMENT
    )
    if scope.kind == "venue":
        rows = rows.filter(venue=scope.name)
    if scope.kind == "account":
        rows = rows.filter(account__name=scope.name)
    return list(rows.order_by("account__name", "priority"))


def _sweep_account(event: models.StopEvent, scope: Scope, place: VenueAccount) -> bool:
    """Settle and cancel at one venue account; whether the venue confirmed that nothing is left."""
    note = _Ledger(event, place)
    if note.is_done(StepAction.CONFIRM):
        return True
    note.write(StepAction.CONFIRM, StepStatus.PENDING)
    try:
        # Both, always: an entry of unknown outcome must not keep foreign orders at the venue.
        is_settled = _is_settled(scope, place, note)
        is_clear = _is_cancelled(scope, place, note) and is_settled
    except DomainError as refusal:
        note.write(StepAction.CONFIRM, StepStatus.RETRYING, detail=f"{refusal.code}: {refusal}")
        return False
    if is_clear:
        note.close()
        note.write(StepAction.CONFIRM, StepStatus.DONE, detail=f"{AGREEING_READS} reads agree")
    else:
        note.write(StepAction.CONFIRM, StepStatus.RETRYING, detail="orders are still open")
    return is_clear


def _is_settled(scope: Scope, place: VenueAccount, note: "_Ledger") -> bool:
    """Bring our own entries of the scope to their end; whether all are final."""
    finals = [_end_order(order, note) for order in _list_entries(scope, place)]
    return all(finals)


def _list_entries(scope: Scope, place: VenueAccount) -> QuerySet[Order]:
    rows = list_unsettled_orders(place).filter(purpose=OrderPurpose.ENTRY)
    if scope.kind == "strategy":
        return rows.filter(intent__strategy=scope.name)
    return rows.filter(symbol=scope.name) if scope.kind == "symbol" else rows


def _end_order(order: Order, note: "_Ledger") -> bool:
    """Look an entry up where its outcome is not known, cancel it where it rests."""
    action = StepAction.CANCEL if order.state == OrderState.OPEN else StepAction.SETTLE
    try:
        ended = dispatch.settle_order(order_id=order.pk) if action is StepAction.SETTLE else order
        if ended.state == OrderState.OPEN:
            ended = dispatch.cancel_order(order_id=order.pk)
    except DomainError as refusal:
        note.write(
            action, StepStatus.RETRYING, order.client_order_id, order.symbol, f"{refusal.code}: {refusal}"
        )
        return False
    is_final = OrderState(ended.state).is_final
    status = StepStatus.DONE if is_final else StepStatus.RETRYING
    note.write(action, status, order.client_order_id, order.symbol, ended.state)
    return is_final


def _is_cancelled(scope: Scope, place: VenueAccount, note: "_Ledger") -> bool:
    """Cancel whatever the venue shows of the scope until two reads in a row show nothing."""
    agreeing = 0
    for _ in range(READS):
        resting = find_resting(scope, place)
        agreeing = 0 if resting else agreeing + 1
        if agreeing == AGREEING_READS:
            # An entry that was claimed before the trip may have become known only now.
            return not _list_entries(scope, place).exists()
        for report, is_ours in resting:
            _cancel(place, report, is_ours, note)
    return False


def find_resting(scope: Scope, place: VenueAccount) -> list[tuple[OrderReport, bool]]:
    """What the venue shows that the stop must cancel, and whether it is ours; raises VenueError."""
    reports = dispatch.read_open_orders(venue_account=place)
    owners = _find_owners(place, (report.client_order_id for report in reports))
    return [
        (report, report.client_order_id in owners)
        for report in reports
        if must_cancel(report, owners.get(report.client_order_id), scope)
    ]


def _find_owners(place: VenueAccount, client_order_ids: Iterable[str]) -> dict[str, Owner]:
    rows = Order.objects.filter(venue_account=place, client_order_id__in=list(client_order_ids))
    found = rows.values_list("client_order_id", "purpose", "intent__strategy")
    return {name: Owner(purpose=OrderPurpose(purpose), strategy=owner) for name, purpose, owner in found}


def _cancel(place: VenueAccount, report: OrderReport, is_ours: bool, note: "_Ledger") -> None:
    order = Order.objects.filter(venue_account=place, client_order_id=report.client_order_id).first()
    try:
        if order is not None and is_ours:
            ended = dispatch.cancel_order(order_id=order.pk)
            is_done, detail = OrderState(ended.state).is_final, str(ended.state)
        else:
            outcome = dispatch.cancel_foreign_order(venue_account=place, report=report)
            is_done, detail = (
                outcome.kind is OutcomeKind.ACCEPTED,
                f"foreign: {outcome.kind.value} {outcome.text}",
            )
    except DomainError as refusal:
        is_done, detail = False, f"{refusal.code}: {refusal}"
    status = StepStatus.DONE if is_done else StepStatus.RETRYING
    subject = report.client_order_id or report.venue_order_id
    note.write(StepAction.CANCEL, status, subject, report.symbol, detail)


def _finish(event: models.StopEvent) -> None:
    """STOPPED, once, with its audit event."""
    with transaction.atomic():
        moved = models.StopEvent.objects.filter(pk=event.pk, progress=StopProgress.STOPPING).update(
            progress=StopProgress.STOPPED, stopped_at=Now()
        )
        if moved == 0:
            return
        event.refresh_from_db()
        seconds = 0.0 if event.stopped_at is None else (event.stopped_at - event.tripped_at).total_seconds()
        transaction.on_commit(lambda: metrics.STOP_SECONDS.observe(max(0.0, seconds)))
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
    if wall_at - event.tripped_at < PAGE_AFTER:
        return
    with transaction.atomic():
        raise_alert(
            code="emergency_stop_unconfirmed",
            severity="critical",
            scope=event.scope,
            text=f"Emergency stop {event.pk} of {event.scope} is not confirmed by every venue",
            wall_at=wall_at,
        )


class _Ledger:
    """The steps of one stop at one venue account."""

    def __init__(self, event: models.StopEvent, place: VenueAccount) -> None:
        self._event = event
        self._place = place

    def write(
        self, action: StepAction, status: StepStatus, subject: str = "", symbol: str = "", detail: str = ""
    ) -> None:
        key = {
            "event": self._event,
            "venue": self._place.venue,
            "account": self._place.account.name,
            "action": action,
            "subject": subject[:64],
        }
        models.StopStep.objects.get_or_create(**key, defaults={"symbol": symbol})
        models.StopStep.objects.filter(**key).update(
            status=status, detail=detail[:500], attempts=F("attempts") + 1, updated_at=Now()
        )

    def close(self) -> None:
        """What could not be cancelled is not there any more: the venue has just said so."""
        self._steps().exclude(status=StepStatus.DONE).exclude(action=StepAction.CONFIRM).update(
            status=StepStatus.DONE, detail="no longer at the venue", updated_at=Now()
        )

    def is_done(self, action: StepAction) -> bool:
        return self._steps().filter(action=action, status=StepStatus.DONE).exists()

    def _steps(self) -> QuerySet[models.StopStep]:
        return models.StopStep.objects.filter(
            event=self._event, venue=self._place.venue, account=self._place.account.name
        )
