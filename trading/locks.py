"""Session-level advisory locks: one worker at a time on a symbol, one reconciliation per venue account.

They belong to the database connection, so that a killed process frees them at once, and are held
across requests to the venue, which no transaction may be. They nest within one connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import InterfaceError, OperationalError, connection
from psycopg.errors import LockNotAvailable

from controlplane.errors import Unavailable
from trading import models

# A request to a venue takes at most three seconds; whoever holds the lock is done soon after.
PATIENCE = timedelta(seconds=10)


class LockBusy(Unavailable):
    """Another worker is busy with the same thing."""

    code = "lock_busy"


def symbol_key(venue_account: models.VenueAccount, symbol: str) -> str:
    """Held by whoever sends, settles or protects on the symbol."""
    return f"orders:{venue_account.pk}:{symbol}"


def reconciliation_key(venue_account: models.VenueAccount) -> str:
    return f"reconciliation:{venue_account.pk}"


@contextmanager
def hold(key: str, *, patience: timedelta) -> Iterator[None]:
    """Hold the lock, waiting for at most `patience`; raises LockBusy."""
    _wait_for(key, patience)
    try:
        yield
    finally:
        _release(key)


@contextmanager
def try_hold(key: str) -> Iterator[bool]:
    """Hold the lock if it is free; yields whether it is held."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key])
        (is_held,) = cursor.fetchone()
    try:
        yield is_held
    finally:
        if is_held:
            _release(key)


def _wait_for(key: str, patience: timedelta) -> None:
    milliseconds = max(1, patience // timedelta(milliseconds=1))
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{milliseconds}ms"])
        try:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise LockBusy(f"{key}: another worker is busy with it") from error
            raise
        finally:
            if connection.connection is not None and not connection.connection.closed:
                cursor.execute("SELECT set_config('lock_timeout', '0', false)")


def _release(key: str) -> None:
    """A connection that was lost has released already; then only our end of it is left to close."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])
    except (OperationalError, InterfaceError):
        connection.close()
