"""Databases of their own for benchmarks, and the environment that their processes need.

`DATABASE_OWNER_URL`, `DATABASE_URL` and `REDIS_URL` name servers that may be used; where they are not
set, servers are started for this run as the tests' are.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from controlplane.desk import load_secrets, make_state_dir
from controlplane.embedded import Postgres, Valkey, choose_place
from controlplane.testing import make_environment

ADMIN = "postgres"
VARIABLES = ("DATABASE_URL", "DATABASE_OWNER_URL")


@contextmanager
def servers() -> Iterator[None]:
    """The servers that the environment names, or new ones with their durable settings."""
    if "DATABASE_OWNER_URL" in os.environ:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
        yield
        return
    state_dir = Path(tempfile.mkdtemp(prefix="cp-bench-"))
    make_state_dir(state_dir)
    place = choose_place(state_dir)
    postgres, valkey = Postgres(place, load_secrets(state_dir)), Valkey(place)
    try:
        valkey.start()
        postgres.start()
        postgres.ensure_database()
        os.environ.update(make_environment(state_dir, postgres, valkey))
        yield
    finally:
        postgres.stop()
        valkey.stop()
        place.remove_sockets()
        shutil.rmtree(state_dir, ignore_errors=True)


@contextmanager
def own_database(name: str) -> Iterator[str]:
    """A migrated database that lives for this run; Django is set up on it. Yields its name."""
    with servers():
        made = f"{database_of(os.environ['DATABASE_URL'])}_bench_{name}"
        recreate(made, template="template1")
        for variable in VARIABLES:
            os.environ[variable] = with_database(os.environ[variable], made)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", database="owner", verbosity=0, interactive=False)
        try:
            yield made
        finally:
            connections.close_all()
            drop(made)


def recreate(name: str, *, template: str) -> None:
    drop(name)
    with admin_connection() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )


def drop(name: str) -> None:
    with admin_connection() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def admin_connection() -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(with_database(os.environ["DATABASE_OWNER_URL"], ADMIN), autocommit=True)


def owner_connection() -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True)


def app_connection() -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


def settle() -> None:
    """Statistics and visibility, as the server's own housekeeping makes them in time."""
    with owner_connection() as connection:
        connection.execute("VACUUM ANALYZE")


def with_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def database_of(url: str) -> str:
    return urlsplit(url).path.lstrip("/")
