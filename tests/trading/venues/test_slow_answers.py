"""A venue that answers a byte at a time: a deadline is for the whole answer, not for each byte of it."""

import socket
import threading
from collections.abc import Callable

import pytest

from tests.trading.venues.test_outcomes import ORDER
from trading.core.values import OutcomeKind
from trading.venues import transport
from trading.venues.binanceusdm import BinanceUsdmGateway
from trading.venues.gateway import Cause, VenueUnavailable

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Dribbler:
    """Answers one request with a byte every moment; knows whether it was cut off before its end."""

    def __init__(self, begin: bytes) -> None:
        self._begin = begin
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.was_cut = threading.Event()
        self._pause = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection:
            connection.recv(65536)
            connection.sendall(self._begin)
            try:
                for _ in range(60):
                    connection.sendall(b" ")
                    self._pause.wait(0.05)
            except OSError:
                self.was_cut.set()


@pytest.mark.parametrize(
    "begin", [HEADERS + b"Content-Length: 5000\r\n\r\n", HEADERS + b"\r\n", HEADERS + b"X-Slow: "]
)
def test_an_answer_that_never_ends_is_cut_off(
    open_gateway_at: Callable[..., BinanceUsdmGateway], monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.3)
    venue = Dribbler(begin)
    with pytest.raises(VenueUnavailable) as caught:
        open_gateway_at(f"http://127.0.0.1:{venue.port}").fetch_server_time()
    venue.thread.join()
    assert venue.was_cut.is_set()
    assert caught.value.cause is Cause.TIMEOUT


def test_an_order_whose_answer_is_cut_off_is_unknown(
    open_gateway_at: Callable[..., BinanceUsdmGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.3)
    venue = Dribbler(HEADERS + b"\r\n")
    outcome = open_gateway_at(f"http://127.0.0.1:{venue.port}").submit_order(ORDER)
    venue.thread.join()
    assert venue.was_cut.is_set()
    assert outcome.kind is OutcomeKind.UNKNOWN
