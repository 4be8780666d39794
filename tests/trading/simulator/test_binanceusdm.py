"""The dialect as a real ccxt client meets it: one test for each call that the gateway may make."""

from typing import Any

import ccxt
import pytest

from tests.trading.simulator.builders import MINUTE, T0
from tests.trading.simulator.conftest import Desk

ETH = "ETH/USDT:USDT"
NOW = T0 + 50 * MINUTE


def buy(desk: Desk, amount: float = 0.1, **params: Any) -> Any:
    return desk.client.create_order(ETH, "market", "buy", amount, None, params)


def stop(desk: Desk, **params: Any) -> Any:
    closing = {"stopLossPrice": 2400, "closePosition": True, "workingType": "MARK_PRICE"}
    return desk.client.create_order(ETH, "market", "sell", None, None, {**closing, **params})


def test_load_markets_reads_instruments_with_their_filters(desk: Desk):
    market = desk.client.load_markets()["BTC/USDT:USDT"]
    assert market["active"]
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
    assert market["limits"]["cost"]["min"] == 100
    assert market["limits"]["market"]["max"] == 120
    assert "STOP_MARKET" in market["info"]["orderTypes"]


def test_server_time_is_wall_time_and_prices_carry_market_time(desk: Desk):
    assert desk.client.fetch_time() == desk.clock.wall
    assert desk.client.fetch_status()["status"] == "ok"
    assert desk.client.fetch_ticker(ETH)["timestamp"] == NOW


def test_a_fresh_balance_is_there_because_its_update_time_is_not_zero(desk: Desk):
    balance = desk.client.fetch_balance()
    assert balance["USDT"] == {"free": 1000.0, "used": 0.0, "total": 1000.0}
    buy(desk)
    after = desk.client.fetch_balance()["USDT"]
    assert after["free"] < after["total"] < 1000


