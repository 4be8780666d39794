"""What each answer to an order means, told by running it through ccxt's real HTTP layer."""

from decimal import Decimal
from typing import Any

import pytest

from trading.core.values import OrderRequest, OrderType, OutcomeKind, Side
from trading.venues.binanceusdm import BinanceUsdmGateway
from trading.venues.gateway import Cause
from trading.venues.keys import ApiKeys
from trading.venues.outcomes import BINANCE_CODES, Failure, classify_failure, find_cause

UNKNOWN, REJECTED, SAFE, THROTTLED, STOP = (
    OutcomeKind.UNKNOWN,
    OutcomeKind.REJECTED,
    OutcomeKind.RETRY_SAFE,
    OutcomeKind.THROTTLED,
    OutcomeKind.STOP_TRADING,
)
ORDER = OrderRequest(
    venue="binanceusdm",
    account="desk",
    symbol="BTCUSDT",
    client_order_id="en0001",
    side=Side.BUY,
    order_type=OrderType.MARKET,
    quantity=Decimal("0.001"),
)

# (status, code, what ccxt makes of it, what it means)
CODED = [
    (400, -1000, "OperationFailed", UNKNOWN),
    (503, -1000, "OperationFailed", UNKNOWN),
    (400, -1001, "OperationFailed", UNKNOWN),
    (503, -1001, "OperationFailed", UNKNOWN),
    (400, -1006, "OperationFailed", UNKNOWN),
    (400, -1007, "RequestTimeout", UNKNOWN),
    (408, -1007, "RequestTimeout", UNKNOWN),
    (400, -1008, "OperationFailed", UNKNOWN),
    (503, -1008, "OperationFailed", UNKNOWN),
    (503, 0, "ExchangeNotAvailable", UNKNOWN),
    (400, -4111, "ExchangeError", UNKNOWN),
    (400, -4116, "InvalidOrder", UNKNOWN),
    (429, -1003, "DDoSProtection", THROTTLED),
    (429, -1015, "DDoSProtection", THROTTLED),
    (418, -1003, "DDoSProtection", THROTTLED),
    (400, -1003, "RateLimitExceeded", THROTTLED),
    (400, -1015, "RateLimitExceeded", THROTTLED),
    (400, -1021, "InvalidNonce", SAFE),
    (400, -5028, "BadRequest", SAFE),
    (400, -1002, "AuthenticationError", STOP),
    (400, -1022, "AuthenticationError", STOP),
    (401, -2014, "AuthenticationError", STOP),
    (401, -2015, "AuthenticationError", STOP),
    (400, -2023, "OperationFailed", STOP),
    (400, -1013, "BadRequest", REJECTED),
    (400, -1102, "BadRequest", REJECTED),
    (400, -1106, "BadRequest", REJECTED),
    (400, -1111, "BadRequest", REJECTED),
    (400, -1116, "BadRequest", REJECTED),
    (400, -1121, "BadSymbol", REJECTED),
    (400, -2010, "InvalidOrder", REJECTED),
    (400, -2011, "OrderNotFound", REJECTED),
    (400, -2013, "OrderNotFound", REJECTED),
    (400, -2018, "InsufficientFunds", REJECTED),
    (400, -2019, "InsufficientFunds", REJECTED),
    (400, -2020, "OperationFailed", REJECTED),
    (400, -2021, "OrderImmediatelyFillable", REJECTED),
    (400, -2022, "InvalidOrder", REJECTED),
    (400, -2024, "InsufficientFunds", REJECTED),
    (400, -2025, "OperationRejected", REJECTED),
    (400, -2026, "InvalidOrder", REJECTED),
    (400, -2027, "OperationRejected", REJECTED),
    (400, -2028, "OperationRejected", REJECTED),
    (400, -4003, "BadRequest", REJECTED),
    (400, -4005, "BadRequest", REJECTED),
    (400, -4014, "BadRequest", REJECTED),
    (400, -4023, "BadRequest", REJECTED),
    (400, -4047, "OperationRejected", REJECTED),
    (400, -4048, "OperationRejected", REJECTED),
    (400, -4059, "OperationRejected", REJECTED),
    (400, -4061, "OperationRejected", REJECTED),
    (400, -4067, "OperationRejected", REJECTED),
    (400, -4068, "OperationRejected", REJECTED),
    (400, -4118, "OperationRejected", REJECTED),
    (400, -4120, "InvalidOrder", REJECTED),
    (400, -4131, "OperationRejected", REJECTED),
    (400, -4164, "InvalidOrder", REJECTED),
    (403, -4192, "PermissionDenied", REJECTED),
    (400, -4192, "PermissionDenied", REJECTED),
    (400, -4400, "PermissionDenied", REJECTED),
    (400, -5021, "OrderNotFillable", REJECTED),
    (400, -5022, "OrderNotFillable", REJECTED),
]

