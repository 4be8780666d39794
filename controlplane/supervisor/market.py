"""The supervisor's own use of the database: market time runs only while it says that the desk is up."""

import os
import threading
from collections.abc import Callable, Mapping

from controlplane.desk import DeskError
from controlplane.supervisor.options import Market

TOUCH_SECONDS = 1.0


class MarketClockKeeper:
    """Starts market time, stamps it every second from a thread of its own, and pauses it at the end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def connect(self, environment: Mapping[str, str]) -> None:
        """Load Django in this process with the application's role."""
        os.environ.update(environment)
        import django

        django.setup()

    def needs_migration(self) -> bool:
        """Whether there is anything to migrate: asking is quicker than doing nothing in a process."""
        from django.db import connection
        from django.db.migrations.executor import MigrationExecutor

        executor = MigrationExecutor(connection)
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))

    def check_database(self) -> None:
        """Refuse a database whose guards are not whole, or that may lose a commit."""
        from django.core.checks import ERROR, run_checks

        errors = [found for found in run_checks(databases=["default"]) if found.is_serious(ERROR)]
        if errors:
            raise DeskError(
                f"{errors[0].id}: {errors[0].msg} ({len(errors)} found by `check --database default`)"
            )

    def start(self, market: Market, *, speed: int) -> None:
        from trading.services import AnotherCandleSet, start_market_clock

        try:
            start_market_clock(anchor_at=market.starts_at, speed=speed, candle_set=market.candle_set)
        except AnotherCandleSet as refusal:
            raise DeskError(refusal.message) from refusal
        self._thread = threading.Thread(target=self._touch, name="market-clock", daemon=True)
        self._thread.start()

    def _touch(self) -> None:
        from django.db import DatabaseError, connection

        from trading.services import touch_market_clock

        while not self._ending.wait(TOUCH_SECONDS):
            try:
                touch_market_clock()
            except DatabaseError as error:
                # Market time stands still while the database is away; it is asked again in a second.
                self._say(f"market clock: {str(error).strip().splitlines()[-1]}")
                connection.close()
        connection.close()

    def pause(self) -> None:
        """Stop market time here; may be called twice, and without a database."""
        if self._thread is None:
            return
        from django.db import DatabaseError, connection

        from trading.services import pause_market_clock

        self._ending.set()
        self._thread.join()
        self._thread = None
        try:
            pause_market_clock()
        except DatabaseError as error:
            self._say(f"market clock: not paused: {error}")
        connection.close()
