"""Fault injection as a real client meets it: what was executed, and what the client believes."""

import threading
from typing import Any

import ccxt
import pytest

from tests.trading.simulator.builders import MINUTE
from tests.trading.simulator.conftest import Desk
from trading.simulator.faults import FaultError, Faults

ETH = "ETH/USDT:USDT"
ORDER = {"method": "POST", "path": "/fapi/v1/order"}


def buy(desk: Desk, client_id: str = "entry1") -> Any:
    return desk.client.create_order(ETH, "market", "buy", 0.1, None, {"newClientOrderId": client_id})


def held(desk: Desk) -> int:
    return len(desk.client.fetch_orders(ETH))


@pytest.mark.parametrize(
    ("kind", "fields", "error", "executed"),
    [
        ("error_before", {"status": 503, "code": -1000}, ccxt.OperationFailed, 0),
        ("error_before", {"status": 502, "text": "bad gateway"}, ccxt.ExchangeNotAvailable, 0),
        ("error_after", {"status": 503, "code": -1000}, ccxt.OperationFailed, 1),
        ("error_after", {"status": 504}, ccxt.RequestTimeout, 1),
        ("lost_answer", {}, ccxt.NetworkError, 1),
        ("rate_limited", {}, ccxt.DDoSProtection, 0),
        ("rate_limited", {"status": 418, "retry_after": 60}, ccxt.DDoSProtection, 0),
    ],
)
def test_a_fault_fires_once_and_the_look_up_tells_what_really_happened(desk, kind, fields, error, executed):
    desk.client.load_markets()
    desk.fault(kind, **ORDER, **fields)
    with pytest.raises(error):
        buy(desk)
    assert held(desk) == executed
    if executed:
        assert desk.client.fetch_order(None, ETH, {"clientOrderId": "entry1"})["status"] == "closed"
    assert buy(desk, "entry2")["status"] == "closed"


def test_an_empty_body_makes_the_client_return_an_order_without_id(desk: Desk):
    desk.client.load_markets()
    desk.fault("empty_body", **ORDER)
    assert buy(desk)["id"] is None
    assert held(desk) == 1


def test_a_hanging_request_ends_in_the_clients_time_out_and_is_not_executed(desk: Desk):
    desk.client.load_markets()
    desk.client.timeout = 200
    desk.fault("hang", seconds=30, **ORDER)
    with pytest.raises(ccxt.RequestTimeout):
        buy(desk)
    desk.client.timeout = 5000
    assert held(desk) == 0


def test_a_delay_answers_late_but_answers(desk: Desk):
    desk.client.load_markets()
    desk.fault("delay", seconds=0.05, times=2, path="/fapi/v1/order")
    assert buy(desk)["status"] == "closed"
    assert buy(desk, "entry2")["status"] == "closed"
    listed = desk.control("GET", "faults").json()
    assert listed["active"] == []
    assert [row["kind"] for row in listed["fired"]] == ["delay", "delay"]


def test_drift_moves_the_servers_time_and_breaks_signatures_until_it_is_removed(desk: Desk):
    desk.fault("drift", milliseconds=20_000)
    assert desk.client.fetch_time() == desk.clock.wall + 20_000
    with pytest.raises(ccxt.InvalidNonce):
        desk.client.fetch_balance()
    desk.control("DELETE", "faults")
    assert desk.client.fetch_balance()["USDT"]["total"] == 1000


def test_a_gap_moves_the_price_and_shows_in_the_candles(desk: Desk):
    desk.client.load_markets()
    desk.fault("gap", symbol="ETHUSDT", percent="-10")
    desk.clock.pass_ms(MINUTE)
    assert desk.client.fetch_ticker(ETH)["last"] == 2250
    before, after = desk.client.fetch_ohlcv(ETH, "1m", limit=2)
    assert (before[1], before[3], before[4]) == (2500, 2250, 2250)
    assert after[1] == 2250
    desk.control("DELETE", "faults")
    desk.clock.pass_ms(MINUTE)
    assert desk.client.fetch_ticker(ETH)["last"] == 2500
    assert desk.client.fetch_ohlcv(ETH, "1m", limit=3)[0][3] == 2250, "the past stays"


def test_frozen_data_stops_prices_and_candles_while_time_goes_on(desk: Desk):
    desk.client.load_markets()
    desk.fault("freeze")
    seen = desk.client.fetch_ohlcv(ETH, "1m", limit=1)[0]
    desk.clock.pass_ms(12 * MINUTE)
    assert desk.client.fetch_ohlcv(ETH, "1m", limit=1)[0] == seen
    assert desk.client.fetch_last_prices([ETH])[ETH]["timestamp"] == seen[0]
    assert buy(desk)["timestamp"] == seen[0] + 12 * MINUTE
    desk.control("DELETE", "faults")
    desk.clock.pass_ms(MINUTE)
    assert desk.client.fetch_ohlcv(ETH, "1m", limit=1)[0][0] == seen[0] + 13 * MINUTE


