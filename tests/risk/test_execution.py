"""From intent to a protected position at the simulated venue, judged and sent in one call."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from risk import models
from risk.limits import load_profiles
from risk.registration import ensure_scopes_for_account, store_limit_set
from risk.services import assess_global_risk, execute_intent
from tests.risk.candles import make_hours
from trading import market, services
from trading import models as facts
from trading.core.sizing import round_to_grid
from trading.core.values import OrderPurpose, OrderType, Side
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks

D = Decimal
SYMBOL = "ETHUSDT"
TICK = D("0.01")


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    """The venue's desk, judged under MICRO's real limits by the real gate."""
    place, clocks = venue_desk.place, get_clocks()
    limits = store_limit_set(limits=load_profiles()["MICRO"], actor="system:test", reason="a test")
    facts.Permit.objects.update(
        limit_set_digest=limits.digest,
        profile="MICRO",
        lease_expires_at=clocks.wall_at + timedelta(minutes=5),
    )
    services.assign_strategy(account=place.account, strategy="trend", symbols=[SYMBOL])
    ensure_scopes_for_account(account=place.account, actor="system:test")
    facts.TradingState.objects.get_or_create(
        scope=f"symbol:{SYMBOL}", defaults={"state": "ACTIVE", "reason": "", "source": "test"}
    )
    market.refresh_instruments(venue=place.venue, account=place.account.name, market_at=clocks.market_at)
    market.prepare_symbol(
        venue_account=place,
        symbol=SYMBOL,
        leverage=2,
        stop_ratio=D("0.02"),
        market_at=clocks.market_at,
    )
    make_hours(SYMBOL, count=721, moves=[0.001, -0.001] * 360)
    venue_desk.refresh_price()
    reconcile_venue_account(venue_account=place, market_at=clocks.market_at)
    assess_global_risk(clocks=get_clocks())
    return venue_desk


def ask(desk: Any, **changes: Any) -> facts.OrderIntent:
    mark = desk.refresh_price()
    clocks = get_clocks()
    body: dict[str, Any] = {
        "strategy": "trend",
        "symbol": SYMBOL,
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "purpose": OrderPurpose.ENTRY,
        "quantity": round_to_grid(D(80) / mark, D("0.001"), "ROUND_DOWN"),
        "price": None,
        "stop_loss": round_to_grid(mark * D("0.975"), TICK, "ROUND_FLOOR"),
        "take_profit": round_to_grid(mark * D("1.05"), TICK, "ROUND_FLOOR"),
        "reduce_only": False,
        "source": "strategy",
        "client_ref": f"ref{facts.OrderIntent.objects.count()}",
        "signal_at": clocks.market_at,
    }
    return services.register_intent(
        account=desk.place.account, venue_account=desk.place, market_at=clocks.market_at, **(body | changes)
    )


def execute(intent: facts.OrderIntent) -> Any:
    return execute_intent(intent_id=intent.pk, clocks=get_clocks())


def test_an_entry_is_judged_sent_filled_and_protected_and_its_exit_closes_it(desk):
    entry = ask(desk)

    done = execute(entry)

    assert done.decision.allowed, done.decision.breaches
    assert done.refusal is None
    assert done.summary == "order:filled"
    assert desk.held() == entry.quantity
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]

    leaving = ask(
        desk,
        side=Side.SELL,
        purpose=OrderPurpose.EXIT,
        quantity=entry.quantity,
        reduce_only=True,
        stop_loss=None,
        take_profit=None,
    )
    assert execute(leaving).summary == "order:filled"
    assert desk.held() == 0


def test_executing_again_answers_with_the_order_it_became(desk):
    entry = ask(desk)
    first, second = execute(entry), execute(entry)
    assert first.order.pk == second.order.pk
    assert models.Decision.objects.count() == 1
    assert desk.requests_to("POST", "/fapi/v1/order") == 1


def test_a_denied_intent_never_reaches_the_door(desk):
    denied = execute(ask(desk, take_profit=None))
    assert denied.summary == "denied:TAKE_PROFIT_MISSING"
    assert denied.order is None
    assert desk.requests_to("POST", "/fapi/v1/order") == 0


def test_what_was_asked_for_judgement_only_is_refused_at_the_door(desk):
    done = execute(ask(desk, execute=False))
    assert done.decision.allowed
    assert done.summary == "refused:JUDGEMENT_ONLY"
    assert desk.requests_to("POST", "/fapi/v1/order") == 0


def test_the_open_position_counts_for_the_next_entry(desk):
    first = ask(desk)
    assert execute(first).summary == "order:filled"
    look_again(desk)

    denied = execute(ask(desk, stop_loss=first.stop_loss, take_profit=first.take_profit))

    assert denied.decision.reason == "POSITION_NOTIONAL"


def look_again(desk):
    assess_global_risk(clocks=get_clocks())
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)


def test_an_entry_that_joins_keeps_the_one_stop_and_asks_for_no_other(desk):
    size = round_to_grid(D(30) / desk.refresh_price(), D("0.001"), "ROUND_DOWN")
    first = ask(desk, quantity=size)
    assert execute(first).summary == "order:filled"
    look_again(desk)

    other = execute(ask(desk, quantity=size, stop_loss=first.stop_loss + TICK))
    assert other.summary == "denied:PROTECTION_DIFFERS"
    joined = execute(ask(desk, quantity=size, stop_loss=first.stop_loss, take_profit=first.take_profit))

    assert joined.summary == "order:filled", joined.decision.breaches
    stops = facts.Order.objects.filter(purpose="stop_loss", state="open")
    assert [stop.trigger_price for stop in stops] == [first.stop_loss]
    assert desk.held() == 2 * size
