"""Local receivers of alerts."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

PATIENCE = 20.0


@dataclass
class Receiver:
    """Takes what is posted to it; answers `status`, and while `hanging` nothing."""

    url: str = ""
    status: int = 200
    received: list[dict[str, str]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    is_free: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self.is_free.clear()
        try:
            yield
        finally:
            self.is_free.set()

    def wait_for(self, number: int) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.received) >= number, timeout=PATIENCE)


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_POST(self) -> None:
        state = self.server.state
        body = self.rfile.read(int(self.headers["Content-Length"]))
        state.is_free.wait(PATIENCE)
        if state.status == 200:
            with state.arrived:
                state.received.append(json.loads(body))
                state.arrived.notify_all()
        self.answer(state.status)

    def do_GET(self) -> None:
        self.server.state.received.append({"path": self.path})
        self.answer(self.server.state.status)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    state: Receiver


def serve() -> Iterator[Receiver]:
    state = Receiver()
    state.is_free.set()
    server = Server(("127.0.0.1", 0), Handler)
    server.state = state
    state.url = f"json://someone:opensesame77@127.0.0.1:{server.server_port}/hooks/T0KENT0KEN"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from serve()


@pytest.fixture
def second_receiver() -> Iterator[Receiver]:
    yield from serve()


@pytest.fixture(autouse=True)
def no_second_line(settings):
    settings.ALERT_ESCALATION_URLS = []
