"""Append-only tables whose rows are sealed into the chain by batch.

An app names its streams in `audit_streams.py`:
`STREAMS = (Stream(name="fills", table="trading_fill", columns=("id", "order_id", …)),)`.
The first column is the id: a bigint from a sequence, so that ids are handed out in rising order.
Columns may be added later; each seal remembers the ones it digested.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from django.apps import apps
from django.db.backends.utils import CursorWrapper
from psycopg import sql

IdRange = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One append-only table and the columns that are sealed, the id first."""

    name: str
    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRows:
    """Rows that come with an event each: SQL for the subject ids of the rows, one a row, as text."""

    action: str
    subjects: str


@lru_cache(maxsize=1)
def get_registered_streams() -> tuple[Stream, ...]:
    """Return the streams of every installed app, by name."""
    streams = [stream for module in _list_modules() for stream in module.STREAMS]
    return tuple(sorted(streams, key=lambda stream: stream.name))


@lru_cache(maxsize=1)
def get_registered_guards() -> tuple[tuple[str, str], ...]:
    """Return (table, trigger) of what an app guards besides its streams: its `GUARDS`."""
    return tuple(guard for module in _list_modules() for guard in getattr(module, "GUARDS", ()))


@lru_cache(maxsize=1)
def get_registered_event_rows() -> tuple[EventRows, ...]:
    """Return what the apps name in `EVENT_ROWS`."""
    return tuple(rows for module in _list_modules() for rows in getattr(module, "EVENT_ROWS", ()))


def _list_modules() -> list[ModuleType]:
    names = [f"{config.name}.audit_streams" for config in apps.get_app_configs()]
    return [import_module(name) for name in names if find_spec(name) is not None]


def row_expression(columns: Iterable[str]) -> sql.Composed:
    """Return SQL for a row's text: a JSON array of its columns' texts (see `pin_text_form`)."""
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)
    return sql.SQL("jsonb_build_array({})::text").format(texts)


def pin_text_form(cursor: CursorWrapper) -> None:
    """Make the texts of times, durations and bytes the same in every session, for this transaction."""
    cursor.execute(
        "SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true),"
        " set_config('IntervalStyle', 'iso_8601', true), set_config('bytea_output', 'hex', true),"
        " set_config('extra_float_digits', '1', true)"
    )


def digest_expression(rows: sql.Composable) -> sql.Composed:
    """Return SQL for (digest, count) of a sub-query of (id, row); its first parameter is the stream."""
    return sql.SQL(
        r"""
        SELECT encode(sha256('\x61756469742d7365616c2d763100'::bytea || convert_to(
            %s || E'\n' || string_agg(row || E'\n', '' ORDER BY id), 'UTF8')), 'hex'), count(*)
        FROM ({rows}) AS rows
        """
    ).format(rows=rows)


def ranges_literal(ranges: Iterable[IdRange]) -> str:
    """Return ids as PostgreSQL writes a set of ranges, {[1,5],[7,7]}."""
    return "{" + ",".join(f"[{first},{last}]" for first, last in ranges) + "}"


def merge_ranges(ranges: Iterable[IdRange]) -> list[IdRange]:
    """Return the same ids in rising order as few ranges as possible."""
    merged: list[IdRange] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
