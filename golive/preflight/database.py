"""PostgreSQL: reachable, migrated, durable, and what was written can be read."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from golive import canaries
from golive.core.values import Finding
from golive.preflight.context import Details, first_line, restart

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
MIGRATE = "python3 manage.py migrate --database owner"
# What the driver says, in its own words.
CAUSES = {
    "could not translate host name": "database_dns",
    "failed to resolve host": "database_dns",
    "Connection refused": "database_refused",
    "No such file or directory": "database_refused",
    "timeout expired": "database_timeout",
    "connection timeout": "database_timeout",
    "password authentication failed": "database_auth",
    "does not exist": "database_absent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """`nonce` is the row that was written, for a worker to answer; None where none could be."""

    nonce: uuid.UUID | None
    details: Details
    findings: tuple[Finding, ...]


def measure_database() -> DatabaseFacts:
    try:
        durable = _read_durability()
        pending = list_pending_migrations()
        if pending:
            text = f"{len(pending)} wait: {', '.join(pending[:5])}"
            waiting = Finding(reason="migrations_pending", text=text, next=MIGRATE)
            return DatabaseFacts(nonce=None, details={"migrations_pending": pending}, findings=(waiting,))
        nonce = canaries.release_canary()
    except (DatabaseError, LookupError) as error:
        return DatabaseFacts(nonce=None, details={"reachable": False}, findings=(_describe(error),))
    findings = tuple(_judge_durability(durable))
    details: Details = {"write_read": "ok", "migrations": "applied", **durable}
    return DatabaseFacts(nonce=nonce, details=details, findings=findings)


def _describe(error: Exception) -> Finding:
    if isinstance(error, LookupError):
        reason = "database_write_lost"
    else:
        reason = next((code for words, code in CAUSES.items() if words in str(error)), "database_error")
    return Finding(reason=reason, text=first_line(error), next=restart("postgres"))


def _judge_durability(durable: Mapping[str, str]) -> Iterator[Finding]:
    for name in DURABLE:
        if durable.get(name) in {None, "off"}:
            yield Finding(
                reason="database_not_durable",
                text=f"{name} is {durable.get(name)}: an order could be sent and forgotten",
                next=f"psql \"$DATABASE_URL\" -c 'ALTER SYSTEM SET {name} = on'",
            )


def _read_durability() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABLE)])
        return dict(cursor.fetchall())


def list_pending_migrations() -> list[str]:
    """Migrations of this code that the database has not had."""
    loader = MigrationLoader(connection)
    pending = set(loader.disk_migrations) - set(loader.applied_migrations)
    return sorted(f"{app}.{name}" for app, name in pending)