# (status, body, what it means): answers that carry no code
UNCODED = [
    (500, b"", UNKNOWN),
    (500, b"<html>oops</html>", UNKNOWN),
    (502, b"Bad Gateway", UNKNOWN),
    (503, b"", UNKNOWN),
    (503, b"Service Unavailable", UNKNOWN),
    (504, b"", UNKNOWN),
    (403, b"<html>blocked by the firewall</html>", UNKNOWN),
    (404, b"<html>not found</html>", UNKNOWN),
    (302, b"", UNKNOWN),
    (429, b"", THROTTLED),
    (418, b"", THROTTLED),
    (200, b"", UNKNOWN),
    (200, b"{}", UNKNOWN),
    (200, b"[]", UNKNOWN),
    (200, b"<html>welcome</html>", UNKNOWN),
    (200, b'{"orderId": 1', UNKNOWN),
    (200, b'{"orderId": null, "clientOrderId": null}', UNKNOWN),
    (200, b'{"code": 200, "msg": "success"}', UNKNOWN),
    (200, b"[" * 5000, UNKNOWN),
]


@pytest.mark.parametrize(("status", "code", "kind", "meaning"), CODED)
def test_a_coded_refusal_means_what_the_table_says(
    canned: Any, gateway: BinanceUsdmGateway, status: int, code: int, kind: str, meaning: OutcomeKind
) -> None:
    canned.put("POST", "/fapi/v1/order", {"code": code, "msg": "the venue's own words"}, status=status)
    canned.put("GET", "/fapi/v1/time", {"serverTime": 1})
    outcome = gateway.submit_order(ORDER)
    assert outcome.kind is meaning
    assert outcome.code == str(code)
    assert outcome.report is None
    assert kind in outcome.text


@pytest.mark.parametrize(("status", "body", "meaning"), UNCODED)
def test_an_answer_without_a_code_is_never_a_rejection(
    canned: Any, gateway: BinanceUsdmGateway, status: int, body: bytes, meaning: OutcomeKind
) -> None:
    headers = {"Location": "/fapi/v1/elsewhere"} if status == 302 else {}
    canned.put("POST", "/fapi/v1/order", body, status=status, headers=headers)
    outcome = gateway.submit_order(ORDER)
    assert outcome.kind is meaning
    assert len([asked for asked in canned.asked if asked.method == "POST"]) == 1


def test_an_order_under_another_client_id_is_unknown(canned: Any, gateway: BinanceUsdmGateway) -> None:
    answer = {
        "orderId": 5,
        "clientOrderId": "another",
        "symbol": "BTCUSDT",
        "status": "FILLED",
        "origQty": "0.001",
        "executedQty": "0.001",
        "reduceOnly": False,
        "side": "BUY",
        "updateTime": 1625474304765,
    }
    canned.put("POST", "/fapi/v1/order", answer)
    canned.put("POST", "/fapi/v1/order", answer | {"clientOrderId": "en0001", "orderId": None})
    canned.put("POST", "/fapi/v1/order", answer | {"clientOrderId": "en0001"})
    kinds = [gateway.submit_order(ORDER).kind for _ in range(3)]
    assert kinds == [UNKNOWN, UNKNOWN, OutcomeKind.ACCEPTED]


