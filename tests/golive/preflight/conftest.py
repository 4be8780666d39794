"""A web server that says what it is told to say, and a receiver of alerts."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from golive.core.values import Purpose
from golive.preflight.context import Context
from tests.alerts.conftest import receiver  # noqa: F401
from tests.trading.conftest import desk  # noqa: F401

GOLIVE = Context(purpose=Purpose.GOLIVE)
REARM = Context(purpose=Purpose.REARM)


@dataclass(slots=True)
class Web:
    """Answers each path with (status, body); a path in `silent` is accepted and never answered."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)

    def be_healthy(self) -> None:
        self.answers["/health/live"] = (200, b'{"status":"ok"}')
        self.answers["/health/ready"] = (200, b'{"status":"ready"}')


@pytest.fixture
def web(settings: Any) -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in state.silent:
                state.released.wait(30)
                return
            status, body = state.answers.get(self.path, (404, b"<h1>nothing</h1>"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    settings.WEB_URL = state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def reasons(measured: Any) -> list[str]:
    return [finding.reason for finding in measured.findings]
