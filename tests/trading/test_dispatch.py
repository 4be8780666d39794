"""The door and what follows: sent once, recorded, protected, closed where that is impossible."""

from typing import Any

from trading import dispatch, models


def test_an_entry_is_sent_filled_protected_and_booked(desk: Any) -> None:
    intent = desk.approve()
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, models.Order)
    assert (order.state, order.filled_quantity) == ("filled", intent.quantity)
    position = desk.position()
    assert (position.quantity, position.strategy) == (intent.quantity, "trend")
    assert position.unprotected_since is None
    assert desk.held() == intent.quantity
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    trade = models.Trade.objects.get()
    assert trade.stop_verified_at is not None
    assert trade.target_verified_at is not None
    assert trade.risk_amount is not None
    assert trade.entry_price == order.average_price
    intent.refresh_from_db()
    assert intent.state == "done"
