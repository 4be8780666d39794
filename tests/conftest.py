"""The test database: made by the owner's role, used by the application's, as in production.

Every worker gets its own copy of one migrated template. A transactional test is cleaned up by
the owner, with the append-only triggers off inside that one transaction; nothing that ships can
turn them off.
"""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import TransactionTestCase
from psycopg import sql

from controlplane.celery import app
from controlplane.env import broker_from_url

TEMPLATE_LOCK = 7_405_001
NOWHERE = "redis://127.0.0.1:9/0"
MISSING = "DATABASE_OWNER_URL is not set; run the tests with `python3 manage.py test`"


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker a Redis database of its own, below the sixteen that a server has."""
    number = int(worker_name().removeprefix("gw") or 0) if worker_name().startswith("gw") else 0
    url = urlsplit(settings.REDIS_URL)
    redis_url = f"unix://{url.path}?db={number}" if url.scheme == "unix" else settings.REDIS_URL
    settings.REDIS_URL = os.environ["REDIS_URL"] = redis_url
    settings.CELERY_BROKER_URL = broker_from_url("REDIS_URL", redis_url)


def worker_name() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def owner_connection(database: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(with_database(os.environ["DATABASE_OWNER_URL"], database), autocommit=True)


def with_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """Replaces pytest-django's own: one template per run, one copy per worker."""
    if "owner" not in settings.DATABASES:
        pytest.exit(MISSING, returncode=2)
    base = settings.DATABASES["default"]["NAME"]
    template, name = f"test_{base}_template", f"test_{base}_{worker_name()}"
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        with owner_connection("postgres") as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [TEMPLATE_LOCK])
            ensure_template(connection, template)
            recreate(connection, name, template=template)
        point_to(name)
        remember_migrated_rows()
        yield
        close_connections()
        with owner_connection("postgres") as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def ensure_template(connection: "psycopg.Connection[tuple[object, ...]]", template: str) -> None:
    """Migrate the template once per run; the database's comment says which run made it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"pid {os.getpid()}")
    made_by = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [template]
    ).fetchone()
    if made_by == (run,):
        return
    recreate(connection, template, template="template1")
    point_to(template)
    call_command("migrate", database="owner", verbosity=0, interactive=False)
    close_connections()
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(template), sql.Literal(run))
    )


def recreate(connection: "psycopg.Connection[tuple[object, ...]]", name: str, *, template: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    )


def point_to(name: str) -> None:
    """Aim this process, and the processes that tests start, at one database."""
    close_connections()
    for alias, variable in (("default", "DATABASE_URL"), ("owner", "DATABASE_OWNER_URL")):
        settings.DATABASES[alias]["NAME"] = name
        connections[alias].settings_dict["NAME"] = name
        os.environ[variable] = with_database(os.environ[variable], name)


def close_connections() -> None:
    for alias in ("default", "owner"):
        connections[alias].close()


MIGRATED: dict[str, tuple[str, bytes]] = {}
"""Rows that migrations made, by table: their digest, and the rows as COPY gives them."""


def remember_migrated_rows() -> None:
    MIGRATED.clear()
    with owner_connection(settings.DATABASES["owner"]["NAME"]) as connection:
        for table, digest in table_digests(connection).items():
            with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
                MIGRATED[table] = (digest, b"".join(bytes(block) for block in copy))


def table_digests(connection: "psycopg.Connection[tuple[object, ...]]") -> dict[str, str]:
    """The digest of each table that holds rows."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    ).fetchall()
    parts = [
        sql.SQL(
            "SELECT {} AS name, md5(string_agg(t::text, '|' ORDER BY t::text)) AS digest FROM {} t"
        ).format(sql.Literal(table), sql.Identifier(str(table)))
        for (table,) in tables
    ]
    rows = connection.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall()
    return {str(name): str(digest) for name, digest in rows if digest is not None}


def restore_migrated_rows(self: TransactionTestCase) -> None:
    """Bring every table back to what the migrations left, as its owner."""
    for connection in connections.all(initialized_only=True):
        connection.close()
    with owner_connection(settings.DATABASES["owner"]["NAME"]) as connection:
        found = table_digests(connection)
        changed = [
            table
            for table in sorted(found.keys() | MIGRATED.keys())
            if found.get(table) != MIGRATED.get(table, (None,))[0]
        ]
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '20s'")
            # Foreign keys are set aside; the append-only triggers ignore this, and are set aside one by one.
            connection.execute("SET LOCAL session_replication_role = replica")
            for table in changed:
                rewrite(connection, table)


def rewrite(connection: "psycopg.Connection[tuple[object, ...]]", table: str) -> None:
    triggers = connection.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled = 'A'",
        [f'"{table}"'],
    ).fetchall()
    for (trigger,) in triggers:
        alter_trigger(connection, table, str(trigger), "DISABLE")
    connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    if rows := MIGRATED.get(table, ("", b""))[1]:
        with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
            copy.write(rows)
    for (trigger,) in triggers:
        alter_trigger(connection, table, str(trigger), "ENABLE ALWAYS")


def alter_trigger(
    connection: "psycopg.Connection[tuple[object, ...]]", table: str, trigger: str, verb: str
) -> None:
    connection.execute(
        sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(
            sql.Identifier(table), sql.SQL(verb), sql.Identifier(trigger)
        )
    )


@pytest.fixture
def no_redis(settings: Any) -> Iterator[None]:
    """Neither cache nor broker: nothing listens at the discard port of the loopback address."""
    address = app.conf.broker_url
    settings.REDIS_URL = settings.CELERY_BROKER_URL = NOWHERE
    connect_broker(NOWHERE)
    yield
    connect_broker(address)


def connect_broker(address: str) -> None:
    """The pools are made anew for another address."""
    app.conf.broker_url = address
    app._pool = app.amqp._producer_pool = None


TransactionTestCase._fixture_teardown = restore_migrated_rows  # type: ignore[method-assign]
