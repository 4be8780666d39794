"""A fenced request: connected first, written whole within the fence, answered after it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pytest
from urllib3.util import connection as urllib3_connection

from trading.core.values import OutcomeKind
from trading.venues.binanceusdm import BinanceUsdmGateway
from trading.venues.gateway import FENCED, NotPermitted

from .test_outcomes import ORDER

REFUSAL = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 28\r\n\r\n{"code": -1102, "msg": "no"}'


@dataclass(slots=True)
class Listener:
    """Takes connections when told."""

    socket: socket.socket
    peers: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def accept(self) -> socket.socket:
        self.socket.settimeout(5)
        peer, _ = self.socket.accept()
        peer.settimeout(5)
        self.peers.append(peer)
        return peer

    def has_connection(self) -> bool:
        self.socket.settimeout(0)
        try:
            peer, _ = self.socket.accept()
        except BlockingIOError:
            return False
        self.peers.append(peer)
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Listener(server)
        yield made
        for peer in made.peers:
            peer.close()


@pytest.fixture
def at_listener(open_gateway_at: Callable[..., BinanceUsdmGateway], listener: Listener) -> BinanceUsdmGateway:
    return open_gateway_at(listener.address)


class Recorder:
    """A fence that notes when it was entered and left, and does something at both."""

    def __init__(
        self,
        *,
        at_entry: Callable[[], None] = lambda: None,
        at_exit: Callable[[], None] = lambda: None,
        seconds: float = 10,
    ) -> None:
        self.entered = self.left = 0
        self.at_entry, self.at_exit, self.seconds = at_entry, at_exit, seconds

    @contextmanager
    def __call__(self) -> Iterator[float]:
        self.entered += 1
        self.at_entry()
        try:
            yield monotonic() + self.seconds
        finally:
            self.at_exit()
            self.left += 1


def refuse() -> None:
    raise NotPermitted("STATE_HALTED")


def test_the_connection_is_made_before_and_every_byte_is_written_within(
    listener: Listener, at_listener: BinanceUsdmGateway
) -> None:
    seen: list[bytes] = []

    def see_connection_without_bytes() -> None:
        peer = listener.accept()
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)

    def see_whole_request_and_answer() -> None:
        peer = listener.peers[0]
        peer.settimeout(5)
        seen.append(peer.recv(65536))
        peer.sendall(REFUSAL)

    fence = Recorder(at_entry=see_connection_without_bytes, at_exit=see_whole_request_and_answer)
    outcome = at_listener.submit_order(ORDER, fence=fence)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, "-1102")
    assert (fence.entered, fence.left) == (1, 1)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /fapi/v1/order HTTP/1.1\r\n")
    assert f"newClientOrderId={ORDER.client_order_id}".encode() in body
    assert f"Content-Length: {len(body)}".encode() in head


def test_what_the_fence_refuses_was_never_sent(listener: Listener, at_listener: BinanceUsdmGateway) -> None:
    outcome = at_listener.submit_order(ORDER, fence=Recorder(at_entry=refuse))
    assert (outcome.kind, outcome.code) == (OutcomeKind.RETRY_SAFE, FENCED)
    assert "STATE_HALTED" in outcome.text
    # The connection was made for it, was given up, and nothing ever came over it.
    assert listener.accept().recv(1) == b""
    assert not listener.has_connection()


def test_a_process_that_was_paused_writes_nothing(
    listener: Listener, at_listener: BinanceUsdmGateway
) -> None:
    fence = Recorder(seconds=-0.001)
    outcome = at_listener.submit_order(ORDER, fence=fence)
    assert (outcome.kind, outcome.code, fence.left) == (OutcomeKind.RETRY_SAFE, FENCED, 1)
    assert listener.accept().recv(1) == b""


def test_a_connection_that_cannot_be_made_takes_no_fence(
    at_listener: BinanceUsdmGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_ever(*_: Any, **__: Any) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr(urllib3_connection, "create_connection", wait_for_ever)
    fence = Recorder()
    outcome = at_listener.submit_order(ORDER, fence=fence)
    assert (outcome.kind, outcome.code) == (OutcomeKind.RETRY_SAFE, "")
    assert fence.entered == 0


def test_tls_is_agreed_on_before_the_fence(
    open_gateway_at: Callable[..., BinanceUsdmGateway], listener: Listener
) -> None:
    def speak_plainly() -> None:
        peer = listener.accept()
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.close()

    thread = threading.Thread(target=speak_plainly)
    thread.start()
    fence = Recorder()
    gateway = open_gateway_at(listener.address.replace("http:", "https:"))
    assert gateway.submit_order(ORDER, fence=fence).kind is OutcomeKind.UNKNOWN
    assert fence.entered == 0
    thread.join()


def answer_one(peer: socket.socket) -> None:
    peer.recv(65536)
    peer.sendall(REFUSAL)


def test_a_kept_connection_that_dies_at_the_request_is_not_written_to_again(
    listener: Listener, at_listener: BinanceUsdmGateway
) -> None:
    def answer_then_hang_up() -> None:
        peer = listener.accept()
        answer_one(peer)
        peer.recv(65536)
        peer.close()

    thread = threading.Thread(target=answer_then_hang_up)
    thread.start()
    assert at_listener.submit_order(ORDER).kind is OutcomeKind.REJECTED
    fence = Recorder()
    assert at_listener.submit_order(ORDER, fence=fence).kind is OutcomeKind.UNKNOWN
    assert (fence.entered, fence.left) == (1, 1)
    assert not listener.has_connection()
    thread.join()


def test_a_kept_connection_that_was_closed_is_made_anew_before_the_fence(
    listener: Listener, at_listener: BinanceUsdmGateway
) -> None:
    def answer_and_hang_up() -> None:
        peer = listener.accept()
        answer_one(peer)
        peer.close()

    first = threading.Thread(target=answer_and_hang_up)
    first.start()
    assert at_listener.submit_order(ORDER).kind is OutcomeKind.REJECTED
    first.join()

    def answer() -> None:
        answer_one(listener.peers[1])

    fence = Recorder(at_entry=lambda: listener.peers.append(listener.socket.accept()[0]), at_exit=answer)
    assert at_listener.submit_order(ORDER, fence=fence).kind is OutcomeKind.REJECTED
    assert fence.entered == 1


def test_a_write_that_blocks_is_given_up_and_unknown(
    listener: Listener, at_listener: BinanceUsdmGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers so small, and nobody reading, that a request does not fit."""
    real = urllib3_connection.create_connection

    def connect_narrowly(*arguments: Any, **options: Any) -> socket.socket:
        made = real(*arguments, **options)
        made.setblocking(False)
        try:
            while True:
                made.send(b"x" * 65536)
        except BlockingIOError:
            made.settimeout(1)
        return made

    monkeypatch.setattr(urllib3_connection, "create_connection", connect_narrowly)
    fence = Recorder(seconds=0.05)
    assert at_listener.submit_order(ORDER, fence=fence).kind is OutcomeKind.UNKNOWN
    assert (fence.entered, fence.left) == (1, 1)


def test_reads_and_cancels_take_no_fence(canned: Any, gateway: BinanceUsdmGateway) -> None:
    canned.put("POST", "/fapi/v1/order", {"code": -1021, "msg": "time"}, status=400)
    canned.put("GET", "/fapi/v1/time", {"serverTime": 1})
    fence = Recorder()
    # The refusal for its time stamp has the clock measured anew, outside of the fence.
    assert gateway.submit_order(ORDER, fence=fence).kind is OutcomeKind.RETRY_SAFE
    assert [asked.path for asked in canned.asked] == ["/fapi/v1/order", "/fapi/v1/time"]
    gateway.cancel_order("BTCUSDT", "any", conditional=False)
    gateway.fetch_server_time()
    assert fence.entered == 1
    assert len(canned.asked) == 4
