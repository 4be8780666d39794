"""What a snapshot of a fresh activation holds, as plain JSON: numbers are texts, ages wall seconds."""

from typing import Any

from golive.guards import count_entries, list_read_places, read_ages
from golive.models import Activation
from risk.models import Decision, GlobalRisk
from trading import selectors
from trading.core.values import Clocks, OrderPurpose
from trading.models import Order, TradingState, VenueAccount


def read_facts(activation: Activation, clocks: Clocks) -> dict[str, Any]:
    """Equity, what is held and how it is protected, decisions, errors, comparison, risk, states, ages."""
    account = activation.account
    places = list_read_places(account)
    asked, allowed = count_entries(activation)
    ages = read_ages(account, clocks)
    risk = GlobalRisk.objects.order_by("-id").first()
    return {
        "equity": {place.venue: _read_equity(place) for place in places},
        "positions": [row for place in places for row in _list_positions(place)],
        "decisions": {
            "entries": asked,
            "allowed": allowed,
            "denied": asked - allowed,
            "reasons": _list_reasons(activation),
        },
        "orders": _count_orders(activation),
        "reconciliation": {place.venue: _read_comparison(place) for place in places},
        "global_risk": None if risk is None else {"level": risk.level, "reasons": risk.reasons},
        "states": _list_states(account.name, places),
        "ages": {name: None if age is None else f"{age:f}" for name, age in ages.items()},
        "market_at": clocks.market_at.isoformat(),
    }


def _read_equity(place: VenueAccount) -> str | None:
    row = selectors.latest_equity(place)
    return None if row is None else f"{row.equity.normalize():f}"


def _list_positions(place: VenueAccount) -> list[dict[str, Any]]:
    protections = selectors.list_protections(place)
    return [
        {
            "venue": place.venue,
            "symbol": row.symbol,
            "quantity": f"{row.quantity.normalize():f}",
            "stop": _read_trigger(protections.get(row.symbol, {}).get(OrderPurpose.STOP_LOSS)),
            "target": _read_trigger(protections.get(row.symbol, {}).get(OrderPurpose.TAKE_PROFIT)),
            "is_unprotected": row.unprotected_since is not None,
        }
        for row in selectors.list_open_positions(place)
    ]


def _read_trigger(order: Order | None) -> str | None:
    """The trigger of a protection that the venue was seen to hold."""
    if order is None or order.trigger_price is None or order.verified_at is None:
        return None
    return f"{order.trigger_price.normalize():f}"


def _list_reasons(activation: Activation) -> list[str]:
    rows = Decision.objects.filter(
        account=activation.account, allowed=False, decided_at__gte=activation.activated_at
    )
    return sorted(set(rows.values_list("reason", flat=True)))


def _count_orders(activation: Activation) -> dict[str, int]:
    """Orders sent since activation, by state."""
    rows = Order.objects.filter(
        venue_account__account=activation.account, sent_at__gte=activation.activated_at
    )
    counts: dict[str, int] = {}
    for state in rows.values_list("state", flat=True):
        counts[state] = counts.get(state, 0) + 1
    return counts


def _read_comparison(place: VenueAccount) -> dict[str, Any] | None:
    run = selectors.latest_reconciliation(place)
    return None if run is None else {"is_clean": run.is_clean, "differences": run.differences}


def _list_states(account: str, places: list[VenueAccount]) -> dict[str, str]:
    scopes = ["all", f"account:{account}", *(f"venue:{place.venue}" for place in places)]
    known = dict(TradingState.objects.filter(scope__in=scopes).values_list("scope", "state"))
    return {scope: known.get(scope, "HALTED") for scope in scopes}
