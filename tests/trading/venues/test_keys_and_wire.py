"""Keys are found, matched and never shown; the wire tells sent from unsent."""

import hashlib
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from trading.core.values import Environment, OutcomeKind
from trading.venue_config import CAPABILITIES, VENUES_WITH_DIALECT
from trading.venues import close_gateways, open_gateway, transport
from trading.venues.binanceusdm import BinanceUsdmGateway
from trading.venues.ccxt_client import VenueClient
from trading.venues.gateway import Capabilities, Cause, VenueError, VenueUnavailable
from trading.venues.keys import ApiKeys, read_keys

from .test_outcomes import ORDER

NAMES = ("BINANCE_API_KEY", "BINANCE_API_SECRET")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    close_gateways()
    for name in NAMES:
        for suffix in ("", "__PAPER_MAIN"):
            monkeypatch.delenv(name + suffix, raising=False)
            monkeypatch.delenv(f"{name}{suffix}_FILE", raising=False)
    yield
    close_gateways()


def test_an_account_uses_its_own_pair_and_else_the_desks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BINANCE_API_KEY", "desk-key")
    (tmp_path / "secret").write_text("desk-secret\n")
    monkeypatch.setenv("BINANCE_API_SECRET_FILE", str(tmp_path / "secret"))
    found = read_keys(prefix="BINANCE", account="paper-main")
    assert (found.key, found.secret) == ("desk-key", "desk-secret")
    monkeypatch.setenv("BINANCE_API_KEY__PAPER_MAIN", "own-key")
    monkeypatch.setenv("BINANCE_API_SECRET__PAPER_MAIN", "own-secret")
    assert read_keys(prefix="BINANCE", account="paper-main").key == "own-key"
    assert read_keys(prefix="BINANCE", account="other").key == "desk-key"


def test_a_missing_half_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def complaint() -> str:
        with pytest.raises(VenueError) as caught:
            read_keys(prefix="BINANCE", account="paper-main")
        assert (caught.value.code, caught.value.cause) == ("venue_keys_missing", Cause.AUTH)
        return str(caught.value)

    assert complaint() == "account paper-main: BINANCE_API_KEY is not set (nor BINANCE_API_KEY_FILE)"
    monkeypatch.setenv("BINANCE_API_KEY", "desk-key")
    assert "BINANCE_API_SECRET is not set" in complaint()
    monkeypatch.setenv("BINANCE_API_SECRET", "desk-secret")
    monkeypatch.setenv("BINANCE_API_SECRET__PAPER_MAIN", "own-secret")
    assert "BINANCE_API_KEY__PAPER_MAIN is not set" in complaint()
    monkeypatch.setenv("BINANCE_API_KEY__PAPER_MAIN_FILE", str(tmp_path / "absent"))
    assert "cannot read" in complaint()


def test_the_fingerprint_is_the_head_of_the_digest() -> None:
    keys = ApiKeys(key="abc", secret="def")
    assert keys.fingerprint == hashlib.sha256(b"abc").hexdigest()[:8]


def test_neither_half_of_a_key_is_ever_shown(
    canned: Any, keys: ApiKeys, gateway: BinanceUsdmGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"bad key {keys.key} {keys.secret}"
    canned.put("POST", "/fapi/v1/order", {"code": -2015, "msg": echo}, status=401)
    canned.put("GET", "/fapi/v3/account", {"code": -2015, "msg": echo}, status=401)
    canned.put("GET", "/fapi/v1/openAlgoOrders", f"{echo}".encode(), status=500)
    shown = [repr(keys), str(keys), repr(gateway._client), repr(gateway), str(gateway.capabilities)]
    shown.append(gateway.submit_order(ORDER).text)
    for read in (gateway.fetch_balance, gateway.fetch_open_orders):
        with pytest.raises(VenueError) as caught:
            read()
        shown += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    shown.append(caplog.text)
    for text in shown:
        assert keys.key not in text
        assert keys.secret not in text
    assert gateway.key_fingerprint in repr(gateway._client)


# Opening ------------------------------------------------------------------------------------------


def test_a_gateway_is_opened_once_and_per_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "x")

    def open_it() -> Any:
        return open_gateway(venue="binanceusdm", account="paper-main", environment="paper")

    with override_settings(
        TRADING_ENVIRONMENT="paper", SIMULATED_VENUES={"binanceusdm": "http://127.0.0.1:9"}
    ):
        first = open_it()
        assert open_it() is first
        assert first.endpoint == "http://127.0.0.1:9"
        others: list[Any] = []
        thread = threading.Thread(target=lambda: others.append(open_it()))
        thread.start()
        thread.join()
        assert others[0] is not first


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"venue": "nowhere"}, "venue_unknown"),
        ({"environment": "live"}, "environment_mismatch"),
        ({}, "venue_not_simulated"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_its_code(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], code: str
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "x")
    asked = {"venue": "binanceusdm", "account": "paper-main", "environment": "paper"} | facts
    with (
        override_settings(TRADING_ENVIRONMENT="paper", SIMULATED_VENUES={}),
        pytest.raises(VenueError) as caught,
    ):
        open_gateway(**asked)
    assert caught.value.code == code


