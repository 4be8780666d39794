"""Run one simulated venue on 127.0.0.1 until it is stopped."""

import signal
import threading
from argparse import ArgumentParser
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from controlplane.env import SettingError, env_str
from trading.simulator.candles import CandleError, load_candles
from trading.simulator.clock import Clock, SpeedClock, system_ms
from trading.simulator.feed import CandleFeed, Feed
from trading.simulator.generator import GeneratedFeed
from trading.simulator.server import DIALECTS, VenueServer
from trading.simulator.store import Store, StoreError
from trading.simulator.venue import Credentials, KeyPermissions, SimulatedVenue, open_venue

_REREAD_SECONDS = 2.0
_CLOCK_PATIENCE_SECONDS = 30.0


class Command(BaseCommand):
    help = "Runs a simulated venue on 127.0.0.1: a local exchange over candles, with its own money."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--venue", choices=sorted(DIALECTS), default="binanceusdm", help="which venue's API it speaks")
        add("--port", type=int, default=0, help="of 127.0.0.1; 0 takes a free one")
        add("--state-dir", type=Path, required=True, help="keeps the book across restarts")
        add("--candles", type=Path, help="folder of SYMBOL.csv.gz; without it candles are generated")
        add("--seed", type=int, default=1, help="of the generated candles")
        add("--balance", default="1100", help="USDT on the account at first start")
        add("--api-key", help="the key it accepts (default: BINANCE_API_KEY)")
        add("--api-secret", help="the secret it accepts (default: BINANCE_API_SECRET)")
        add(
            "--account",
            action="append",
            default=[],
            help="another account there, with keys of its own in BINANCE_API_KEY__ACCOUNT; may be repeated",
        )
        add("--anchor", help="market time at start, ISO 8601; without it the desk's market clock is followed")
        add("--speed", type=int, default=1, help="with --anchor: market seconds per second")
        add("--no-restrictions", action="store_true", help="answer 404 for key permissions, as demo hosts do")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._run(options)
        except (CandleError, StoreError, SettingError) as error:
            raise CommandError(str(error), returncode=2) from error

    def _run(self, options: dict[str, Any]) -> None:
        feed: Feed = GeneratedFeed(options["seed"])
        if options["candles"] is not None:
            feed = CandleFeed(load_candles(options["candles"]))
        clock, follower = _choose_clock(options)
        credentials = Credentials(
            key=options["api_key"] or env_str("BINANCE_API_KEY"),
            secret=options["api_secret"] or env_str("BINANCE_API_SECRET"),
        )
        balance = _read_balance(options["balance"])
        permissions = KeyPermissions(absent=options["no_restrictions"])
        with ExitStack() as stores:
            store = stores.enter_context(closing(Store(options["state_dir"])))
            venue = open_venue(feed=feed, clock=clock, credentials=credentials, balance=balance, store=store)
            venue.permissions = permissions
            for name in options["account"]:
                own = Store(options["state_dir"] / "accounts" / name)
                store = stores.enter_context(closing(own))
                other = open_venue(
                    feed=feed, clock=clock, credentials=_read_own_keys(name), balance=balance, store=store
                )
                other.permissions = permissions
                venue.add_account(other)
            self._serve(venue, options)
        if follower is not None:
            follower.stop()

    def _serve(self, venue: SimulatedVenue, options: dict[str, Any]) -> None:
        """Answer until a signal comes."""
        try:
            server = VenueServer(venue, dialect=options["venue"], port=options["port"])
        except (OSError, OverflowError) as error:
            message = f"--port: 127.0.0.1:{options['port']} cannot be used: {error}"
            raise CommandError(message, returncode=2) from error
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: server.stopping.set())
        with server:
            self.stdout.write(f"READY {server.address}")
            self.stdout.flush()
            server.ended.wait()
            if not server.stopping.is_set():
                raise CommandError("the venue could not go on", returncode=1)


def _read_own_keys(account: str) -> Credentials:
    """As the desk's gateway reads them; raises SettingError."""
    suffix = f"__{account.upper().replace('-', '_')}"
    return Credentials(key=env_str(f"BINANCE_API_KEY{suffix}"), secret=env_str(f"BINANCE_API_SECRET{suffix}"))


def _read_balance(text: str) -> Decimal:
    try:
        balance = Decimal(text)
    except InvalidOperation as error:
        raise CommandError(f"--balance: not a number: {text!r}", returncode=2) from error
    if not balance.is_finite() or balance < 0:
        raise CommandError(f"--balance: must not be negative: {text!r}", returncode=2)
    return balance


def _choose_clock(options: dict[str, Any]) -> tuple[Clock, "FollowedClock | None"]:
    if options["anchor"] is None:
        followed = FollowedClock()
        return followed, followed
    if options["speed"] < 1:
        raise CommandError("--speed: must be at least 1", returncode=2)
    try:
        anchor = datetime.fromisoformat(options["anchor"])
    except ValueError as error:
        raise CommandError(f"--anchor: not a time: {options['anchor']!r}", returncode=2) from error
    if anchor.tzinfo is None:
        anchor = anchor.replace(tzinfo=UTC)
    anchor_ms = int(anchor.timestamp() * 1000)
    return SpeedClock(anchor_ms=anchor_ms, started_ms=system_ms(), speed=options["speed"]), None


class FollowedClock:
    """The desk's market clock, read again every two seconds by a thread of its own.

    While the database is away the last reading goes on.
    """

    def __init__(self) -> None:
        """Wait for the clock to be there; raises CommandError if it is not."""
        self._ending = threading.Event()
        self._read_or_wait()
        self._thread = threading.Thread(target=self._follow, name="market-clock", daemon=True)
        self._thread.start()

    def _read_or_wait(self) -> None:
        from django.db import connection

        waited = 0.0
        while not self._read():
            if waited >= _CLOCK_PATIENCE_SECONDS:
                raise CommandError("there is no market clock: start the desk, or give --anchor", returncode=2)
            self._ending.wait(0.25)
            waited += 0.25
        connection.close()

    def _read(self) -> bool:
        from django.db import DatabaseError, connection

        from trading.selectors import get_clocks, get_market_clock

        try:
            found = get_market_clock()
            self._ahead = get_clocks().wall_at - datetime.now(UTC)
        except DatabaseError:
            connection.close()
            return False
        if found is not None:
            self._clock = found
        return found is not None

    def _follow(self) -> None:
        from django.db import connection

        while not self._ending.wait(_REREAD_SECONDS):
            self._read()
        connection.close()

    @property
    def speed(self) -> int:
        return self._clock.speed

    def market_ms(self) -> int:
        at = self._clock.now(datetime.now(UTC) + self._ahead)
        return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)

    def wall_ms(self) -> int:
        return system_ms()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(timeout=5)
