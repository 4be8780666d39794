"""Connections of one's own, and what only the tables' owner can do: switch the guards off."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from psycopg import sql

BOTH_ROLES = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


def connect(alias: str = "default") -> "psycopg.Connection[tuple[object, ...]]":
    """A connection of one's own, in autocommit, as the application's role or the owner's."""
    facts = settings.DATABASES[alias]
    return psycopg.connect(
        dbname=facts["NAME"],
        user=facts["USER"],
        password=facts["PASSWORD"],
        host=facts["HOST"],
        port=facts["PORT"] or None,
        autocommit=True,
    )


@contextmanager
def as_owner(*tables: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """The owner's connection in one transaction, with the triggers of these tables off inside it."""
    with connect("owner") as owner, owner.transaction():
        triggers = [(table, name) for table in tables for name in always_triggers(owner, table)]
        for table, name in triggers:
            switch(owner, table, name, "DISABLE")
        yield owner
        owner.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, name in triggers:
            switch(owner, table, name, "ENABLE ALWAYS")


def always_triggers(owner: "psycopg.Connection[tuple[object, ...]]", table: str) -> list[str]:
    rows = owner.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled = 'A'", [table]
    ).fetchall()
    return [str(name) for (name,) in rows]


def switch(owner: "psycopg.Connection[tuple[object, ...]]", table: str, trigger: str, verb: str) -> None:
    owner.execute(
        sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(
            sql.Identifier(table), sql.SQL(verb), sql.Identifier(trigger)
        )
    )