def test_paper_refuses_every_host_that_is_not_simulated(keys: ApiKeys) -> None:
    client = VenueClient(
        venue="binanceusdm",
        environment=Environment.PAPER,
        keys=keys,
        redirects={"api.binance.com": "http://127.0.0.1:9"},
    )
    outcome = BinanceUsdmGateway(client).submit_order(ORDER)
    assert outcome.kind is OutcomeKind.RETRY_SAFE


def test_the_throttler_sleeps_outside_paper_only(keys: ApiKeys) -> None:
    for environment in Environment:
        client = VenueClient(venue="binanceusdm", environment=environment, keys=keys)
        assert client._exchange.enableRateLimit is (environment is not Environment.PAPER)


def test_the_configuration_knows_the_capabilities_and_dialects_there_are() -> None:
    fields = {
        name.removeprefix("has_") for name in Capabilities.__dataclass_fields__ if name.startswith("has_")
    }
    assert fields == CAPABILITIES
    for venue in VENUES_WITH_DIALECT:
        assert venue == "binanceusdm"


# The wire -----------------------------------------------------------------------------------------


@pytest.fixture
def silent_port() -> Iterator[socket.socket]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_refused_connection_was_never_sent(
    open_gateway_at: Callable[..., BinanceUsdmGateway], silent_port: socket.socket
) -> None:
    port = silent_port.getsockname()[1]
    silent_port.close()
    gateway = open_gateway_at(f"http://127.0.0.1:{port}")
    assert gateway.submit_order(ORDER).kind is OutcomeKind.RETRY_SAFE
    with pytest.raises(VenueUnavailable) as caught:
        gateway.fetch_server_time()
    assert caught.value.cause is Cause.REFUSED


def test_a_connection_that_takes_too_long_was_never_sent(
    open_gateway_at: Callable[..., BinanceUsdmGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_ever(*_: Any, **__: Any) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", wait_for_ever)
    gateway = open_gateway_at("http://127.0.0.1:9")
    assert gateway.submit_order(ORDER).kind is OutcomeKind.RETRY_SAFE
    with pytest.raises(VenueUnavailable) as caught:
        gateway.fetch_server_time()
    assert caught.value.cause is Cause.TIMEOUT


def test_a_name_that_does_not_resolve_was_never_sent(
    open_gateway_at: Callable[..., BinanceUsdmGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    gateway = open_gateway_at("http://venue.invalid")
    assert gateway.submit_order(ORDER).kind is OutcomeKind.RETRY_SAFE
    with pytest.raises(VenueUnavailable) as caught:
        gateway.fetch_server_time()
    assert caught.value.cause is Cause.DNS


def test_silence_after_sending_is_unknown(
    open_gateway_at: Callable[..., BinanceUsdmGateway],
    silent_port: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.2)
    gateway = open_gateway_at(f"http://127.0.0.1:{silent_port.getsockname()[1]}")
    assert gateway.submit_order(ORDER).kind is OutcomeKind.UNKNOWN
    with pytest.raises(VenueUnavailable) as caught:
        gateway.fetch_server_time()
    assert caught.value.cause is Cause.TIMEOUT


def test_a_connection_closed_after_sending_is_unknown(
    open_gateway_at: Callable[..., BinanceUsdmGateway], silent_port: socket.socket
) -> None:
    def hang_up() -> None:
        connection, _ = silent_port.accept()
        connection.recv(65536)
        connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    gateway = open_gateway_at(f"http://127.0.0.1:{silent_port.getsockname()[1]}")
    assert gateway.submit_order(ORDER).kind is OutcomeKind.UNKNOWN
    thread.join()


def test_half_an_answer_is_unknown(
    open_gateway_at: Callable[..., BinanceUsdmGateway], silent_port: socket.socket
) -> None:
    def stop_midway() -> None:
        connection, _ = silent_port.accept()
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"orderId": 1')
        connection.close()

    thread = threading.Thread(target=stop_midway)
    thread.start()
    gateway = open_gateway_at(f"http://127.0.0.1:{silent_port.getsockname()[1]}")
    assert gateway.submit_order(ORDER).kind is OutcomeKind.UNKNOWN
    thread.join()


def test_no_tls_is_told_apart(
    open_gateway_at: Callable[..., BinanceUsdmGateway], silent_port: socket.socket
) -> None:
    def speak_plainly() -> None:
        connection, _ = silent_port.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.close()

    thread = threading.Thread(target=speak_plainly)
    thread.start()
    gateway = open_gateway_at(f"https://127.0.0.1:{silent_port.getsockname()[1]}")
    with pytest.raises(VenueUnavailable) as caught:
        gateway.fetch_server_time()
    assert caught.value.cause is Cause.TLS
    thread.join()
