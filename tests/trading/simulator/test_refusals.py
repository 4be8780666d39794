"""What the venue refuses, as a real client meets it: codes, exceptions, keys, weights."""

from typing import Any

import ccxt
import pytest

from tests.trading.simulator.builders import MINUTE
from tests.trading.simulator.client import client_of
from tests.trading.simulator.conftest import Desk

ETH = "ETH/USDT:USDT"


@pytest.mark.parametrize(
    ("kind", "code", "call"),
    [
        (ccxt.InsufficientFunds, "-2019", lambda c: c.create_order(ETH, "market", "buy", 5)),
        (ccxt.InvalidOrder, "-4164", lambda c: c.create_order(ETH, "market", "buy", 0.002)),
        (
            ccxt.InvalidOrder,
            "-2022",
            lambda c: c.create_order(ETH, "market", "buy", 0.1, None, {"reduceOnly": True}),
        ),
        (
            ccxt.OrderNotFillable,
            "-5022",
            lambda c: c.create_order(ETH, "limit", "buy", 0.1, 2501, {"postOnly": True}),
        ),
        (
            ccxt.OrderNotFillable,
            "-5021",
            lambda c: c.create_order(ETH, "limit", "buy", 0.1, 2499, {"timeInForce": "FOK"}),
        ),
        (
            ccxt.OrderImmediatelyFillable,
            "-2021",
            lambda c: c.create_order(
                ETH, "market", "sell", 0.1, None, {"stopLossPrice": 2600, "reduceOnly": True}
            ),
        ),
        (
            ccxt.InvalidOrder,
            "-4120",
            lambda c: c.fapiPrivatePostOrder(
                {
                    "symbol": "ETHUSDT",
                    "side": "SELL",
                    "type": "STOP_MARKET",
                    "stopPrice": "2400",
                    "quantity": "0.1",
                }
            ),
        ),
        (ccxt.OrderNotFound, "-2011", lambda c: c.cancel_order("1", ETH)),
        (ccxt.OrderNotFound, "-2013", lambda c: c.fetch_order("1", ETH)),
        (ccxt.BadRequest, "-1102", lambda c: c.fapiPrivatePostOrder({"symbol": "ETHUSDT", "side": "BUY"})),
        (ccxt.BadSymbol, "-1121", lambda c: c.fapiPublicGetDepth({"symbol": "NOSUCH"})),
        (
            ccxt.BadRequest,
            "-1111",
            lambda c: c.fapiPrivatePostOrder(
                {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.10001"}
            ),
        ),
        (
            ccxt.OperationRejected,
            "-4061",
            lambda c: c.create_order(ETH, "market", "buy", 0.1, None, {"positionSide": "LONG"}),
        ),
    ],
)
def test_the_venues_codes_become_the_exceptions_they_are_in_production(desk: Desk, kind, code, call):
    desk.client.load_markets()
    with pytest.raises(kind, match=code):
        call(desk.client)


REFUSED_CALLS = [
    ("fapiPrivatePostOrder", {"type": "MARKET", "quantity": "0.1", "price": "2500"}, "-1106"),
    ("fapiPrivatePostOrder", {"type": "MARKET", "quantity": "0.1", "timeInForce": "GTC"}, "-1106"),
    ("fapiPrivatePostOrder", {"type": "LIMIT", "quantity": "0.1", "price": "2500"}, "-1102"),
    (
        "fapiPrivatePostOrder",
        {"type": "LIMIT", "quantity": "0.1", "price": "2500", "timeInForce": "GTD"},
        "-1115",
    ),
    ("fapiPrivatePostOrder", {"type": "ICEBERG", "quantity": "0.1"}, "-1116"),
    ("fapiPrivatePostOrder", {"type": "MARKET", "quantity": "some"}, "-1102"),
    ("fapiPrivatePostOrder", {"type": "MARKET", "quantity": "NaN"}, "-1102"),
    ("fapiPrivatePostOrder", {"type": "MARKET", "quantity": ""}, "-1102"),
    ("fapiPrivatePostOrder", {"type": "MARKET", "quantity": "0.1", "reduceOnly": "perhaps"}, "-1102"),
    ("fapiPrivatePostOrder", {"type": "MARKET", "quantity": "0.1", "side": "HOLD"}, "-1117"),
    ("fapiPrivatePutOrder", {"orderId": 1, "quantity": "0.1", "price": "2400"}, "-2013"),
    ("fapiPrivateGetOpenOrder", {"orderId": 1}, "-2013"),
    ("fapiPrivateGetOrder", {}, "-1102"),
    ("fapiPrivateGetAlgoOrder", {"algoId": 1}, "-2013"),
    ("fapiPrivatePostAlgoOrder", {"algoType": "VP", "type": "STOP_MARKET"}, "-1130"),
    ("fapiPrivatePostAlgoOrder", {"algoType": "CONDITIONAL", "type": "TRAILING_STOP_MARKET"}, "-1116"),
    ("fapiPrivateGetUserTrades", {"limit": 5000}, "-1130"),
    ("fapiPrivatePostMarginType", {"marginType": "BOTH"}, "-1130"),
    ("fapiPrivatePostMultiAssetsMargin", {"multiAssetsMargin": "false"}, "-4171"),
    ("fapiPrivatePostMultiAssetsMargin", {"multiAssetsMargin": "true"}, "-4168"),
    ("fapiPublicGetKlines", {"interval": "7m"}, "-1120"),
    ("fapiPublicGetKlines", {"interval": "1m", "limit": 1501}, "-1130"),
    ("fapiPublicGetDepth", {"limit": 7}, "-4021"),
]


@pytest.mark.parametrize(("call", "params", "code"), REFUSED_CALLS)
def test_malformed_parameters_get_the_venues_codes(desk: Desk, call: str, params: dict[str, Any], code: str):
    with pytest.raises(ccxt.BaseError, match=code):
        getattr(desk.client, call)({"symbol": "ETHUSDT", "side": "BUY", **params})
    assert desk.client.fapiPrivateGetAllOrders({"symbol": "ETHUSDT"}) == []


def test_a_duplicate_client_id_of_an_open_order_is_refused(desk: Desk):
    desk.client.create_order(ETH, "limit", "buy", 0.1, 2400, {"newClientOrderId": "same"})
    with pytest.raises(ccxt.InvalidOrder, match="-4116"):
        desk.client.create_order(ETH, "limit", "buy", 0.1, 2400, {"newClientOrderId": "same"})


def test_keys_signatures_and_timestamps_are_checked(desk: Desk):
    address, now = desk.server.address, desk.clock.wall_ms
    cases = [
        (ccxt.AuthenticationError, "-2015", client_of(address, now, apiKey="other")),
        (ccxt.AuthenticationError, "-1022", client_of(address, now, secret="other")),
        (ccxt.InvalidNonce, "-1021", client_of(address, lambda: now() - 11_000)),
        (ccxt.InvalidNonce, "-1021", client_of(address, lambda: now() + 1_500)),
    ]
    for kind, code, client in cases:
        with pytest.raises(kind, match=code):
            client.fapiPrivateV3GetAccount()
        client.session.close()


def test_a_request_without_a_key_is_refused(desk: Desk):
    answer = desk.client.session.get(
        f"{desk.server.address}/fapi/v3/account?timestamp=1&signature=x", timeout=5
    )
    assert (answer.status_code, answer.json()["code"]) == (401, -2014)


def test_weights_are_metered_and_too_many_requests_are_refused_then_banned(desk: Desk):
    url = f"{desk.server.address}/fapi/v1/ticker/24hr"
    session = desk.client.session
    first = session.get(url, timeout=5)
    assert first.headers["X-MBX-USED-WEIGHT-1M"] == "40"
    desk.venue.limiter.weight.used = 2_400
    refused = session.get(url, timeout=5)
    assert (refused.status_code, refused.json()["code"]) == (429, -1003)
    assert int(refused.headers["Retry-After"]) >= 1
    with pytest.raises(ccxt.DDoSProtection):
        desk.client.fetch_ticker(ETH)
    statuses = {session.get(url, timeout=5).status_code for _ in range(25)}
    assert statuses == {429, 418}
    desk.clock.pass_ms(3 * MINUTE)
    assert session.get(url, timeout=5).status_code == 200


def test_an_unknown_path_is_not_found(desk: Desk):
    assert desk.client.session.get(f"{desk.server.address}/fapi/v9/nothing", timeout=5).status_code == 404