def test_tickers_prices_and_book(desk: Desk):
    assert desk.client.fetch_ticker(ETH)["last"] == 2500
    assert desk.client.fetch_bids_asks([ETH])[ETH]["bid"] == 2500
    assert desk.client.fetch_bids_asks([ETH])[ETH]["ask"] == 2500.01
    last = desk.client.fetch_last_prices([ETH])[ETH]
    assert (last["price"], last["timestamp"]) == (2500, NOW)
    book = desk.client.fetch_order_book(ETH, 5)
    assert (len(book["bids"]), len(book["asks"])) == (5, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(desk.client.fetch_tickers()) == 2


def test_candles_end_with_the_one_that_is_forming(desk: Desk):
    candles = desk.client.fetch_ohlcv(ETH, "1m", limit=3)
    assert [row[0] for row in candles] == [NOW - 2 * MINUTE, NOW - MINUTE, NOW]
    assert candles[0][5] == 600
    assert candles[-1][5] == 50, "one of twelve steps"
    since = desk.client.fetch_ohlcv(ETH, "5m", since=T0, limit=2)
    assert [row[0] for row in since] == [T0, T0 + 5 * MINUTE]
    assert desk.client.fetch_ohlcv(ETH, "1h", limit=5)[0][0] == T0


def test_mark_price_and_funding(desk: Desk):
    funding = desk.client.fetch_funding_rate(ETH)
    assert (funding["markPrice"], funding["indexPrice"]) == (2500, 2500)
    assert funding["fundingTimestamp"] == T0 + 8 * 60 * MINUTE
    buy(desk)
    desk.clock.pass_ms(8 * 60 * MINUTE)
    assert desk.client.fetch_funding_rate_history(ETH)[0]["fundingRate"] is not None
    paid = desk.client.fetch_funding_history(ETH)
    assert len(paid) == 1
    assert paid[0]["amount"] < 0


def test_a_market_order_answers_with_its_fill(desk: Desk):
    order = buy(desk, newClientOrderId="entry1")
    assert (order["status"], order["filled"], order["average"]) == ("closed", 0.1, 2500.01)
    assert order["clientOrderId"] == "entry1"
    assert order["info"]["updateTime"] == NOW
    trade = desk.client.fetch_my_trades(ETH)[0]
    assert (trade["order"], trade["fee"]["currency"]) == (order["id"], "USDT")
    assert trade["fee"]["cost"] == pytest.approx(250.001 * 0.0005)


def test_an_acknowledgement_knows_no_fill(desk: Desk):
    plain = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
    answer = desk.client.fapiPrivatePostOrder(plain)
    assert (answer["status"], answer["executedQty"], answer["avgPrice"]) == ("NEW", "0.000", "0.00000000")
    assert desk.client.fetch_order(answer["orderId"], ETH)["status"] == "closed"


@pytest.mark.parametrize(
    ("tif", "price", "status"),
    [("GTC", 2400, "open"), ("IOC", 2400, "expired"), ("FOK", 2500.01, "closed"), ("GTX", 2400, "open")],
)
def test_limit_orders_by_time_in_force(desk: Desk, tif: str, price: float, status: str):
    order = desk.client.create_order(ETH, "limit", "buy", 0.1, price, {"timeInForce": tif})
    assert order["status"] == status


def test_an_order_is_looked_up_by_id_and_by_client_id(desk: Desk):
    order = buy(desk, newClientOrderId="entry1")
    assert desk.client.fetch_order(order["id"], ETH)["clientOrderId"] == "entry1"
    assert desk.client.fetch_order(None, ETH, {"clientOrderId": "entry1"})["id"] == order["id"]
    with pytest.raises(ccxt.OrderNotFound):
        desk.client.fetch_order(None, ETH, {"clientOrderId": "never"})


def test_resting_orders_are_listed_amended_and_cancelled(desk: Desk):
    order = desk.client.create_order(ETH, "limit", "buy", 0.1, 2400)
    assert [row["id"] for row in desk.client.fetch_open_orders(ETH)] == [order["id"]]
    amended = desk.client.edit_order(order["id"], ETH, "limit", "buy", 0.05, 2450)
    assert (amended["id"], amended["amount"], amended["price"]) == (order["id"], 0.05, 2450)
    assert desk.client.cancel_order(order["id"], ETH)["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        desk.client.cancel_order(order["id"], ETH)
    desk.client.create_order(ETH, "limit", "buy", 0.1, 2400)
    desk.client.cancel_all_orders(ETH)
    assert desk.client.fetch_open_orders(ETH) == []
    assert [row["status"] for row in desk.client.fetch_orders(ETH)] == ["canceled", "canceled"]


def test_all_open_orders_without_a_symbol(desk: Desk):
    desk.client.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
    desk.client.create_order(ETH, "limit", "buy", 0.1, 2400)
    assert len(desk.client.fetch_open_orders()) == 1


def test_conditional_orders_live_on_their_own_endpoints(desk: Desk):
    buy(desk)
    placed = stop(desk, clientAlgoId="stop1")
    target = desk.client.create_order(
        ETH,
        "market",
        "sell",
        0.1,
        None,
        {"takeProfitPrice": 2550, "reduceOnly": True, "workingType": "MARK_PRICE"},
    )
    assert desk.client.fetch_open_orders(ETH) == []
    waiting = desk.client.fetch_open_orders(ETH, params={"trigger": True})
    assert {row["id"] for row in waiting} == {placed["id"], target["id"]}
    assert waiting[0]["triggerPrice"] == 2400
    found = desk.client.fetch_order(None, ETH, {"clientAlgoId": "stop1", "trigger": True})
    assert (found["id"], found["status"]) == (placed["id"], "open")
    desk.client.cancel_order(placed["id"], ETH, {"trigger": True})
    desk.client.cancel_all_orders(ETH, {"trigger": True})
    assert desk.client.fetch_open_orders(ETH, params={"trigger": True}) == []
    assert {row["status"] for row in desk.client.fetch_orders(ETH, params={"trigger": True})} == {"canceled"}


def test_a_triggered_stop_reads_closed_with_its_fill_under_another_order(desk: Desk):
    buy(desk)
    target = desk.client.create_order(
        ETH, "market", "sell", None, None, {"takeProfitPrice": 2550, "closePosition": True}
    )
    desk.clock.pass_ms(14 * MINUTE)
    read = desk.client.fetch_order(target["id"], ETH, {"trigger": True})
    assert (read["status"], read["filled"]) == ("closed", 0.0)
    assert read["info"]["algoStatus"] == "FINISHED"
    actual = desk.client.fetch_order(read["info"]["actualOrderId"], ETH)
    assert (actual["status"], actual["filled"], actual["type"]) == ("closed", 0.1, "market")
    assert desk.client.fetch_positions([ETH]) == []


def test_positions_carry_entry_mark_margin_and_liquidation_price(desk: Desk):
    assert desk.client.fetch_positions([ETH]) == []
    buy(desk)
    position = desk.client.fetch_positions([ETH])[0]
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.1, 2500.01)
    assert (position["marginMode"], position["markPrice"]) == ("isolated", 2500)
    assert 1250 < position["liquidationPrice"] < 1260
    assert position["info"]["updateTime"] == NOW


def test_leverage_and_margin_mode_are_set_and_read_back(desk: Desk):
    desk.client.set_leverage(3, ETH)
    with pytest.raises(ccxt.MarginModeAlreadySet):
        desk.client.set_margin_mode("isolated", ETH)
    read = desk.client.fetch_leverage(ETH)
    assert (read["longLeverage"], read["marginMode"]) == (3, "isolated")
    assert desk.client.fetch_position_mode(ETH)["hedged"] is False
    with pytest.raises(ccxt.OperationRejected, match="-4059"):
        desk.client.set_position_mode(False)
    assert desk.client.fapiPrivateGetMultiAssetsMargin() == {"multiAssetsMargin": False}
    assert desk.client.fapiPrivateGetAccountConfig()["canTrade"]


def test_brackets_fees_and_income(desk: Desk):
    tiers = desk.client.fetch_leverage_tiers([ETH])[ETH]
    assert (tiers[0]["maxLeverage"], tiers[0]["maintenanceMarginRate"]) == (125, 0.004)
    fee = desk.client.fetch_trading_fee(ETH)
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)
    buy(desk)
    income = desk.client.fapiPrivateGetIncome({"limit": 10})
    assert [row["incomeType"] for row in income] == ["TRANSFER", "COMMISSION"]


