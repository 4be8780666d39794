"""The part of the sweep that takes away orders: ours of unknown outcome, ours that rest, and foreign ones.

Only what could add risk is cancelled, conditional orders that would open a position among it.
Protections are never touched.
"""

from collections.abc import Iterable

from django.db.models import QuerySet

from controlplane.errors import DomainError
from risk.core.emergency_stop import FOREIGN_SCOPES, Owner, StepAction, StepStatus, must_cancel
from risk.stops.sweep_ledger import ORDER_ACTIONS, Ledger, Turn
from trading import dispatch
from trading.core.reconciliation import DifferenceKind
from trading.core.values import OrderPurpose, OrderReport, OrderState, OutcomeKind, Scope
from trading.models import Order, VenueAccount
from trading.selectors import latest_reconciliation, list_unsettled_orders

# Reads of one venue account in one turn; the guard comes back in a second.
READS = 4
AGREEING_READS = 2


def settle_entries(turn: Turn) -> bool:
    """Bring our own entries of the scope to their end; whether all are final."""
    finals = [
        not turn.is_over and _end_order(order, turn.ledger) for order in list_entries(turn.scope, turn.place)
    ]
    return all(finals)


def list_entries(scope: Scope, place: VenueAccount) -> QuerySet[Order]:
    """Our entries of the scope that may still rest, fill or arrive."""
    rows = list_unsettled_orders(place).filter(purpose=OrderPurpose.ENTRY)
    if scope.kind == "strategy":
        return rows.filter(intent__strategy=scope.name)
    return rows.filter(symbol=scope.name) if scope.kind == "symbol" else rows


def _end_order(order: Order, ledger: Ledger) -> bool:
    """Look an entry up where its outcome is not known, cancel it where it rests."""
    action = StepAction.CANCEL if order.state == OrderState.OPEN else StepAction.SETTLE
    try:
        ended = dispatch.settle_order(order_id=order.pk) if action is StepAction.SETTLE else order
        if ended.state == OrderState.OPEN:
            ended = dispatch.cancel_order(order_id=order.pk)
    except DomainError as refusal:
        detail = f"{refusal.code}: {refusal}"
        ledger.write(action, StepStatus.RETRYING, order.client_order_id, order.symbol, detail)
        return False
    is_final = OrderState(ended.state).is_final
    status = StepStatus.DONE if is_final else StepStatus.RETRYING
    ledger.write(action, status, order.client_order_id, order.symbol, ended.state)
    return is_final


def cancel_resting(turn: Turn) -> bool:
    """Cancel whatever the venue shows of the scope until two reads in a row show nothing.

    Raises VenueError.
    """
    agreeing = 0
    for _ in range(READS):
        resting = find_resting(turn.scope, turn.place)
        agreeing = 0 if resting else agreeing + 1
        if agreeing == AGREEING_READS:
            # An entry that was claimed before the trip may have become known only now.
            is_clear = not list_entries(turn.scope, turn.place).exists()
            if is_clear:
                turn.ledger.close(ORDER_ACTIONS, "no longer at the venue")
            return is_clear
        for report, is_ours in resting:
            if turn.is_over:
                return False
            _cancel(turn.place, report, is_ours, turn.ledger)
    return False


def has_come_back(turn: Turn) -> bool:
    """Whether a foreign order that the last comparison of books saw could add risk; raises VenueError.

    Only the symbols of such orders are asked for, which costs little.
    """
    latest = latest_reconciliation(turn.place)
    if latest is None or turn.scope.kind not in FOREIGN_SCOPES:
        return False
    seen = {row["symbol"] for row in latest.differences if row["kind"] == DifferenceKind.FOREIGN_ORDER}
    return any(find_resting(turn.scope, turn.place, symbol) for symbol in sorted(seen))


def find_resting(
    scope: Scope, place: VenueAccount, symbol: str | None = None
) -> list[tuple[OrderReport, bool]]:
    """What the venue shows that the stop must cancel, and whether it is ours; raises VenueError."""
    reports = dispatch.read_open_orders(venue_account=place, symbol=symbol)
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


def _cancel(place: VenueAccount, report: OrderReport, is_ours: bool, ledger: Ledger) -> None:
    order = Order.objects.filter(venue_account=place, client_order_id=report.client_order_id).first()
    try:
        if order is not None and is_ours and not OrderState(order.state).is_final:
            ended = dispatch.cancel_order(order_id=order.pk)
            is_done, detail = OrderState(ended.state).is_final, str(ended.state)
        else:
            # Not ours, or over in our book while it rests all the same.
            outcome = dispatch.cancel_foreign_order(venue_account=place, report=report)
            is_done = outcome.kind is OutcomeKind.ACCEPTED
            owner = "ours, over in our book" if is_ours else "foreign"
            detail = f"{owner}: {outcome.kind.value} {outcome.text}"
    except DomainError as refusal:
        is_done, detail = False, f"{refusal.code}: {refusal}"
    status = StepStatus.DONE if is_done else StepStatus.RETRYING
    subject = report.client_order_id or report.venue_order_id
    ledger.write(StepAction.CANCEL, status, subject, report.symbol, detail)
