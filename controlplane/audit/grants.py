"""What the database role of the running application may do.

Ordinary tables: SELECT, INSERT, UPDATE, DELETE. Append-only tables (they carry the trigger
`append_only_rows`): SELECT, INSERT. The chain head and detachments: SELECT. Never TRUNCATE, never ownership.
"""

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

ORDINARY = "SELECT, INSERT, UPDATE, DELETE"
APPEND = "SELECT, INSERT"
READ = "SELECT"
READ_ONLY_TABLES = ("audit_audithead", "audit_detachment")


def get_app_role(connection: BaseDatabaseWrapper) -> str | None:
    """Return the application's role, or None when this connection already is that role.

    The name is the user of DATABASE_URL; it must exist in the cluster.
    """
    role = str(settings.DATABASES["default"].get("USER", ""))
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND rolname <> current_user", [role])
        return role if cursor.fetchone() else None


def grant_table(connection: BaseDatabaseWrapper, *, table: str, role: str, rights: str) -> None:
    """Leave the role exactly these rights on the table."""
    name, to = connection.ops.quote_name(table), connection.ops.quote_name(role)
    with connection.cursor() as cursor:
        cursor.execute(f"REVOKE ALL ON {name} FROM {to}")
        cursor.execute(f"GRANT {rights} ON {name} TO {to}")


def grant_app_role(*, using: str) -> None:
    """Grant the application's role what it needs on every table of the schema; may be repeated."""
    connection = connections[using]
    role = get_app_role(connection)
    if role is None:
        return
    to = connection.ops.quote_name(role)
    with transaction.atomic(using=using), connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        schema = cursor.fetchone()[0]
        for statement in (
            f"GRANT USAGE ON SCHEMA {schema} TO {to}",
            f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {to}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {to}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {ORDINARY} ON TABLES TO {to}",
        ):
            cursor.execute(statement)
        for table, rights in _own_tables(connection):
            grant_table(connection, table=table, role=role, rights=rights)


def _own_tables(connection: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    """Return (table, rights) of the current schema's tables that the connected role may grant."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, EXISTS (
                SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'append_only_rows'
            )
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.nspname = current_schema()
              AND pg_has_role(c.relowner, 'USAGE')
            ORDER BY c.relname
            """
        )
        tables = cursor.fetchall()
    return [(name, _rights(name, append_only=append_only)) for name, append_only in tables]


def _rights(table: str, *, append_only: bool) -> str:
    if table in READ_ONLY_TABLES:
        return READ
    return APPEND if append_only else ORDINARY
