"""The HTTP server of a simulated venue: 127.0.0.1 only, keep-alive, one thread per connection."""

import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from trading.simulator import admin, binanceusdm
from trading.simulator.faults import AFTER, Fault
from trading.simulator.venue import SimulatedVenue
from trading.simulator.wire import Answer, Request, json_answer

DIALECTS: dict[str, Callable[[SimulatedVenue, Request], Answer]] = {"binanceusdm": binanceusdm.handle}
KEY_HEADER = "x-mbx-apikey"
TICK_SECONDS = 0.1
_MAX_BODY = 1_000_000


class VenueServer:
    """A running venue: `address` until `stop()`."""

    def __init__(self, venue: SimulatedVenue, *, dialect: str = "binanceusdm", port: int = 0) -> None:
        """Bind and start; raises OSError if the port is taken."""
        self.venue = venue
        self.stopping = threading.Event()
        self.ended = threading.Event()
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.venue, self._http.answer, self._http.stopping = venue, DIALECTS[dialect], self.stopping
        self._threads = [
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
            threading.Thread(target=self._tick, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def _tick(self) -> None:
        """Keep time; without it no timer fires and nothing is saved, so that its failure ends the venue."""
        try:
            while not self.stopping.wait(TICK_SECONDS):
                self.venue.tick()
        finally:
            self.ended.set()

    def stop(self) -> None:
        """Stop answering and write the last snapshot."""
        self.stopping.set()
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        for thread in self._threads:
            thread.join(timeout=10)
        self.venue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    venue: SimulatedVenue
    answer: Callable[[SimulatedVenue, Request], Answer]
    stopping: threading.Event

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without the look-up of a host name that the base class makes."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        if isinstance(request, socket.socket):
            self._connections.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: object) -> None:
        if isinstance(request, socket.socket):
            self._connections.discard(request)
        super().shutdown_request(request)  # type: ignore[arg-type]

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._connections.discard(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event; anything else is reported as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """No access log: /_sim/requests has it."""

    def _serve(self) -> None:
        request = self._read()
        if request is None:
            self._send(
                json_answer({"code": -1000, "msg": "Body too large, or of unknown length."}, status=413)
            )
            return
        if request.path.startswith(admin.PREFIX):
            self._send(admin.handle(self.server.venue, request))
            return
        struck = self.server.venue.faults.strike(request.method, request.path)
        account = self.server.venue.account_of(request.headers.get(KEY_HEADER, ""))
        answer = self._before(struck) or self.server.answer(account, request)
        answer_or_none = self._after(struck, answer)
        self._record(request, answer, struck)
        if answer_or_none is None:
            self.close_connection = True
            return
        self._send(answer_or_none)

    def _read(self) -> Request | None:
        parts = urlsplit(self.path)
        stated = self.headers.get("Content-Length", "0")
        length = int(stated) if stated.isascii() and stated.isdigit() else _MAX_BODY + 1
        if length > _MAX_BODY:
            self.close_connection = True
            return None
        body = self.rfile.read(length).decode("utf-8", "replace") if length else ""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(method=self.command, path=parts.path, query=parts.query, body=body, headers=headers)

    def _before(self, struck: list[Fault]) -> Answer | None:
        """Wait out delays; the answer of a fault that keeps the request from the venue."""
        for fault in struck:
            if fault.kind in ("delay", "hang"):
                self.server.stopping.wait(fault.seconds)
        for fault in struck:
            if fault.kind == "error_before":
                return _fault_answer(fault)
            if fault.kind == "rate_limited":
                return json_answer(
                    {"code": fault.code or -1003, "msg": fault.text or "Too many requests."},
                    status=fault.status,
                    headers={"Retry-After": str(fault.retry_after)},
                )
            if fault.kind == "hang":
                return Answer(status=0, body=b"")
        return None

    def _after(self, struck: list[Fault], answer: Answer) -> Answer | None:
        """The answer to send instead of the venue's; None sends nothing and closes."""
        if answer.status == 0:
            return None
        for fault in struck:
            if fault.kind in AFTER:
                if fault.kind == "lost_answer":
                    return None
                return _fault_answer(fault) if fault.kind == "error_after" else json_answer({})
        return answer

    def _record(self, request: Request, answer: Answer, struck: list[Fault]) -> None:
        params = dict(parse_qsl(request.query) + parse_qsl(request.body))
        for secret in ("signature", "timestamp", "recvWindow"):
            params.pop(secret, None)
        self.server.venue.record_request(
            {
                "wall_ms": self.server.venue.clock.wall_ms(),
                "method": request.method,
                "path": request.path,
                "params": params,
                "status": answer.status,
                "faults": [fault.kind for fault in struck],
            }
        )

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status, _reason(answer.status))
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _fault_answer(fault: Fault) -> Answer:
    if fault.code:
        body = {
            "code": fault.code,
            "msg": fault.text or "Unknown error, please check your request or try again later.",
        }
        return json_answer(body, status=fault.status)
    return Answer(status=fault.status, body=fault.text.encode(), content_type="text/plain")
