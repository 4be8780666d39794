"""Each call to Binance USD-M: what goes out, and how recorded or documented answers are read.

Recorded answers: exchangeInfo, premiumIndex, ticker_bookTicker, klines, time, account_info_v2,
position_risk (of the second version, here with the third's margin fields), order_response,
open_algo_orders. The other answers have the documented shape.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from trading.core.margin import Bracket
from trading.core.values import (
    Environment,
    OrderRequest,
    OrderState,
    OrderType,
    OutcomeKind,
    Side,
    TimeInForce,
)
from trading.venues.binanceusdm import PAGE, BinanceUsdmGateway
from trading.venues.gateway import Cause, VenueRejected, VenueUnavailable

MARKET_AT = datetime(2025, 8, 7, tzinfo=UTC)
Recorded = Callable[[str], Any]

ORDER = {
    "orderId": 12345678,
    "symbol": "BTCUSDT",
    "status": "NEW",
    "clientOrderId": "en0001",
    "price": "50000.00",
    "avgPrice": "0.00",
    "origQty": "0.001",
    "executedQty": "0.000",
    "reduceOnly": False,
    "closePosition": False,
    "side": "BUY",
    "stopPrice": "0.00",
    "updateTime": 1625474304765,
}
ALGO = {
    "algoId": 2146760,
    "clientAlgoId": "sl0001",
    "algoType": "CONDITIONAL",
    "orderType": "STOP_MARKET",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.000",
    "algoStatus": "NEW",
    "actualOrderId": "",
    "triggerPrice": "45000.00",
    "price": "0.00",
    "closePosition": True,
    "reduceOnly": True,
    "updateTime": 1750485492076,
}
POSITION = {
    "symbol": "ADAUSDT",
    "positionSide": "BOTH",
    "positionAmt": "-30",
    "entryPrice": "0.385",
    "markPrice": "0.41047590",
    "unRealizedProfit": "-0.76427700",
    "liquidationPrice": "0",
    "isolatedMargin": "2.1",
    "initialMargin": "0.61571385",
    "maintMargin": "0.08004280",
    "updateTime": 1720736417660,
}


def order(**changes: Any) -> OrderRequest:
    facts: dict[str, Any] = {
        "venue": "binanceusdm",
        "account": "desk",
        "symbol": "BTCUSDT",
        "client_order_id": "en0001",
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "quantity": Decimal("0.0010000000"),
    }
    return OrderRequest(**(facts | changes))


def test_instruments_carry_the_recorded_filters_and_their_brackets(
    canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded
) -> None:
    canned.put("GET", "/fapi/v1/exchangeInfo", recorded("exchangeInfo"))
    bands = [
        {"initialLeverage": 100, "notionalCap": 600000, "maintMarginRatio": 0.005, "cum": 50.0},
        {"initialLeverage": 125, "notionalCap": 50000, "maintMarginRatio": 0.004, "cum": 0.0},
    ]
    canned.put("GET", "/fapi/v1/leverageBracket", [{"symbol": "BTCUSDT", "brackets": bands}])
    found = {row.symbol: (row, brackets) for row, brackets in gateway.load_instruments(MARKET_AT)}
    bitcoin, brackets = found["BTCUSDT"]
    assert bitcoin.tick_size == Decimal("0.10")
    assert bitcoin.lot_size == bitcoin.min_quantity == Decimal("0.001")
    assert (bitcoin.max_quantity, bitcoin.max_market_quantity) == (1000, 120)
    assert bitcoin.min_notional == 100
    assert (bitcoin.min_price, bitcoin.max_price) == (Decimal("556.80"), 4529764)
    assert bitcoin.is_trading
    assert bitcoin.delists_at == datetime(2100, 12, 25, 8, tzinfo=UTC)
    assert bitcoin.max_conditional_orders == 10
    assert brackets == (
        Bracket(
            notional_cap=Decimal(50000),
            maintenance_ratio=Decimal("0.004"),
            maintenance_amount=Decimal(0),
            max_leverage=125,
        ),
        Bracket(
            notional_cap=Decimal(600000),
            maintenance_ratio=Decimal("0.005"),
            maintenance_amount=Decimal(50),
            max_leverage=100,
        ),
    )
    assert all(row.symbol.endswith("USDT") for row, _ in found.values())
    assert found["ETHUSDT"][1] == ()
    delisted_at = datetime.fromtimestamp(4133404800, UTC)
    late = dict(gateway.load_instruments(delisted_at - timedelta(hours=23)))
    assert not any(row.is_trading for row in late)


def test_prices_come_from_the_recorded_answers_and_are_dated_by_the_older(
    canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded
) -> None:
    book = recorded("ticker_bookTicker")
    canned.put("GET", "/fapi/v1/premiumIndex", [recorded("premiumIndex")])
    canned.put("GET", "/fapi/v1/ticker/bookTicker", book)
    canned.put("GET", "/fapi/v2/ticker/price", [{"symbol": "BTCUSDT", "price": "11495.5", "time": 9}])
    prices = gateway.fetch_prices(["BTCUSDT", "ETHUSDT"])
    assert set(prices) == {"BTCUSDT"}
    bitcoin = prices["BTCUSDT"]
    assert bitcoin.mark == Decimal("26780.82240476")
    assert bitcoin.index == Decimal("26798.25197802")
    assert (bitcoin.bid, bitcoin.ask) == (Decimal("11495.46"), Decimal("11495.47"))
    assert (bitcoin.bid_quantity, bitcoin.ask_quantity) == (Decimal("9.786"), Decimal("2.580"))
    assert bitcoin.funding_rate == Decimal("0.00001226")
    assert bitcoin.funding_at == datetime(2023, 6, 20, 8, tzinfo=UTC)
    assert bitcoin.reference is None
    assert bitcoin.last == Decimal("11495.5")
    assert bitcoin.at == datetime.fromtimestamp(book[0]["time"] / 1000, UTC).replace(microsecond=978000)


def test_one_symbol_is_asked_for_alone(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put(
        "GET",
        "/fapi/v1/premiumIndex",
        {"symbol": "BTCUSDT", "markPrice": "2", "indexPrice": "3", "time": 1687244112000},
    )
    canned.put(
        "GET",
        "/fapi/v1/ticker/bookTicker",
        {"symbol": "BTCUSDT", "bidPrice": "4", "askPrice": "5", "time": 1687244112001},
    )
    canned.put("GET", "/fapi/v2/ticker/price", {"symbol": "BTCUSDT", "price": "6", "time": 1})
    assert gateway.fetch_prices(["BTCUSDT"])["BTCUSDT"].at.year == 2023
    assert all(asked.params == {"symbol": "BTCUSDT"} for asked in canned.asked)


def test_an_instrument_without_a_conditional_limit_has_an_unknown_one(
    canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded
) -> None:
    answer = recorded("exchangeInfo")
    for row in answer["symbols"]:
        row["filters"] = [rule for rule in row["filters"] if rule["filterType"] != "MAX_NUM_ALGO_ORDERS"]
    canned.put("GET", "/fapi/v1/exchangeInfo", answer)
    canned.put("GET", "/fapi/v1/leverageBracket", [])
    found = gateway.load_instruments(MARKET_AT)
    assert found
    assert {row.max_conditional_orders for row, _ in found} == {None}


@pytest.mark.parametrize(
    ("stated", "rate", "at"),
    [
        ({"lastFundingRate": "0.00000000", "nextFundingTime": 1687248000000}, Decimal(0), 1687248000),
        ({"lastFundingRate": "-0.0001", "nextFundingTime": 1687248000000}, Decimal("-0.0001"), 1687248000),
        ({"lastFundingRate": "", "nextFundingTime": 0}, None, None),
        ({}, None, None),
    ],
)
def test_funding_is_what_the_venue_states_and_zero_is_a_rate(
    canned: Any, gateway: BinanceUsdmGateway, stated: dict[str, Any], rate: Decimal | None, at: int | None
) -> None:
    time = {"time": 1687244112000}
    index = {"symbol": "BTCUSDT", "markPrice": "2", "indexPrice": "3"} | time | stated
    canned.put("GET", "/fapi/v1/premiumIndex", index)
    book = {"symbol": "BTCUSDT", "bidPrice": "4", "askPrice": "5", "bidQty": "1.5"} | time
    canned.put("GET", "/fapi/v1/ticker/bookTicker", book)
    canned.put("GET", "/fapi/v2/ticker/price", {"symbol": "BTCUSDT", "price": "6"} | time)
    prices = gateway.fetch_prices(["BTCUSDT"])["BTCUSDT"]
    assert prices.funding_rate == rate
    assert prices.funding_at == (None if at is None else datetime.fromtimestamp(at, UTC))
    assert (prices.bid_quantity, prices.ask_quantity) == (Decimal("1.5"), None)
    assert len(canned.asked) == 3


@pytest.mark.parametrize("empty", ["bidPrice", "askPrice"])
def test_a_price_of_nothing_is_no_price(canned: Any, gateway: BinanceUsdmGateway, empty: str) -> None:
    at = {"time": 1687244112000}
    book = {"symbol": "BTCUSDT", "bidPrice": "4", "askPrice": "5"} | at
    canned.put(
        "GET", "/fapi/v1/premiumIndex", {"symbol": "BTCUSDT", "markPrice": "2", "indexPrice": "3"} | at
    )
    canned.put("GET", "/fapi/v1/ticker/bookTicker", book | {empty: "0.00"})
    canned.put("GET", "/fapi/v2/ticker/price", {"symbol": "BTCUSDT", "price": "6"} | at)
    assert gateway.fetch_prices(["BTCUSDT"]) == {}


def test_candles_are_read_in_order(canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded) -> None:
    canned.put("GET", "/fapi/v1/klines", recorded("klines"))
    bars = gateway.fetch_bars("LTCUSDT", "5m", 100)
    assert bars[0].open_at == datetime(2020, 10, 14, 10, 5, tzinfo=UTC)
    assert (bars[0].open, bars[0].high) == (Decimal("50.49"), Decimal("50.52"))
    assert (bars[0].low, bars[0].close) == (Decimal("50.31"), Decimal("50.33"))
    assert bars[0].volume == Decimal("3811.648")
    assert [bar.open_at for bar in bars] == sorted(bar.open_at for bar in bars)
    assert canned.last("/fapi/v1/klines").params == {"symbol": "LTCUSDT", "interval": "5m", "limit": "100"}
    gateway.fetch_bars("LTCUSDT", "5m", 1500, since=bars[0].open_at)
    since = canned.last("/fapi/v1/klines").params
    assert (since["startTime"], since["limit"]) == ("1602669900000", "1500")


def test_the_venue_clock_is_read(canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded) -> None:
    canned.put("GET", "/fapi/v1/time", recorded("time"))
    assert gateway.fetch_server_time() == datetime(2021, 5, 4, 3, 37, 57, 465000, tzinfo=UTC)
    assert gateway.measure_clock_skew_ms() > 0


def test_the_balance_is_the_stated_one(canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded) -> None:
    canned.put("GET", "/fapi/v3/account", recorded("account_info_v2"))
    balance = gateway.fetch_balance()
    assert balance.wallet == balance.equity == balance.available == Decimal("23.72469206")
    assert (balance.initial_margin, balance.maintenance_margin) == (0, 0)
    asked = canned.last("/fapi/v3/account")
    assert asked.key == "key-of-the-tests"
    assert asked.params["recvWindow"] == "5000"
    assert len(asked.params["signature"]) == 64


@pytest.mark.parametrize(
    "answer",
    [
        {"assets": []},
        {"assets": [{"asset": "BNB", "walletBalance": "1"}]},
        {},
        [],
        b"<html>",
        b"",
        {"assets": [{"asset": "USDT", "walletBalance": "NaN"}]},
        {"assets": [{"asset": "USDT", "walletBalance": "1"}]},
    ],
)
def test_a_balance_that_is_not_stated_is_unknown_and_never_zero(
    canned: Any, gateway: BinanceUsdmGateway, answer: Any
) -> None:
    canned.put("GET", "/fapi/v3/account", answer)
    with pytest.raises(VenueUnavailable):
        gateway.fetch_balance()


def test_positions_are_signed_and_flat_ones_are_left_out(
    canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded
) -> None:
    third_version = {"initialMargin": "2.55", "maintMargin": "0.2"}
    recorded_row = recorded("position_risk")[0] | third_version
    flat = POSITION | {"symbol": "BNBUSDT", "positionAmt": "0.00"}
    canned.put("GET", "/fapi/v3/positionRisk", [recorded_row, POSITION, flat])
    first, second = gateway.fetch_positions()
    assert (first.symbol, first.quantity, first.entry_price) == ("BTCUSDT", Decimal("0.001"), 50000)
    assert (first.mark_price, first.liquidation_price) == (51000, 45000)
    assert first.margin_mode == "cross"
    assert (second.quantity, second.margin_mode, second.liquidation_price) == (-30, "isolated", None)
    assert second.unrealised_pnl == Decimal("-0.76427700")
    assert [asked.path for asked in canned.asked] == ["/fapi/v3/positionRisk"]


def test_hedged_positions_are_not_read_as_one(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("GET", "/fapi/v3/positionRisk", [POSITION | {"positionSide": "SHORT"}])
    with pytest.raises(VenueUnavailable, match="hedge mode"):
        gateway.fetch_positions()


def test_open_orders_are_regular_and_conditional(
    canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded
) -> None:
    canned.put("GET", "/fapi/v1/openOrders", [recorded("order_response")])
    canned.put("GET", "/fapi/v1/openAlgoOrders", recorded("open_algo_orders"))
    regular, conditional = gateway.fetch_open_orders()
    assert (regular.client_order_id, regular.venue_order_id) == ("testOrder123", "12345678")
    assert regular.state is OrderState.OPEN
    assert (regular.quantity, regular.price, regular.average_price) == (Decimal("0.001"), 50000, None)
    assert not regular.is_conditional
    assert conditional.is_conditional
    assert (conditional.client_order_id, conditional.venue_order_id) == ("test-algo-order-1", "123456789")
    assert (conditional.trigger_price, conditional.side) == (45000, Side.BUY)
    assert conditional.executed_by is None
    paths = [asked.path for asked in canned.asked]
    assert paths == ["/fapi/v1/openAlgoOrders", "/fapi/v1/openOrders"]
    assert not any("symbol" in asked.params for asked in canned.asked)
    gateway.fetch_open_orders("BTCUSDT")
    assert {asked.params["symbol"] for asked in canned.asked[2:]} == {"BTCUSDT"}


@pytest.mark.parametrize("answer", [{}, {"code": 200, "msg": "success"}, b"", b"<html>", [{}], [ORDER, {}]])
def test_a_malformed_list_of_orders_is_not_an_empty_one(
    canned: Any, gateway: BinanceUsdmGateway, answer: Any
) -> None:
    canned.put("GET", "/fapi/v1/openAlgoOrders", [])
    canned.put("GET", "/fapi/v1/openOrders", answer)
    with pytest.raises(VenueUnavailable):
        gateway.fetch_open_orders()


# What goes out -----------------------------------------------------------------------------------

WIRE = ("timestamp", "signature")


@pytest.mark.parametrize(
    ("request_", "path", "sent"),
    [
        (
            order(),
            "/fapi/v1/order",
            {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "MARKET",
                "quantity": "0.001",
                "newClientOrderId": "en0001",
                "newOrderRespType": "RESULT",
                "recvWindow": "2000",
            },
        ),
        (
            order(
                order_type=OrderType.LIMIT,
                price=Decimal("50000.0000"),
                time_in_force=TimeInForce.POST_ONLY,
                quantity=Decimal("1E+2"),
            ),
            "/fapi/v1/order",
            {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "LIMIT",
                "quantity": "100",
                "price": "50000",
                "timeInForce": "GTX",
                "newClientOrderId": "en0001",
                "newOrderRespType": "RESULT",
                "recvWindow": "2000",
            },
        ),
        (
            order(side=Side.SELL, reduce_only=True, client_order_id="ex0001"),
            "/fapi/v1/order",
            {
                "symbol": "BTCUSDT",
                "side": "SELL",
                "type": "MARKET",
                "quantity": "0.001",
                "newClientOrderId": "ex0001",
                "newOrderRespType": "RESULT",
                "reduceOnly": "true",
                "recvWindow": "5000",
            },
        ),
        (
            order(
                side=Side.SELL,
                order_type=OrderType.STOP_MARKET,
                trigger_price=Decimal("45000.10"),
                quantity=None,
                close_position=True,
                client_order_id="sl0001",
            ),
            "/fapi/v1/algoOrder",
            {
                "algoType": "CONDITIONAL",
                "symbol": "BTCUSDT",
                "side": "SELL",
                "type": "STOP_MARKET",
                "triggerPrice": "45000.1",
                "workingType": "MARK_PRICE",
                "priceProtect": "false",
                "closePosition": "true",
                "clientAlgoId": "sl0001",
                "recvWindow": "5000",
            },
        ),
        (
            order(
                side=Side.SELL,
                order_type=OrderType.TAKE_PROFIT_MARKET,
                trigger_price=Decimal(60000),
                reduce_only=True,
                client_order_id="tp0001",
            ),
            "/fapi/v1/algoOrder",
            {
                "algoType": "CONDITIONAL",
                "symbol": "BTCUSDT",
                "side": "SELL",
                "type": "TAKE_PROFIT_MARKET",
                "triggerPrice": "60000",
                "workingType": "MARK_PRICE",
                "priceProtect": "false",
                "quantity": "0.001",
                "reduceOnly": "true",
                "clientAlgoId": "tp0001",
                "recvWindow": "5000",
            },
        ),
    ],
)
def test_orders_go_out_in_the_venues_words(
    canned: Any, gateway: BinanceUsdmGateway, request_: OrderRequest, path: str, sent: dict[str, str]
) -> None:
    canned.put("POST", "/fapi/v1/order", ORDER | {"clientOrderId": request_.client_order_id})
    canned.put("POST", "/fapi/v1/algoOrder", ALGO | {"clientAlgoId": request_.client_order_id})
    outcome = gateway.submit_order(request_)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.report is not None
    assert outcome.report.client_order_id == request_.client_order_id
    params = canned.last(path).params
    assert {name: value for name, value in params.items() if name not in WIRE} == sent


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": None},
        {"close_position": True},
        {"order_type": OrderType.LIMIT},
        {"order_type": OrderType.STOP_MARKET},
        {"order_type": OrderType.STOP_MARKET, "trigger_price": Decimal(1), "close_position": True},
        {"order_type": OrderType.STOP_MARKET, "trigger_price": Decimal(1), "quantity": None},
    ],
)
def test_a_request_that_no_order_can_be_is_not_sent(
    canned: Any, gateway: BinanceUsdmGateway, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="order"):
        gateway.submit_order(order(**changes))
    assert canned.asked == []


# What orders are read as -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW", OrderState.OPEN),
        ("PARTIALLY_FILLED", OrderState.OPEN),
        ("FILLED", OrderState.FILLED),
        ("CANCELED", OrderState.CANCELLED),
        ("EXPIRED", OrderState.EXPIRED),
        ("EXPIRED_IN_MATCH", OrderState.EXPIRED),
        ("REJECTED", OrderState.REJECTED),
        ("NEWLY_INVENTED", OrderState.UNKNOWN),
    ],
)
def test_a_looked_up_order_has_the_venues_state(
    canned: Any, gateway: BinanceUsdmGateway, status: str, state: OrderState
) -> None:
    answer = ORDER | {"status": status, "executedQty": "0.001", "avgPrice": "49999.9"}
    canned.put("GET", "/fapi/v1/order", answer)
    report = gateway.fetch_order("BTCUSDT", "en0001", conditional=False)
    assert report is not None
    assert report.state is state
    assert (report.filled_quantity, report.average_price) == (Decimal("0.001"), Decimal("49999.9"))
    assert canned.last("/fapi/v1/order").params["origClientOrderId"] == "en0001"


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("code", [-2013, -2011])
def test_an_order_the_venue_does_not_know_is_none(
    canned: Any, gateway: BinanceUsdmGateway, code: int, conditional: bool
) -> None:
    for path in ("/fapi/v1/order", "/fapi/v1/algoOrder"):
        canned.put("GET", path, {"code": code, "msg": "Order does not exist."}, status=400)
    assert gateway.fetch_order("BTCUSDT", "en0001", conditional) is None


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (503, b"", Cause.HTTP),
        (200, b"{}", Cause.VENUE),
        (404, b"<html>", Cause.HTTP),
        (429, b"", Cause.THROTTLED),
    ],
)
def test_a_look_up_that_cannot_say_is_not_none(
    canned: Any, gateway: BinanceUsdmGateway, status: int, body: bytes, cause: Cause
) -> None:
    canned.put("GET", "/fapi/v1/order", body, status=status)
    with pytest.raises(VenueUnavailable) as caught:
        gateway.fetch_order("BTCUSDT", "en0001", conditional=False)
    assert caught.value.cause is cause


@pytest.mark.parametrize(
    ("algo_status", "became", "state", "filled"),
    [
        ("TRIGGERED", ORDER | {"status": "NEW"}, OrderState.OPEN, "0"),
        ("TRIGGERED", ORDER | {"status": "FILLED", "executedQty": "0.001"}, OrderState.FILLED, "0.001"),
        ("FINISHED", ORDER | {"status": "FILLED", "executedQty": "0.001"}, OrderState.FILLED, "0.001"),
        ("FINISHED", ORDER | {"status": "EXPIRED", "executedQty": "0.0005"}, OrderState.EXPIRED, "0.0005"),
        ("FINISHED", None, OrderState.UNKNOWN, "0"),
    ],
)
def test_a_triggered_stop_is_what_became_of_its_order(
    canned: Any,
    gateway: BinanceUsdmGateway,
    algo_status: str,
    became: dict[str, Any] | None,
    state: OrderState,
    filled: str,
) -> None:
    canned.put("GET", "/fapi/v1/algoOrder", ALGO | {"algoStatus": algo_status, "actualOrderId": "777"})
    if became is None:
        canned.put("GET", "/fapi/v1/order", {"code": -2013, "msg": "Order does not exist."}, status=400)
    else:
        canned.put("GET", "/fapi/v1/order", became)
    report = gateway.fetch_order("BTCUSDT", "sl0001", conditional=True)
    assert report is not None
    assert (report.state, report.executed_by) == (state, "777")
    assert report.filled_quantity == Decimal(filled)
    assert report.is_conditional
    assert report.close_position
    assert report.quantity is None
    assert canned.last("/fapi/v1/order").params["orderId"] == "777"


@pytest.mark.parametrize(
    ("algo_status", "state"),
    [
        ("NEW", OrderState.OPEN),
        ("TRIGGERING", OrderState.OPEN),
        ("TRIGGERED", OrderState.OPEN),
        ("CANCELED", OrderState.CANCELLED),
        ("EXPIRED", OrderState.EXPIRED),
        ("REJECTED", OrderState.REJECTED),
        ("FINISHED", OrderState.UNKNOWN),
    ],
)
def test_a_conditional_without_an_order_is_what_it_says(
    canned: Any, gateway: BinanceUsdmGateway, algo_status: str, state: OrderState
) -> None:
    canned.put("GET", "/fapi/v1/algoOrder", ALGO | {"algoStatus": algo_status})
    report = gateway.fetch_order("BTCUSDT", "sl0001", conditional=True)
    assert report is not None
    assert report.state is state


# Cancels, fills, income --------------------------------------------------------------------------


def test_a_cancelled_order_is_reported(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("DELETE", "/fapi/v1/order", ORDER | {"status": "CANCELED"})
    outcome = gateway.cancel_order("BTCUSDT", "en0001", conditional=False)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.report is not None
    assert outcome.report.state is OrderState.CANCELLED
    assert canned.last("/fapi/v1/order").params["origClientOrderId"] == "en0001"


@pytest.mark.parametrize(
    ("read_back", "status", "kind"),
    [
        (ALGO | {"algoStatus": "CANCELED"}, 200, OutcomeKind.ACCEPTED),
        (ALGO, 200, OutcomeKind.UNKNOWN),
        ({"code": -2013, "msg": "Order does not exist."}, 400, OutcomeKind.UNKNOWN),
        ({"code": -1000, "msg": "Unknown error"}, 503, OutcomeKind.UNKNOWN),
    ],
)
def test_a_cancelled_conditional_is_read_back(
    canned: Any, gateway: BinanceUsdmGateway, read_back: Any, status: int, kind: OutcomeKind
) -> None:
    done = {"algoId": 2146760, "clientAlgoId": "sl0001", "code": "200", "msg": "success"}
    canned.put("DELETE", "/fapi/v1/algoOrder", done)
    canned.put("GET", "/fapi/v1/algoOrder", read_back, status=status)
    assert gateway.cancel_order("BTCUSDT", "sl0001", conditional=True).kind is kind


def fill(number: int) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "orderId": 25851813,
        "side": "SELL",
        "price": "7819.01",
        "qty": "0.002",
        "realizedPnl": "-0.91539999",
        "commission": "0.07819010",
        "commissionAsset": "USDT",
        "maker": False,
        "time": 1569514978020,
    }


def test_fills_are_read_to_the_last_page(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("GET", "/fapi/v1/userTrades", [fill(number) for number in range(1, PAGE + 1)])
    canned.put("GET", "/fapi/v1/userTrades", [fill(PAGE + 1)])
    fills = gateway.fetch_fills("BTCUSDT", since=datetime(2019, 9, 26, tzinfo=UTC))
    assert [int(row.venue_fill_id) for row in fills] == list(range(1, PAGE + 2))
    first, second = canned.asked
    assert (first.params["startTime"], first.params["limit"]) == ("1569456000000", "1000")
    assert second.params["fromId"] == str(PAGE + 1)
    assert "startTime" not in second.params
    row = fills[0]
    assert (row.side, row.quantity, row.price) == (Side.SELL, Decimal("0.002"), Decimal("7819.01"))
    assert (row.fee, row.fee_asset, row.is_maker) == (Decimal("0.07819010"), "USDT", False)
    assert (row.realised_pnl, row.venue_order_id) == (Decimal("-0.91539999"), "25851813")
    assert row.at == datetime(2019, 9, 26, 16, 22, 58, 20000, tzinfo=UTC)


def test_fills_can_be_read_from_an_id(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("GET", "/fapi/v1/userTrades", [])
    assert gateway.fetch_fills("BTCUSDT", from_id="42") == ()
    assert canned.asked[0].params["fromId"] == "42"


def income(number: int, at_ms: int) -> dict[str, Any]:
    return {
        "symbol": "",
        "incomeType": "TRANSFER",
        "income": "-0.37500000",
        "asset": "USDT",
        "info": "",
        "time": at_ms,
        "tranId": number,
        "tradeId": "",
    }


def test_income_pages_meet_in_a_millisecond_without_losing_or_doubling(
    canned: Any, gateway: BinanceUsdmGateway
) -> None:
    start = 1_570_608_000_000
    page = [income(number, start + number // 2) for number in range(PAGE)]
    shared_ms = start + (PAGE - 1) // 2
    canned.put("GET", "/fapi/v1/income", page)
    canned.put("GET", "/fapi/v1/income", [page[-2], page[-1], income(PAGE, shared_ms)])
    rows = gateway.fetch_income(since=datetime.fromtimestamp(start / 1000, UTC))
    assert sorted(int(row.venue_income_id) for row in rows) == list(range(PAGE + 1))
    assert (rows[0].kind, rows[0].symbol, rows[0].amount) == ("TRANSFER", "", Decimal("-0.375"))
    assert canned.asked[1].params["startTime"] == str(shared_ms)


# Settings ----------------------------------------------------------------------------------------


def config(leverage: int, mode: str) -> list[dict[str, Any]]:
    return [
        {
            "symbol": "BTCUSDT",
            "marginType": mode,
            "isAutoAddMargin": False,
            "leverage": leverage,
            "maxNotionalValue": "1000000",
        }
    ]


def test_settings_that_are_right_are_left_alone(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("GET", "/fapi/v1/symbolConfig", config(3, "ISOLATED"))
    found = gateway.ensure_symbol_settings("BTCUSDT", 3, isolated=True)
    assert (found.leverage, found.is_isolated, found.is_auto_add_margin) == (3, True, False)
    assert [asked.method for asked in canned.asked] == ["GET"]


@pytest.mark.parametrize(
    "margin_answer", [(200, 200, "success"), (400, -4046, "No need to change margin type.")]
)
def test_settings_are_set_and_read_back(
    canned: Any, gateway: BinanceUsdmGateway, margin_answer: tuple[int, int, str]
) -> None:
    status, code, text = margin_answer
    canned.put("GET", "/fapi/v1/symbolConfig", config(20, "CROSSED"))
    canned.put("GET", "/fapi/v1/symbolConfig", config(3, "ISOLATED"))
    canned.put("POST", "/fapi/v1/marginType", {"code": code, "msg": text}, status=status)
    canned.put("POST", "/fapi/v1/leverage", {"leverage": 3, "symbol": "BTCUSDT"})
    found = gateway.ensure_symbol_settings("BTCUSDT", 3, isolated=True)
    assert (found.leverage, found.is_isolated) == (3, True)
    assert canned.last("/fapi/v1/marginType").params["marginType"] == "ISOLATED"
    assert canned.last("/fapi/v1/leverage").params["leverage"] == "3"


def test_only_the_refusal_to_change_nothing_is_swallowed(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("GET", "/fapi/v1/symbolConfig", config(20, "CROSSED"))
    canned.put("POST", "/fapi/v1/marginType", {"code": -4048, "msg": "there exists position"}, status=400)
    with pytest.raises(VenueRejected) as caught:
        gateway.ensure_symbol_settings("BTCUSDT", 3, isolated=True)
    assert caught.value.venue_code == "-4048"


def test_the_account_is_switched_to_one_way_and_single_asset(
    canned: Any, gateway: BinanceUsdmGateway
) -> None:
    canned.put("GET", "/fapi/v1/positionSide/dual", {"dualSidePosition": True})
    canned.put("GET", "/fapi/v1/positionSide/dual", {"dualSidePosition": False})
    canned.put("GET", "/fapi/v1/multiAssetsMargin", {"multiAssetsMargin": True})
    canned.put("GET", "/fapi/v1/multiAssetsMargin", {"multiAssetsMargin": False})
    canned.put(
        "POST",
        "/fapi/v1/positionSide/dual",
        {"code": -4059, "msg": "No need to change position side."},
        status=400,
    )
    canned.put("POST", "/fapi/v1/multiAssetsMargin", {"code": 200, "msg": "success"})
    mode = gateway.ensure_account_mode()
    assert (mode.is_one_way, mode.is_single_asset) == (True, True)
    assert canned.last("/fapi/v1/positionSide/dual").method == "GET"
    posted = [asked for asked in canned.asked if asked.method == "POST"]
    assert posted[0].params["dualSidePosition"] == posted[1].params["multiAssetsMargin"] == "false"


RESTRICTIONS = {
    "ipRestrict": True,
    "createTime": 1698645219000,
    "enableReading": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "enableMargin": False,
    "enableFutures": True,
    "permitsUniversalTransfer": True,
    "enableVanillaOptions": False,
}


def test_permissions_come_from_the_restrictions_endpoint(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("GET", "/sapi/v1/account/apiRestrictions", RESTRICTIONS)
    allowed = gateway.fetch_permissions()
    assert allowed is not None
    assert (allowed.can_trade_futures, allowed.is_bound_to_address) == (True, True)
    assert (allowed.can_withdraw, allowed.can_transfer) == (False, True)


def test_permissions_are_not_applicable_where_there_is_no_such_endpoint(
    canned: Any, open_gateway_at: Callable[..., BinanceUsdmGateway]
) -> None:
    assert open_gateway_at(canned.address).fetch_permissions() is None
    assert open_gateway_at(canned.address, environment=Environment.DEMO).fetch_permissions() is None
    with pytest.raises(VenueUnavailable):
        open_gateway_at(canned.address, environment=Environment.LIVE).fetch_permissions()


def test_an_order_can_be_checked_without_being_placed(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("POST", "/fapi/v1/order/test", {})
    assert gateway.test_order(order()).kind is OutcomeKind.ACCEPTED
    with pytest.raises(ValueError, match="ordinary"):
        gateway.test_order(order(order_type=OrderType.STOP_MARKET, trigger_price=Decimal(1)))


def test_demo_talks_to_the_demo_hosts(
    canned: Any, open_gateway_at: Callable[..., BinanceUsdmGateway]
) -> None:
    canned.put("GET", "/fapi/v1/time", {"serverTime": 1620099477465})
    gateway = open_gateway_at(canned.address, environment=Environment.DEMO)
    gateway.fetch_server_time()
    assert gateway._client._exchange.urls["api"]["fapiPrivate"].startswith("https://demo-fapi.binance.com")
    canned.put("POST", "/fapi/v1/order", {"code": -2019, "msg": "Margin is insufficient."}, status=400)
    assert "InsufficientFunds" in gateway.submit_order(order()).text


def test_a_read_refused_for_its_time_stamp_is_repeated_once(
    canned: Any, gateway: BinanceUsdmGateway, recorded: Recorded
) -> None:
    canned.put("GET", "/fapi/v3/account", {"code": -1021, "msg": "outside of the recvWindow"}, status=400)
    canned.put("GET", "/fapi/v3/account", recorded("account_info_v2"))
    canned.put("GET", "/fapi/v1/time", {"serverTime": 1620099477465})
    assert gateway.fetch_balance().wallet == Decimal("23.72469206")
    canned.answers[("GET", "/fapi/v3/account")].clear()
    canned.put("GET", "/fapi/v3/account", {"code": -1021, "msg": "outside of the recvWindow"}, status=400)
    with pytest.raises(VenueRejected) as caught:
        gateway.fetch_balance()
    assert caught.value.cause is Cause.CLOCK


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [(401, -2015, Cause.AUTH), (400, -1121, Cause.VENUE), (400, -4192, Cause.VENUE)],
)
def test_a_refused_read_names_code_and_cause(
    canned: Any, gateway: BinanceUsdmGateway, status: int, code: int, cause: Cause
) -> None:
    canned.put("GET", "/fapi/v3/positionRisk", {"code": code, "msg": "no"}, status=status)
    with pytest.raises(VenueRejected) as caught:
        gateway.fetch_positions()
    assert (caught.value.venue_code, caught.value.cause) == (str(code), cause)
