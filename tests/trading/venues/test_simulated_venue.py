"""The gateway against the simulated venue: orders, protections, positions, and what faults do to them."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from trading.core.values import (
    OrderRequest,
    OrderState,
    OrderType,
    OutcomeKind,
    Side,
    TimeInForce,
)
from trading.venues.binanceusdm import BinanceUsdmGateway
from trading.venues.gateway import Cause, VenueRejected, VenueUnavailable
from trading.venues.probe import ITEMS, probe_gateway

SYMBOL = "ETHUSDT"
MARKET_AT = datetime(2025, 6, 10, 12, tzinfo=UTC)
Connect = Callable[..., BinanceUsdmGateway]


def order(client_order_id: str, **changes: Any) -> OrderRequest:
    facts: dict[str, Any] = {
        "venue": "binanceusdm",
        "account": "desk",
        "symbol": SYMBOL,
        "client_order_id": client_order_id,
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "quantity": Decimal("0.040"),
    }
    return OrderRequest(**(facts | changes))


@pytest.fixture
def gateway(simulated: Any, open_gateway_at: Connect) -> BinanceUsdmGateway:
    gateway = open_gateway_at(simulated.address)
    gateway.ensure_symbol_settings(SYMBOL, 3, isolated=True)
    return gateway


def protect(gateway: BinanceUsdmGateway, mark: Decimal) -> None:
    """A closing stop 2 % below and a target 4 % above the mark."""
    for request in (
        order(
            "sl1",
            side=Side.SELL,
            order_type=OrderType.STOP_MARKET,
            quantity=None,
            close_position=True,
            trigger_price=round(mark * Decimal("0.98"), 2),
        ),
        order(
            "tp1",
            side=Side.SELL,
            order_type=OrderType.TAKE_PROFIT_MARKET,
            reduce_only=True,
            trigger_price=round(mark * Decimal("1.04"), 2),
        ),
    ):
        assert gateway.submit_order(request).kind is OutcomeKind.ACCEPTED


def test_an_entry_fills_and_is_the_same_in_every_book(gateway: BinanceUsdmGateway) -> None:
    before = gateway.fetch_balance()
    assert (before.wallet, before.equity) == (1100, 1100)
    outcome = gateway.submit_order(order("en1"))
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.report is not None
    assert (outcome.report.state, outcome.report.filled_quantity) == (OrderState.FILLED, Decimal("0.040"))
    (position,) = gateway.fetch_positions()
    assert (position.symbol, position.quantity, position.margin_mode) == (
        SYMBOL,
        Decimal("0.040"),
        "isolated",
    )
    assert position.liquidation_price is not None
    assert position.liquidation_price < outcome.report.average_price
    fills = gateway.fetch_fills(SYMBOL, since=MARKET_AT)
    assert {fill.venue_order_id for fill in fills} == {outcome.report.venue_order_id}
    assert sum(fill.quantity for fill in fills) == Decimal("0.040")
    fees = sum(fill.fee for fill in fills)
    assert fees > 0
    after = gateway.fetch_balance()
    assert after.wallet == before.wallet - fees
    assert (
        sum(row.amount for row in gateway.fetch_income(since=MARKET_AT) if row.kind == "COMMISSION") == -fees
    )
    assert gateway.fetch_fills(SYMBOL, from_id=str(int(fills[-1].venue_fill_id) + 1)) == ()


def test_protections_rest_on_the_venue_and_are_read_back(gateway: BinanceUsdmGateway) -> None:
    gateway.submit_order(order("en1"))
    mark = gateway.fetch_prices([SYMBOL])[SYMBOL].mark
    protect(gateway, mark)
    resting = {report.client_order_id: report for report in gateway.fetch_open_orders()}
    assert set(resting) == {"sl1", "tp1"}
    assert (resting["sl1"].close_position, resting["sl1"].quantity) == (True, None)
    assert (resting["tp1"].reduce_only, resting["tp1"].quantity) == (True, Decimal("0.040"))
    stop = gateway.fetch_order(SYMBOL, "sl1", conditional=True)
    assert stop is not None
    assert (stop.state, stop.trigger_price) == (OrderState.OPEN, round(mark * Decimal("0.98"), 2))
    assert gateway.fetch_order(SYMBOL, "sl1", conditional=False) is None
    outcome = gateway.cancel_order(SYMBOL, "tp1", conditional=True)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.report is not None
    assert outcome.report.state is OrderState.CANCELLED
    again = gateway.cancel_order(SYMBOL, "tp1", conditional=True)
    assert (again.kind, again.code) == (OutcomeKind.REJECTED, "-2011")


def test_a_triggered_stop_closes_and_its_fill_is_found_under_the_order_it_became(
    simulated: Any, gateway: BinanceUsdmGateway
) -> None:
    gateway.submit_order(order("en1"))
    protect(gateway, gateway.fetch_prices([SYMBOL])[SYMBOL].mark)
    simulated.gap(SYMBOL, "-5")
    stop = gateway.fetch_order(SYMBOL, "sl1", conditional=True)
    assert stop is not None
    assert (stop.state, stop.filled_quantity) == (OrderState.FILLED, Decimal("0.040"))
    assert stop.average_price is not None
    assert stop.average_price < stop.trigger_price
    fills = gateway.fetch_fills(SYMBOL, since=MARKET_AT)
    assert stop.executed_by in {fill.venue_order_id for fill in fills}
    assert gateway.fetch_positions() == ()
    # There is no OCO: the target still rests, and would close the next position.
    assert [report.client_order_id for report in gateway.fetch_open_orders()] == ["tp1"]


def test_a_stop_beyond_the_market_is_refused_as_such(gateway: BinanceUsdmGateway) -> None:
    gateway.submit_order(order("en1"))
    outcome = gateway.submit_order(
        order(
            "sl1",
            side=Side.SELL,
            order_type=OrderType.STOP_MARKET,
            quantity=None,
            close_position=True,
            trigger_price=Decimal(9000),
        )
    )
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, "-2021")
    assert "OrderImmediatelyFillable" in outcome.text


def test_limit_orders_rest_and_are_cancelled(gateway: BinanceUsdmGateway) -> None:
    bid = gateway.fetch_prices([SYMBOL])[SYMBOL].bid
    price = round(bid * Decimal("0.99"), 2)
    limit = order("en1", order_type=OrderType.LIMIT, price=price, time_in_force=TimeInForce.POST_ONLY)
    outcome = gateway.submit_order(limit)
    assert outcome.report is not None
    assert outcome.report.state is OrderState.OPEN
    assert [(report.client_order_id, report.price) for report in gateway.fetch_open_orders()] == [
        ("en1", price)
    ]
    cancelled = gateway.cancel_order(SYMBOL, "en1", conditional=False)
    assert cancelled.report is not None
    assert cancelled.report.state is OrderState.CANCELLED
    assert gateway.fetch_open_orders() == ()
    looked_up = gateway.fetch_order(SYMBOL, "en1", conditional=False)
    assert looked_up is not None
    assert looked_up.state is OrderState.CANCELLED


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": Decimal("0.0405")}, "-1111"),
        ({"quantity": Decimal("0.001")}, "-4164"),
        ({"quantity": Decimal(100)}, "-2019"),
        ({"reduce_only": True}, "-2022"),
        (
            {
                "order_type": OrderType.LIMIT,
                "price": Decimal("99999.99"),
                "time_in_force": TimeInForce.POST_ONLY,
            },
            "-4016",
        ),
    ],
)
def test_the_venues_refusals_come_with_their_codes(
    gateway: BinanceUsdmGateway, changes: dict[str, Any], code: str
) -> None:
    outcome = gateway.submit_order(order("en1", **changes))
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, code)
    assert gateway.fetch_order(SYMBOL, "en1", conditional=False) is None


# Faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost_answer"},
        {"kind": "empty_body"},
        {"kind": "error_after", "status": 503, "code": -1000},
        {"kind": "error_after", "status": 503},
        {"kind": "error_after", "status": 502, "text": "<html>Bad Gateway</html>"},
        {"kind": "error_after", "status": 504},
        {"kind": "error_after", "status": 408, "code": -1007},
    ],
)
@pytest.mark.parametrize("conditional", [False, True])
def test_an_order_that_was_taken_but_not_answered_is_unknown_and_found(
    simulated: Any, gateway: BinanceUsdmGateway, fault: dict[str, Any], conditional: bool
) -> None:
    path = "/fapi/v1/algoOrder" if conditional else "/fapi/v1/order"
    request = order("en1")
    if conditional:
        gateway.submit_order(order("en0"))
        trigger = round(gateway.fetch_prices([SYMBOL])[SYMBOL].mark * Decimal("0.95"), 2)
        request = order(
            "en1",
            side=Side.SELL,
            order_type=OrderType.STOP_MARKET,
            quantity=None,
            close_position=True,
            trigger_price=trigger,
        )
    simulated.fault(method="POST", path=path, **fault)
    sent_before = simulated.requests_to("POST", path)
    outcome = gateway.submit_order(request)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert simulated.requests_to("POST", path) == sent_before + 1
    report = gateway.fetch_order(SYMBOL, "en1", conditional)
    assert report is not None
    assert report.state is (OrderState.OPEN if conditional else OrderState.FILLED)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "error_before", "status": 503, "code": -1000}, OutcomeKind.UNKNOWN),
        ({"kind": "error_before", "status": 500}, OutcomeKind.UNKNOWN),
        ({"kind": "rate_limited", "status": 429, "retry_after": 3}, OutcomeKind.THROTTLED),
        ({"kind": "rate_limited", "status": 418, "retry_after": 3}, OutcomeKind.THROTTLED),
    ],
)
def test_an_order_that_was_not_taken_is_looked_up_as_absent(
    simulated: Any, gateway: BinanceUsdmGateway, fault: dict[str, Any], kind: OutcomeKind
) -> None:
    simulated.fault(method="POST", path="/fapi/v1/order", **fault)
    outcome = gateway.submit_order(order("en1"))
    assert outcome.kind is kind
    assert outcome.retry_after == (3 if kind is OutcomeKind.THROTTLED else None)
    assert gateway.fetch_order(SYMBOL, "en1", conditional=False) is None


def test_an_order_sent_twice_is_taken_once(simulated: Any, gateway: BinanceUsdmGateway) -> None:
    bid = gateway.fetch_prices([SYMBOL])[SYMBOL].bid
    limit = order("en1", order_type=OrderType.LIMIT, price=round(bid * Decimal("0.99"), 2))
    assert gateway.submit_order(limit).kind is OutcomeKind.ACCEPTED
    again = gateway.submit_order(limit)
    assert (again.kind, again.code) == (OutcomeKind.UNKNOWN, "-4116")
    assert len(gateway.fetch_open_orders()) == 1


def test_a_lost_answer_to_a_cancel_is_unknown_and_found(simulated: Any, gateway: BinanceUsdmGateway) -> None:
    bid = gateway.fetch_prices([SYMBOL])[SYMBOL].bid
    gateway.submit_order(order("en1", order_type=OrderType.LIMIT, price=round(bid * Decimal("0.99"), 2)))
    simulated.fault("lost_answer", method="DELETE")
    assert gateway.cancel_order(SYMBOL, "en1", conditional=False).kind is OutcomeKind.UNKNOWN
    looked_up = gateway.fetch_order(SYMBOL, "en1", conditional=False)
    assert looked_up is not None
    assert looked_up.state is OrderState.CANCELLED


def test_a_venue_whose_clock_drifts_is_followed(simulated: Any, gateway: BinanceUsdmGateway) -> None:
    simulated.fault("drift", milliseconds=-60_000)
    outcome = gateway.submit_order(order("en1"))
    assert (outcome.kind, outcome.code) == (OutcomeKind.RETRY_SAFE, "-1021")
    assert gateway.submit_order(order("en1")).kind is OutcomeKind.ACCEPTED
    assert abs(gateway.measure_clock_skew_ms() - 60_000) < 5_000


def test_a_frozen_venue_looks_stale(simulated: Any, gateway: BinanceUsdmGateway) -> None:
    first = gateway.fetch_prices([SYMBOL])[SYMBOL].at
    simulated.pass_seconds(5)
    second = gateway.fetch_prices([SYMBOL])[SYMBOL].at
    assert second > first
    simulated.venue.execute("freeze", frozen=True)
    simulated.pass_seconds(60)
    assert gateway.fetch_prices([SYMBOL])[SYMBOL].at == second


def test_reads_fail_loudly_under_faults(simulated: Any, gateway: BinanceUsdmGateway) -> None:
    for kind, cause in (
        ("empty_body", Cause.VENUE),
        ("lost_answer", Cause.HTTP),
        ("error_before", Cause.HTTP),
    ):
        simulated.fault(kind, method="GET", path="/fapi/v1/openOrders")
        with pytest.raises(VenueUnavailable) as caught:
            gateway.fetch_open_orders()
        assert caught.value.cause is cause


def test_settings_are_read_back_from_the_venue(gateway: BinanceUsdmGateway) -> None:
    found = gateway.fetch_symbol_settings(SYMBOL)
    assert (found.leverage, found.is_isolated, found.is_auto_add_margin) == (3, True, False)
    assert gateway.fetch_symbol_settings("BTCUSDT").is_isolated is False
    mode = gateway.ensure_account_mode()
    assert (mode.is_one_way, mode.is_single_asset) == (True, True)
    gateway.submit_order(order("en1"))
    with pytest.raises(VenueRejected) as caught:
        gateway.ensure_symbol_settings(SYMBOL, 3, isolated=False)
    assert caught.value.venue_code == "-4048"


# Probe -------------------------------------------------------------------------------------------


def probe(gateway: BinanceUsdmGateway) -> Any:
    return probe_gateway(
        gateway,
        venue="binanceusdm",
        account="desk",
        environment="paper",
        symbols=["BTCUSDT", "ETHUSDT"],
        market_at=MARKET_AT,
    )


def test_a_healthy_venue_answers_every_item(simulated: Any, gateway: BinanceUsdmGateway) -> None:
    found = probe(gateway)
    assert found.is_reachable
    assert [item.name for item in found.items] == list(ITEMS)
    assert [item.error for item in found.items] == [""] * len(ITEMS)
    assert found["instruments"].facts["missing"] == ""
    assert Decimal(found["balance"].facts["wallet"]) == 1100
    assert found["permissions"].facts["can_withdraw"] is False
    assert found["position_mode"].facts == {"is_one_way": True, "is_single_asset": True}
    assert found["margin_mode"].facts[SYMBOL] == "isolated 3x"
    assert found["environment"].facts["endpoint"] == simulated.address
    assert found["order_path"].facts["outcome"] == "accepted"
    assert abs(found["skew_ms"].facts["skew_ms"]) < 2000
    assert gateway.fetch_open_orders() == ()
    assert gateway.fetch_positions() == ()


def test_each_item_fails_by_itself_with_its_cause(simulated: Any, gateway: BinanceUsdmGateway) -> None:
    simulated.fault("error_before", method="GET", path="/fapi/v3/account", status=503)
    simulated.fault("rate_limited", method="POST", path="/fapi/v1/order/test")
    simulated.venue.permissions.absent = True
    found = probe(gateway)
    failed = {item.name: item.cause for item in found.items if not item.is_answered}
    assert failed == {"balance": Cause.HTTP, "order_path": Cause.THROTTLED}
    assert found["permissions"].facts == {"state": "not applicable"}


def test_a_wrong_key_is_told_apart_from_an_unreachable_venue(
    simulated: Any, open_gateway_at: Connect
) -> None:
    from trading.venues.keys import ApiKeys

    found = probe(open_gateway_at(simulated.address, keys=ApiKeys(key="another", secret="pair")))
    assert found.is_reachable
    assert found["balance"].cause is Cause.AUTH
    assert found["order_path"].cause is Cause.AUTH
    found = probe(open_gateway_at("http://127.0.0.1:9"))
    assert not found.is_reachable
    assert {item.cause for item in found.items} == {Cause.REFUSED}
    assert {item.depends_on for item in found.items[1:]} == {"reachable"}
