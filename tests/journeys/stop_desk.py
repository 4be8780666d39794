"""What may be going on at a venue when the stop is tripped, and what must be left there afterwards."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings

from controlplane.code_version import ROOT
from risk import models
from risk.services import sweep_stop
from tests.conftest import NOWHERE
from tests.test_supervisor_up import wait_until
from trading import dispatch
from trading import models as facts
from trading.core.sizing import round_to_grid
from trading.core.values import OrderRequest, OrderType, Side
from trading.dispatch.orders import open_venue
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks
from trading.venues import close_gateways

D = Decimal
ENTRY, HELD = "ETHUSDT", "SOLUSDT"
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
PATIENCE = 60.0
Sweep = Callable[[Any, models.StopEvent], models.StopEvent]


def run(event: models.StopEvent) -> models.StopEvent:
    return sweep_stop(event_id=event.pk, clocks=get_clocks())


def at(mark: Decimal, share: str) -> Decimal:
    return round_to_grid(mark * D(share), D("0.01"), "ROUND_FLOOR")


def send(intent: facts.OrderIntent) -> facts.Order:
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, facts.Order), order
    return order


def hold(desk: Any) -> None:
    """A position with both protections read back: what every stop must leave as it is."""
    send(desk.approve(symbol=HELD, quantity=D("0.5")))
    assert desk.resting(HELD) == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def submit(desk: Any, **changes: Any) -> str:
    """An order at the venue that our book does not know; returns its client id."""
    body: dict[str, Any] = {
        "venue": desk.place.venue,
        "account": desk.place.account.name,
        "symbol": ENTRY,
        "client_order_id": f"foreign{uuid.uuid4().hex[:12]}",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": D("0.04"),
        "price": at(desk.refresh_price(ENTRY), "0.96"),
    }
    request = OrderRequest(**(body | changes))
    assert open_venue(desk.place).submit_order(request).kind == "accepted"
    return str(request.client_order_id)


# What is going on: each returns nothing, and leaves something that could add risk ------------------


def rest(desk: Any) -> None:
    """A limit entry of ours on a flat symbol."""
    mark = desk.refresh_price(ENTRY)
    price = at(mark, "0.97")
    assert send(desk.approve(order_type="limit", price=price, stop_loss=at(price, "0.98"))).state == "open"


def rest_conditionally(desk: Any) -> None:
    """A conditional order of ours that would open when it triggers."""
    mark = desk.refresh_price(ENTRY)
    intent = desk.approve()
    name = submit(
        desk,
        client_order_id=f"ours{uuid.uuid4().hex[:12]}",
        order_type=OrderType.STOP_MARKET,
        price=None,
        trigger_price=at(mark, "1.05"),
    )
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="dispatched")
    facts.Order.objects.create(
        intent=intent,
        venue_account=desk.place,
        symbol=ENTRY,
        client_order_id=name,
        purpose="entry",
        side="buy",
        order_type="stop_market",
        quantity=D("0.04"),
        trigger_price=at(mark, "1.05"),
        reduce_only=False,
        close_position=False,
        state="open",
        market_at=get_clocks().market_at,
    )


def lose_the_answer(desk: Any) -> None:
    """An entry that arrived, and whose answer and look-up did not."""
    mark = desk.refresh_price(ENTRY)
    price = at(mark, "0.97")
    desk.fault("lost_answer", method="POST", path=ORDER)
    desk.fault("error_before", method="GET", path=ORDER, times=2)
    order = send(desk.approve(order_type="limit", price=price, stop_loss=at(price, "0.98")))
    desk.clear_faults()
    assert order.state == "unknown"


def fill_in_part(desk: Any) -> None:
    """An entry that took what stood at the best price and rests with the remainder."""
    desk.venue.execute("deposit", amount="10000000")
    desk.refresh_price(ENTRY)
    # A little above: the market may move between the look and the order.
    ask = round(facts.MarketPrice.objects.get(symbol=ENTRY).ask * D("1.0005"), 2)
    order = send(
        desk.approve(order_type="limit", price=ask, quantity=D(1000), stop_loss=round(ask * D("0.97"), 2))
    )
    assert (order.state, order.filled_quantity > 0) == ("open", True)
    # The deposit belongs to the day from here on.
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)


def nothing(desk: Any) -> None:
    """Only the position with its protections."""


# What goes wrong between the trip and the end ----------------------------------------------------------


def sweep(desk: Any, event: models.StopEvent) -> models.StopEvent:
    return run(event)


def sweep_past_an_outage(desk: Any, event: models.StopEvent) -> models.StopEvent:
    """The venue answers nothing, and then it does."""
    desk.fault("error_before", times=10_000)
    assert run(event).progress == "STOPPING"
    desk.clear_faults()
    return run(event)


def sweep_after_a_kill(desk: Any, event: models.StopEvent) -> models.StopEvent:
    """A sweeper is killed while a request of its is under way."""
    desk.fault("delay", method="GET", path="/fapi/v1/openOrders", seconds=30, times=1)
    before = len(desk.venue.faults.fired)
    with sweeper(desk, event) as process:
        wait_until(lambda: len(desk.venue.faults.fired) > before)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    event.refresh_from_db()
    assert event.progress == "STOPPING"
    desk.clear_faults()
    return run(event)


def sweep_without_redis(desk: Any, event: models.StopEvent) -> models.StopEvent:
    """The broker and the cache are gone."""
    assert settings.REDIS_URL == NOWHERE
    return run(event)


def sweep_after_a_restart(desk: Any, event: models.StopEvent) -> models.StopEvent:
    """Everything that knew of the stop is gone; a new process finds it STOPPING and finishes it."""
    desk.fault("error_before", times=10_000)
    assert run(event).progress == "STOPPING"
    desk.clear_faults()
    close_gateways()
    with sweeper(desk, event) as process:
        out, error = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + error
    event.refresh_from_db()
    return event


def sweeper(desk: Any, event: models.StopEvent) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "SIMULATED_VENUES": f"{desk.place.venue}={desk.address}",
        "CONTROLPLANE_NO_BOOTSTRAP": "1",
        "LOG_LEVEL": "ERROR",
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "emergency_stop", "sweep", str(event.pk)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is going on, and how the sweep goes."""

    name: str
    begin: Callable[[Any], None]
    sweep: Sweep = sweep
    without_redis: bool = False


SITUATIONS = (
    Situation(name="resting limit on a flat symbol", begin=rest),
    Situation(name="resting stop-entry", begin=rest_conditionally),
    Situation(name="in flight with a lost answer", begin=lose_the_answer),
    Situation(name="partially filled entry", begin=fill_in_part),
    Situation(name="position with both protections", begin=nothing),
    Situation(name="venue unreachable, then back", begin=rest, sweep=sweep_past_an_outage),
    Situation(name="sweeper killed", begin=rest, sweep=sweep_after_a_kill),
    Situation(name="redis gone", begin=rest, sweep=sweep_without_redis, without_redis=True),
    Situation(name="restart while stopping", begin=rest, sweep=sweep_after_a_restart),
)
