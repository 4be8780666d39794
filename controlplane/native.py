"""Statements of the hot paths, run by the driver itself: prepared, bound at the server.

They take part in the connection's transaction like any other; Django's cursor would bind in the
client and plan every statement anew.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, connection

# From the first time on; Django switches preparing off for its connections.
PREPARE_FROM = 0
PLACE = re.compile(r"%\((\w+)\)s|%%")


def run_native(statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """Run one statement with places like `%(name)s` and return its rows; database errors are Django's."""
    connection.close_if_health_check_failed()
    return _run(statement, parameters)


def read_first(statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """The same for the read that a request begins with: it stands for the health check of the connection.

    Where the kept connection has died meanwhile, the read is made again on a new one. Reads only: of a
    write nobody could tell whether it was done.
    """
    kept: Any = connection
    if kept.connection is None or kept.in_atomic_block or kept.health_check_done:
        return run_native(statement, parameters)
    try:
        rows = _run(statement, parameters)
    except (OperationalError, InterfaceError):
        kept.close()
        return run_native(statement, parameters)
    kept.health_check_done = True
    return rows


def _run(statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    text, names = _number_places(statement)
    connection.ensure_connection()
    # Django's own cursors bind in the client, and are never prepared.
    connection.connection.prepare_threshold = PREPARE_FROM
    with connection.wrap_database_errors, psycopg.RawCursor(connection.connection) as cursor:
        cursor.execute(text, [parameters[name] for name in names], prepare=True)
        return cursor.fetchall()


def as_array(items: Iterable[str | int]) -> str:
    """An array as the server reads it, of numbers, names or times; the driver is slow with lists."""
    return "{" + ",".join(map(str, items)) + "}"


@lru_cache(maxsize=256)
def _number_places(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """The statement as the server reads it (`$1`), once: the driver would translate a long one each time."""
    names: list[str] = []

    def number(place: re.Match[str]) -> str:
        name = place[1]
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return PLACE.sub(number, statement).encode(), tuple(names)
