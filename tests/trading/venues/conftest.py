"""Two venues to talk to: one that says what it is told to say, and the simulated one."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from trading.core.values import Environment
from trading.simulator.clock import ManualClock, system_ms
from trading.simulator.generator import GeneratedFeed
from trading.simulator.server import VenueServer
from trading.simulator.venue import Credentials, SimulatedVenue, open_venue
from trading.venues.binanceusdm import BinanceUsdmGateway
from trading.venues.ccxt_client import VenueClient
from trading.venues.keys import ApiKeys

KEYS = ApiKeys(key="key-of-the-tests", secret="secret-of-the-tests")
RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "venue_answers" / "binanceusdm"
HOSTS = ("fapi.binance.com", "api.binance.com", "demo-fapi.binance.com")
ANCHOR_MS = 1_749_556_800_000  # 2025-06-10 12:00 UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    params: dict[str, str]
    key: str


@dataclass(slots=True)
class CannedVenue:
    """Answers each path with what was put there; the last answer of a path repeats."""

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[tuple[str, str], deque[tuple[int, bytes, dict[str, str]]]] = field(default_factory=dict)

    def put(
        self, method: str, path: str, answer: Any, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.answers.setdefault((method, path), deque()).append((status, body, headers or {}))

    def take(self, method: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        found = self.answers.get((method, path))
        if not found:
            return 404, b"<html>nothing here</html>", {"Content-Type": "text/html"}
        return found.popleft() if len(found) > 1 else found[0]

    def last(self, path: str) -> Asked:
        return [asked for asked in self.asked if asked.path == path][-1]


@pytest.fixture
def canned() -> Iterator[CannedVenue]:
    venue = CannedVenue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            params = dict(parse_qsl(parts.query) + parse_qsl(body))
            key = self.headers.get("X-MBX-APIKEY", "")
            venue.asked.append(Asked(method=self.command, path=parts.path, params=params, key=key))
            status, content, headers = venue.take(self.command, parts.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 - the base class calls them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    venue.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield venue
    server.shutdown()
    server.server_close()
    thread.join()


def connect(
    address: str, *, environment: Environment = Environment.PAPER, keys: ApiKeys = KEYS
) -> BinanceUsdmGateway:
    client = VenueClient(
        venue="binanceusdm",
        environment=environment,
        keys=keys,
        redirects=dict.fromkeys(HOSTS, address),
    )
    return BinanceUsdmGateway(client)


@pytest.fixture
def open_gateway_at() -> Callable[..., BinanceUsdmGateway]:
    return connect


@pytest.fixture
def gateway(canned: CannedVenue) -> BinanceUsdmGateway:
    return connect(canned.address)


@pytest.fixture
def keys() -> ApiKeys:
    return KEYS


@pytest.fixture
def recorded() -> Callable[[str], Any]:
    """A recorded answer of the venue by name; skips where the recordings are absent."""

    def load(name: str) -> Any:
        path = RECORDED / f"{name}.json"
        if not path.exists():
            pytest.skip(f"no recorded answers at {RECORDED}")
        return json.loads(path.read_text(encoding="utf-8"))

    return load


@dataclass(slots=True, kw_only=True)
class Simulated:
    """A simulated venue whose market time the test moves."""

    venue: SimulatedVenue
    clock: ManualClock
    address: str

    def fault(self, kind: str, **fields: Any) -> None:
        self.venue.faults.add({"kind": kind, **fields})

    def gap(self, symbol: str, percent: str) -> None:
        """Move every price of a symbol and let the mark price follow."""
        self.venue.execute("gap", symbol=symbol, ratio=str(Decimal(percent) / 100), seconds=0)
        self.pass_seconds(60)

    def pass_seconds(self, seconds: int) -> None:
        self.clock.market += seconds * 1000
        self.venue.tick()

    def requests_to(self, method: str, path: str) -> int:
        return sum(entry["method"] == method and entry["path"] == path for entry in self.venue.requests)


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    clock = ManualClock(market=ANCHOR_MS, wall=system_ms())
    venue = open_venue(
        feed=GeneratedFeed(7),
        clock=_Walking(clock),
        credentials=Credentials(key=KEYS.key, secret=KEYS.secret),
        balance=Decimal(1100),
    )
    with VenueServer(venue) as server:
        yield Simulated(venue=venue, clock=clock, address=server.address)


@dataclass(frozen=True, slots=True)
class _Walking:
    """Market time as the test moves it, wall time as it is (signatures are checked against it)."""

    manual: ManualClock

    @property
    def speed(self) -> int:
        return self.manual.speed

    def market_ms(self) -> int:
        return self.manual.market

    def wall_ms(self) -> int:
        return system_ms()
