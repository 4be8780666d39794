"""A request is stored once, as it was asked."""

from decimal import Decimal
from typing import Any

import pytest

from tests.factories import MARKET_AT, VenueAccountFactory
from trading import models, services
from trading.core.values import OrderPurpose, OrderType, Side

pytestmark = pytest.mark.django_db


@pytest.fixture
def place() -> models.VenueAccount:
    return VenueAccountFactory()


def register(place: models.VenueAccount, **changes: Any) -> models.OrderIntent:
    body: dict[str, Any] = {
        "venue_account": place,
        "strategy": "trend",
        "symbol": "ETHUSDT",
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "purpose": OrderPurpose.ENTRY,
        "quantity": Decimal("0.030"),
        "price": None,
        "stop_loss": Decimal(2430),
        "take_profit": None,
        "reduce_only": False,
        "source": "strategy",
    }
    return services.register_intent(
        account=place.account, client_ref="one", signal_at=MARKET_AT, market_at=MARKET_AT, **(body | changes)
    )


def test_an_intent_keeps_what_was_asked_and_may_not_be_resized_unless_it_says_so(
    place: models.VenueAccount,
) -> None:
    first = register(place)
    assert (first.requested_quantity, first.may_resize) == (Decimal("0.03"), False)


def test_the_same_request_again_is_the_first_even_after_it_was_made_smaller(
    place: models.VenueAccount,
) -> None:
    first = register(place, may_resize=True)
    models.OrderIntent.objects.update(quantity=Decimal("0.01"))
    again = register(place, may_resize=True, quantity=Decimal("0.03"))
    assert again.pk == first.pk
    assert (again.quantity, again.requested_quantity) == (Decimal("0.01"), Decimal("0.03"))
    with pytest.raises(services.ClientRefReused):
        register(place, may_resize=True, quantity=Decimal("0.01"))


def test_a_request_that_may_not_be_resized_is_another_one(place: models.VenueAccount) -> None:
    register(place, may_resize=True)
    with pytest.raises(services.ClientRefReused):
        register(place)
