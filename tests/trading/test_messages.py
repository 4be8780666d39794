"""Every request that submits or cancels is counted in the second in which it left."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Sum

from tests.factories import VenueAccountFactory
from trading import dispatch, models
from trading.dispatch.messages import count_message
from trading.selectors import get_clocks

ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
MESSAGES = {(method, path) for method in ("POST", "DELETE", "PUT") for path in (ORDER, ALGO)}


def count_ours() -> int:
    return models.MessageSlot.objects.aggregate(total=Sum("count"))["total"] or 0


def count_theirs(desk: Any) -> int:
    """What reached the venue, by its own journal of requests."""
    return sum((entry["method"], entry["path"]) in MESSAGES for entry in desk.venue.requests)


def send(intent: models.OrderIntent) -> models.Order:
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, models.Order), order
    return order


def test_what_is_counted_is_what_reached_the_venue(desk: Any) -> None:
    send(desk.approve())
    assert count_ours() == count_theirs(desk) == 3
    send(desk.approve_exit())
    assert count_theirs(desk) == 6
    send(desk.approve())
    dispatch.close_position(position_id=desk.position().pk)
    assert count_ours() == count_theirs(desk) == 12


def test_a_stop_placed_again_and_cancelled_strangers_count_too(desk: Any) -> None:
    send(desk.approve())
    stop = models.Order.objects.get(purpose="stop_loss")
    (report,) = [
        row
        for row in dispatch.read_open_orders(venue_account=desk.place)
        if row.client_order_id == stop.client_order_id
    ]
    dispatch.cancel_foreign_order(venue_account=desk.place, report=report)
    dispatch.restore_symbol(venue_account=desk.place, symbol=stop.symbol)
    assert count_ours() == count_theirs(desk) > 3


def test_a_request_that_is_sent_again_is_two(desk: Any) -> None:
    desk.fault("drift", milliseconds=-60_000)
    send(desk.approve())
    assert desk.requests_to("POST", ORDER) == 2
    assert count_ours() == count_theirs(desk)


def test_a_refusal_at_the_door_is_no_message(desk: Any) -> None:
    models.Permit.objects.update(active=False)
    assert isinstance(dispatch.send_intent(intent_id=desk.approve().id), dispatch.Refusal)
    assert (count_ours(), count_theirs(desk)) == (0, 0)


def test_each_second_has_a_row_that_is_written_over_a_minute_later(db: None) -> None:
    place = VenueAccountFactory()
    for _ in range(4):
        count_message(place.pk)
    assert count_ours() == 4
    assert models.MessageSlot.objects.count() <= 2
    old = get_clocks().wall_at.replace(microsecond=0)
    models.MessageSlot.objects.all().delete()
    for slot in range(60):
        at = old - timedelta(seconds=old.second + 60 - slot)
        models.MessageSlot.objects.create(venue_account=place, slot=slot, second_at=at, count=9)
    count_message(place.pk)
    assert models.MessageSlot.objects.count() == 60
    (row,) = models.MessageSlot.objects.filter(second_at__gte=old)
    assert (row.count, row.slot) == (1, row.second_at.second)


def test_messages_of_many_workers_are_all_counted(transactional_db: None) -> None:
    place = VenueAccountFactory()

    def work(_: int) -> None:
        try:
            for _ in range(10):
                count_message(place.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert count_ours() == 40


def test_a_count_that_cannot_be_made_does_not_keep_a_cancel_back(desk: Any) -> None:
    send(desk.approve())

    def close() -> None:
        try:
            dispatch.close_position(position_id=desk.position().pk)
        finally:
            connection.close()

    # Another process holds every slot and never lets go.
    now = get_clocks().wall_at
    for slot in range(60):
        models.MessageSlot.objects.get_or_create(
            venue_account=desk.place, slot=slot, defaults={"second_at": now, "count": 0}
        )
    before = count_ours()
    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        list(models.MessageSlot.objects.select_for_update())
        pool.submit(close).result()
    assert desk.held() == 0
    assert desk.resting() == []
    assert count_ours() == before
