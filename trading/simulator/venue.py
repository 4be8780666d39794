"""The shell around the engine: one lock, the clock, the journal, limits, faults and what is configured.

A venue has one account, and may have more with books and money of their own (`add_account`): they share
its prices, its clock, its limits and its faults, and are told apart by their keys.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trading.simulator.clock import Clock
from trading.simulator.engine import Engine
from trading.simulator.faults import Faults
from trading.simulator.feed import Feed
from trading.simulator.limits import RateLimiter
from trading.simulator.store import Store, StoreError

_SNAPSHOT_EVERY_MS = 20_000
_KEPT_REQUESTS = 2_000
_TOLERATED_STEP_BACK_S = 120
# What happens to prices happens to every account of the venue.
OF_THE_MARKET = frozenset({"gap", "clear_gaps", "freeze"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The one API key the venue knows."""

    key: str
    secret: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class KeyPermissions:
    """What the API-restrictions endpoint says about the key; `absent` answers 404, as demo hosts do."""

    absent: bool = False
    withdrawals: bool = False
    internal_transfer: bool = False
    universal_transfer: bool = False
    futures: bool = True
    ip_restricted: bool = True


class SimulatedVenue:
    """One account at a venue, with the others there. Public methods are safe to call from many threads."""

    def __init__(
        self, engine: Engine, clock: Clock, credentials: Credentials, store: Store | None = None
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.credentials = credentials
        self.permissions = KeyPermissions()
        self.limiter = RateLimiter()
        self.faults = Faults()
        # What a dead-man timer does to conditional orders no page of the venue says: a probe must show it.
        self.timer_spares_conditionals = False
        # Announced delistings, symbol to market time in ms; like permissions they are not journaled.
        self.delistings: dict[str, int] = {}
        self.others: dict[str, SimulatedVenue] = {}
        self.requests: deque[dict[str, Any]] = deque(maxlen=_KEPT_REQUESTS)
        self.request_count = 0
        self._store = store
        self._lock = threading.RLock()
        self._saved_at_ms = clock.wall_ms()
        self._lost: OSError | None = None

    def add_account(self, other: "SimulatedVenue") -> None:
        """Let another account trade here; before the venue answers anything."""
        other.limiter, other.faults, other.delistings = self.limiter, self.faults, self.delistings
        self.others[other.credentials.key] = other

    def account_of(self, key: str) -> "SimulatedVenue":
        """The account that an API key belongs to; the first for any key that is not another's."""
        return self.others.get(key, self)

    @contextmanager
    def at_now(self) -> Iterator[Engine]:
        """The engine, advanced to the present and held for the caller alone."""
        with self._lock:
            if self._lost is not None:
                raise self._lost
            self.engine.advance(self.clock.market_ms())
            yield self.engine

    def execute(self, name: str, **arguments: Any) -> Any:
        """Apply a command now and journal it; a refused one leaves nothing behind."""
        with self.at_now() as engine:
            at_ms = engine.state.now_ms
            result = engine.apply(name, arguments)
            if self._store is not None:
                self._journal(self._store, at_ms, name, arguments)
        if name in OF_THE_MARKET:
            for other in self.others.values():
                other.execute(name, **arguments)
        return result

    def _journal(self, store: Store, at_ms: int, name: str, arguments: dict[str, Any]) -> None:
        """Journal what was applied; where that fails nothing is answered any more, and the venue ends."""
        try:
            store.append(at_ms, name, arguments)
        except OSError as error:
            self._lost = error
            raise

    def server_ms(self) -> int:
        """The venue's server time: wall time, and the drift that is set."""
        return self.clock.wall_ms() + self.faults.drift_ms

    def tick(self) -> None:
        """What happens between requests: prices move, dead-man timers fire, snapshots are written."""
        with self.at_now() as engine:
            wall_ms = self.clock.wall_ms()
            for symbol, deadline_ms in list(engine.state.countdowns.items()):
                if wall_ms >= deadline_ms:
                    self.execute("cancel_all", symbol=symbol)
                    if not self.timer_spares_conditionals:
                        self.execute("cancel_all_algos", symbol=symbol)
                    self.execute("set_countdown", symbol=symbol, deadline_ms=0)
        if wall_ms - self._saved_at_ms >= _SNAPSHOT_EVERY_MS:
            self.save()
        for other in self.others.values():
            other.tick()

    def save(self) -> None:
        """Write a snapshot, if there is a folder for it; requests wait for its making, not its writing."""
        with self._lock:
            self._saved_at_ms = self.clock.wall_ms()
            store = self._store
            snapshot = store.begin_snapshot(self.engine) if store is not None else None
        if store is not None and snapshot is not None:
            store.finish_snapshot(snapshot)

    def close(self) -> None:
        """Write a last snapshot and let the folder go; the other accounts' too."""
        for other in self.others.values():
            other.close()
        if self._lost is None:
            self.save()
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def record_request(self, entry: dict[str, Any]) -> None:
        """Keep what was asked, for tests and drills that count what reached the venue."""
        with self._lock:
            self.request_count += 1
            self.requests.append({"number": self.request_count, **entry})


def open_venue(
    *, feed: Feed, clock: Clock, credentials: Credentials, balance: Decimal, store: Store | None = None
) -> SimulatedVenue:
    """Resume the venue of a state folder, or start a new one.

    Raises:
        StoreError: the folder is for other candles, or the clock is far behind it.
    """
    engine = store.load(feed) if store is not None else None
    market_ms = clock.market_ms()
    if engine is None:
        engine = _started(feed, market_ms, balance)
    elif engine.state.now_ms - market_ms > _TOLERATED_STEP_BACK_S * 1000 * max(30, clock.speed):
        raise StoreError("the market clock is far behind the state that was saved; use a fresh folder")
    venue = SimulatedVenue(engine, clock, credentials, store)
    venue.save()
    return venue


def _started(feed: Feed, at_ms: int, balance: Decimal) -> Engine:
    for symbol in feed.symbols:
        if feed.bar(symbol, at_ms) is None:
            raise StoreError(f"market time {at_ms} ms lies outside the candles of {symbol}")
    return Engine.start(feed, at_ms=at_ms, balance=balance)
