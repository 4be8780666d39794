import io

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from controlplane.audit.checks import check_append_only_tables
from tests.audit.tampering import connect

pytestmark = pytest.mark.django_db(transaction=True)


def ids() -> set[str]:
    return {str(message.id) for message in check_append_only_tables(databases=["default"])}


def as_owner(*statements: str) -> None:
    with connect("owner") as owner:
        for statement in statements:
            owner.execute(statement)


def test_a_migrated_database_guards_its_log():
    assert ids() == set()
    call_command("check", databases=["default"], stdout=io.StringIO())


def test_without_a_database_nothing_is_checked():
    assert check_append_only_tables(databases=None) == []


@pytest.mark.parametrize(
    ("table", "trigger"),
    [
        ("audit_auditevent", "append_only_rows"),
        ("audit_auditevent", "append_only_truncate"),
        ("audit_auditevent", "audit_chain"),
        ("audit_seal", "append_only_rows"),
        ("audit_audithead", "audit_head_forward"),
        ("trading_fill", "append_only_rows"),
    ],
)
@pytest.mark.parametrize("verb", ["DISABLE", "ENABLE", "ENABLE REPLICA"])
def test_a_trigger_that_is_not_always_on_is_an_error(table, trigger, verb):
    as_owner(f"ALTER TABLE {table} {verb} TRIGGER {trigger}")
    try:
        assert ids() == {"audit.E001"}
        with pytest.raises(SystemCheckError, match=rf"{table}: trigger {trigger} is missing"):
            call_command("check", databases=["default"], stderr=io.StringIO())
    finally:
        as_owner(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


@pytest.mark.parametrize("right", ["UPDATE", "DELETE", "TRUNCATE"])
@pytest.mark.parametrize("table", ["audit_auditevent", "audit_audithead", "audit_seal"])
def test_a_right_too_many_is_an_error(table, right):
    as_owner(f"GRANT {right} ON {table} TO app")
    try:
        assert ids() == {"audit.E002"}
    finally:
        as_owner(f"REVOKE {right} ON {table} FROM app")


def test_one_role_for_everything_is_an_error(monkeypatch):
    connection.ensure_connection()
    monkeypatch.setitem(settings.DATABASES["default"], "USER", "owner")
    assert ids() == {"audit.E003"}


def test_a_table_whose_closing_migration_still_waits_does_not_stop_the_migration():
    # This one and those that build on it.
    waiting = "app = 'trading' AND name >= '0002'"
    as_owner(
        "ALTER TABLE trading_fill DISABLE TRIGGER append_only_rows",
        f"CREATE TABLE set_aside AS SELECT * FROM django_migrations WHERE {waiting}",
        f"DELETE FROM django_migrations WHERE {waiting}",
    )
    try:
        assert ids() == set()
    finally:
        as_owner(
            "INSERT INTO django_migrations SELECT * FROM set_aside",
            "DROP TABLE set_aside",
            "ALTER TABLE trading_fill ENABLE ALWAYS TRIGGER append_only_rows",
        )
    assert ids() == set()