def test_a_test_order_is_checked_in_full_and_not_placed(desk: Desk):
    order = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
    assert desk.client.fapiPrivatePostOrderTest(order)["status"] == "NEW"
    with pytest.raises(ccxt.InsufficientFunds):
        desk.client.fapiPrivatePostOrderTest({**order, "quantity": "10"})
    assert desk.client.fetch_orders(ETH) == []


def test_key_permissions_are_safe_and_can_be_absent_as_on_demo_hosts(desk: Desk):
    allowed = desk.client.sapiGetAccountApiRestrictions()
    assert (allowed["enableWithdrawals"], allowed["enableFutures"]) == (False, True)
    desk.control("POST", "permissions", {"withdrawals": True})
    assert desk.client.sapiGetAccountApiRestrictions()["enableWithdrawals"] is True
    desk.control("POST", "permissions", {"absent": True})
    with pytest.raises(ccxt.ExchangeNotAvailable, match="404"):
        desk.client.sapiGetAccountApiRestrictions()
    assert desk.control("POST", "permissions", {"withdraw": True}).status_code == 400


def test_the_dead_man_timer_runs_on_wall_time_and_cancels_protections_too(desk: Desk):
    buy(desk)
    stop(desk)
    desk.client.create_order(ETH, "limit", "buy", 0.1, 2400)
    desk.client.fapiPrivatePostCountdownCancelAll({"symbol": "ETHUSDT", "countdownTime": 60_000})
    desk.clock.wall += 59_000
    desk.venue.tick()
    assert desk.client.fetch_open_orders(ETH)
    desk.clock.wall += 1_000
    desk.venue.tick()
    assert desk.client.fetch_open_orders(ETH) == []
    assert desk.client.fetch_open_orders(ETH, params={"trigger": True}) == []


def test_history_is_paged_by_id_time_and_limit(desk: Desk):
    for number in range(4):
        buy(desk, 0.01, newClientOrderId=f"entry{number}")
        desk.clock.pass_ms(1_000)
    orders = desk.client.fapiPrivateGetAllOrders({"symbol": "ETHUSDT"})
    assert [row["clientOrderId"] for row in orders] == [f"entry{number}" for number in range(4)]
    ask = desk.client.fapiPrivateGetAllOrders
    later = ask({"symbol": "ETHUSDT", "orderId": orders[2]["orderId"]})
    assert [row["clientOrderId"] for row in later] == ["entry2", "entry3"]
    timed = ask({"symbol": "ETHUSDT", "startTime": NOW + 1_000, "endTime": NOW + 2_000})
    assert [row["clientOrderId"] for row in timed] == ["entry1", "entry2"]
    trades = desk.client.fapiPrivateGetUserTrades({"symbol": "ETHUSDT", "limit": 2})
    assert [row["time"] for row in trades] == [NOW + 2_000, NOW + 3_000]
    first = desk.client.fapiPrivateGetUserTrades({"symbol": "ETHUSDT", "fromId": 0, "limit": 1})
    assert first[0]["time"] == NOW
    income = desk.client.fapiPrivateGetIncome({"startTime": NOW, "limit": 2, "page": 2})
    assert len(income) == 2


def test_other_reads_have_the_venues_shape(desk: Desk):
    resting = desk.client.create_order(ETH, "limit", "buy", 0.1, 2400)
    assert (
        desk.client.fapiPrivateGetOpenOrder({"symbol": "ETHUSDT", "orderId": resting["id"]})["status"]
        == "NEW"
    )
    assert desk.client.fapiPrivateV3GetBalance()[0]["balance"] == "1000.00000000"
    assert desk.client.fapiPublicGetPing() == {}
    assert float(desk.client.fapiPublicGetOpenInterest({"symbol": "ETHUSDT"})["openInterest"]) > 0
    ((risk),) = desk.client.fapiPrivateV3GetPositionRisk()
    assert (risk["positionAmt"], risk["bidNotional"]) == ("0", "240.00000000")
    assert len(desk.client.fapiPrivateGetSymbolConfig()) == 2
    assert len(desk.client.fapiPrivateGetLeverageBracket()) == 2


def test_currencies_are_answered_when_the_client_asks_for_them(desk: Desk):
    assert "USDT" in desk.client.fetch_currencies()