def test_requests_are_recorded_without_secrets(desk: Desk):
    desk.client.load_markets()
    buy(desk)
    last = desk.control("GET", "requests").json()[-1]
    assert (last["method"], last["path"], last["status"]) == ("POST", "/fapi/v1/order", 200)
    assert last["params"]["newClientOrderId"] == "entry1"
    assert "signature" not in last["params"]
    assert desk.control("GET", f"requests?after={last['number']}").json() == []


def test_the_state_says_whether_the_money_adds_up(desk: Desk):
    desk.client.load_markets()
    buy(desk)
    assert desk.control("POST", "deposit", {"amount": "250.5"}).status_code == 200
    state = desk.control("GET", "state").json()
    assert state["conserved"]
    assert state["totals"]["TRANSFER"] == "1250.50000000"
    assert [row["quantity"] for row in state["positions"]] == ["0.1"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ([], "body"),
        ({}, "kind"),
        ({"kind": "explode"}, "kind"),
        ({"kind": "delay", "colour": "red"}, "colour"),
        ({"kind": "delay", "seconds": "1"}, "seconds"),
        ({"kind": "delay", "seconds": 601}, "seconds"),
        ({"kind": "delay", "times": 0}, "times"),
        ({"kind": "delay", "times": True}, "times"),
        ({"kind": "error_before", "status": 200}, "status"),
        ({"kind": "gap", "symbol": "NOSUCH"}, "symbol"),
        ({"kind": "gap", "symbol": "ETHUSDT", "percent": "much"}, "percent"),
        ({"kind": "gap", "symbol": "ETHUSDT", "percent": "-100"}, "percent"),
    ],
)
def test_a_malformed_fault_is_one_line_naming_the_field_and_sets_nothing(desk: Desk, asked, field):
    answer = desk.control("POST", "faults", asked)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{field}:")
    assert desk.control("GET", "faults").json()["active"] == []


def test_controls_refuse_nonsense(desk: Desk):
    session, address = desk.client.session, desk.server.address
    assert session.post(f"{address}/_sim/faults", data="{", timeout=5).status_code == 400
    for method, path, body in (
        ("GET", "requests?after=x", None),
        ("DELETE", "faults?id=x", None),
        ("POST", "deposit", {"amount": "-5000"}),
        ("POST", "deposit", {}),
        ("POST", "permissions", []),
        ("POST", "delisting", []),
        ("POST", "delisting", {"symbol": "NOUSDT", "in_seconds": 60}),
        ("POST", "delisting", {"symbol": "ETHUSDT", "in_seconds": "soon"}),
        ("POST", "delisting", {"symbol": "ETHUSDT", "in_seconds": -1}),
    ):
        assert desk.control(method, path, body).status_code == 400
    assert desk.control("GET", "nothing").status_code == 404


def test_a_delisting_is_announced_in_the_instrument_table_and_can_be_taken_back(desk: Desk):
    def look() -> tuple[int, str]:
        info = desk.client.fapiPublicGetExchangeInfo()
        (row,) = [row for row in info["symbols"] if row["symbol"] == "ETHUSDT"]
        return int(row["deliveryDate"]), row["status"]

    never = look()
    assert never == (4133404800000, "TRADING")
    announced = desk.control("POST", "delisting", {"symbol": "ETHUSDT", "in_seconds": 120}).json()
    assert announced == {"ETHUSDT": desk.clock.market_ms() + 120_000}
    assert look() == (announced["ETHUSDT"], "TRADING")
    desk.clock.pass_ms(121_000)
    assert look() == (announced["ETHUSDT"], "SETTLING")
    assert desk.control("POST", "delisting", {"symbol": "ETHUSDT", "in_seconds": None}).json() == {}
    assert look() == never


def test_the_list_of_faults_is_bounded():
    faults = Faults()
    for _ in range(100):
        faults.add({"kind": "delay"})
    with pytest.raises(FaultError, match="at most 100"):
        faults.add({"kind": "delay"})
    assert len(faults.clear(7)) == 1


def test_a_probability_is_honoured_and_a_star_matches_a_prefix():
    faults = Faults(seed=3)
    faults.add(
        {"kind": "error_before", "probability": 0.3, "times": 1_000, "path": "/fapi/*", "method": "GET"}
    )
    hits = sum(bool(faults.strike("GET", "/fapi/v1/time")) for _ in range(1_000))
    assert 200 < hits < 400
    assert not faults.strike("POST", "/fapi/v1/time")
    assert not faults.strike("GET", "/sapi/v1/time")


def test_a_fault_for_n_requests_hits_exactly_n_of_many_at_once():
    faults = Faults()
    faults.add({"kind": "lost_answer", "times": 50})
    hits: list[int] = []

    def ask() -> None:
        hits.extend(len(faults.strike("POST", "/x")) for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(hits) == 50