def test_the_time_to_wait_is_read_from_the_header(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("POST", "/fapi/v1/order", b"", status=429, headers={"Retry-After": "17"})
    assert gateway.submit_order(ORDER).retry_after == Decimal(17)


def test_the_end_of_a_ban_is_read_from_the_text(canned: Any, gateway: BinanceUsdmGateway) -> None:
    text = "Way too many requests; IP banned until 4102444800000. Please use the websocket."
    canned.put("POST", "/fapi/v1/order", {"code": -1003, "msg": text}, status=418)
    waited = gateway.submit_order(ORDER).retry_after
    assert waited is not None
    assert waited > 1_000_000


def test_a_refused_time_stamp_measures_the_clock_anew(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("POST", "/fapi/v1/order", {"code": -1021, "msg": "outside of the recvWindow"}, status=400)
    canned.put("GET", "/fapi/v1/time", {"serverTime": 1_000_000_000_000})
    gateway.submit_order(ORDER)
    gateway.submit_order(ORDER)
    first, second = [int(asked.params["timestamp"]) for asked in canned.asked if asked.method == "POST"]
    assert abs(second - 1_000_000_000_000) < 60_000
    assert first > second


def test_a_code_no_table_knows_is_a_refusal_unless_the_server_failed() -> None:
    assert classify_failure(Failure(status=400, code="-9999")) is REJECTED
    assert classify_failure(Failure(status=500, code="-9999")) is UNKNOWN
    assert classify_failure(Failure(status=400, code="200")) is UNKNOWN
    assert classify_failure(Failure(status=400, code="nonsense")) is UNKNOWN


def test_only_what_was_provably_never_sent_may_be_sent_again() -> None:
    for cause in (Cause.DNS, Cause.REFUSED, Cause.TIMEOUT):
        assert classify_failure(Failure(network=cause, is_unsent=True)) is SAFE
        assert classify_failure(Failure(network=cause)) is UNKNOWN
    assert classify_failure(Failure(network=Cause.VENUE, is_unsent=True)) is REJECTED


def test_no_code_is_in_the_table_twice_and_causes_follow_it() -> None:
    assert len(BINANCE_CODES) == 9 + 2 + 2 + 5 + 3
    causes: dict[str, Cause] = {code: find_cause(Failure(status=400, code=code)) for code in BINANCE_CODES}
    assert causes["-1021"] is Cause.CLOCK
    assert causes["-1003"] is Cause.THROTTLED
    assert causes["-2015"] is Cause.AUTH
    assert causes["-2023"] is Cause.VENUE
    assert causes["-4192"] is Cause.VENUE
    assert find_cause(Failure(status=502)) is Cause.HTTP


@pytest.mark.parametrize("conditional", [False, True])
def test_a_cancel_is_judged_by_the_same_table(
    canned: Any, gateway: BinanceUsdmGateway, conditional: bool
) -> None:
    path = "/fapi/v1/algoOrder" if conditional else "/fapi/v1/order"
    canned.put("DELETE", path, {"code": -2011, "msg": "Unknown order sent."}, status=400)
    canned.put("DELETE", path, b"", status=504)
    canned.put("DELETE", path, {})
    kinds = [gateway.cancel_order("BTCUSDT", "en1", conditional).kind for _ in range(3)]
    assert kinds == [REJECTED, UNKNOWN, UNKNOWN]


def test_what_ccxt_refuses_by_itself_is_no_retry(open_gateway_at: Any) -> None:
    gateway = open_gateway_at("http://127.0.0.1:9", keys=ApiKeys(key="", secret=""))
    assert gateway.submit_order(ORDER).kind is REJECTED


def test_a_clock_that_cannot_be_read_changes_nothing(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("POST", "/fapi/v1/order", {"code": -1021, "msg": "outside of the recvWindow"}, status=400)
    canned.put("GET", "/fapi/v1/time", b"", status=503)
    assert [gateway.submit_order(ORDER).kind for _ in range(2)] == [SAFE, SAFE]
