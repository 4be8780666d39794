"""System checks: does the database really guard the log? Run by `check --database default`."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from controlplane.audit.streams import get_registered_guards, get_registered_streams

OWN_TABLES = (
    "audit_auditevent",
    "audit_checkpoint",
    "audit_detachment",
    "audit_seal",
    "audit_segment",
    "audit_verification",
)
ALWAYS_TRIGGERS = (
    ("audit_auditevent", "audit_chain"),
    ("audit_audithead", "audit_head_forward"),
    ("audit_audithead", "audit_head_stays"),
    ("audit_audithead", "append_only_truncate"),
)


@register(Tags.database)
def check_append_only_tables(
    *, app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Triggers are there and always on; the application's role can neither change nor own the tables."""
    messages: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        tables = _append_only_tables(connection)
        if not tables:
            continue
        found = [*_check_triggers(connection), *_check_rights(connection, tables)]
        # A migration that waits may be the one that closes a table; `migrate` itself runs this check.
        if found and not _is_migration_pending(connection):
            messages += found
    return messages


def _is_migration_pending(connection: BaseDatabaseWrapper) -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _append_only_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """The tables that must be append-only and are migrated already; none before the first migration."""
    present = set(connection.introspection.table_names())
    if "audit_auditevent" not in present:
        return []
    wanted = [*OWN_TABLES, *(stream.table for stream in get_registered_streams())]
    return [table for table in wanted if table in present]


def list_wanted_triggers(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """Return (table, trigger) of every guard that must stand on the tables that are there."""
    tables, present = _append_only_tables(connection), set(connection.introspection.table_names())
    return {
        *ALWAYS_TRIGGERS,
        *((table, name) for table in tables for name in ("append_only_rows", "append_only_truncate")),
        *(guard for guard in get_registered_guards() if guard[0] in present),
    }


def _check_triggers(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    wanted = list_wanted_triggers(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = current_schema() AND t.tgenabled = 'A'"
        )
        found = set(cursor.fetchall())
    return [
        Error(
            f"{table}: trigger {name} is missing or not ENABLE ALWAYS",
            hint="Someone with the owner's rights changed it. Verify the log before restoring it.",
            id="audit.E001",
        )
        for table, name in sorted(wanted - found)
    ]


def _check_rights(connection: BaseDatabaseWrapper, tables: list[str]) -> list[CheckMessage]:
    role = str(settings.DATABASES["default"].get("USER", ""))
    messages: list[CheckMessage] = []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, o.rolname = r.rolname, r.rolsuper,
                   ARRAY(SELECT p FROM unnest(%s::text[]) AS p WHERE has_table_privilege(r.oid, c.oid, p))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_roles o ON o.oid = c.relowner, pg_roles r
            WHERE n.nspname = current_schema() AND c.relname = ANY(%s) AND r.rolname = %s
            ORDER BY c.relname
            """,
            [
                ["UPDATE", "DELETE", "TRUNCATE"],
                [*_closed_tables(connection, tables), "audit_audithead"],
                role,
            ],
        )
        for table, is_owner, is_superuser, rights in cursor.fetchall():
            if is_owner or is_superuser:
                messages.append(_same_role(table, role, "is a superuser" if is_superuser else "owns it"))
            elif rights:
                messages.append(
                    Error(
                        f"{table}: the application's role {role} may {', '.join(rights)}",
                        hint="`manage.py migrate --database owner --skip-checks` grants what is right.",
                        id="audit.E002",
                    )
                )
    return messages


def _closed_tables(connection: BaseDatabaseWrapper, tables: list[str]) -> list[str]:
    """Every append-only table: the log's, the streams', and those that an app guards as such."""
    wanted = list_wanted_triggers(connection)
    return sorted({*tables, *(table for table, trigger in wanted if trigger == "append_only_rows")})


def _same_role(table: str, role: str, why: str) -> CheckMessage:
    text = f"{table}: the application's role {role} {why} and could switch its guards off"
    hint = "Give DATABASE_URL a role of its own; DATABASE_OWNER_URL keeps the owner's."
    if settings.TRADING_ENVIRONMENT == "paper" and "owner" not in settings.DATABASES:
        return checks.Warning(text, hint=hint, id="audit.W003")
    return Error(text, hint=hint, id="audit.E003")
