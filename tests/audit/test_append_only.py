"""Every statement that could change evidence, tried as the application's role and as the owner."""

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.migrations.state import ProjectState
from psycopg import errors

from controlplane.audit.migration_operations import AppendOnly
from controlplane.audit.models import AuditEvent, AuditHead
from controlplane.audit.services import record
from tests.audit.tampering import BOTH_ROLES, connect

BODY = (
    '{"action":"audit.export","actor":"x","actor_kind":"user","correlation_id":"","environment":"paper",'
    '"reason":"","subject_id":"1","subject_type":"log"}'
)
FORBIDDEN = [
    "UPDATE audit_auditevent SET reason = 'other'",
    "UPDATE audit_auditevent SET hash = hash",
    "DELETE FROM audit_auditevent",
    "TRUNCATE audit_auditevent CASCADE",
    "INSERT INTO audit_auditevent (body) VALUES ('{}') ON CONFLICT (prev_hash) DO UPDATE SET reason = 'x'",
    "MERGE INTO audit_auditevent e USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
    "SELECT * FROM audit_auditevent FOR UPDATE",
    "UPDATE audit_audithead SET seq = seq - 1",
    "UPDATE audit_audithead SET seq = seq + 1, hash = repeat('f', 64)",
    "DELETE FROM audit_audithead",
    "TRUNCATE audit_audithead",
    "INSERT INTO audit_audithead VALUES (2, 0, repeat('0', 64), now())",
    "UPDATE audit_seal SET digest = ''",
    "DELETE FROM audit_seal",
    "TRUNCATE audit_seal",
    "ALTER TABLE audit_auditevent DISABLE TRIGGER ALL",
    "DROP TRIGGER append_only_rows ON audit_auditevent",
    "DROP TABLE audit_auditevent CASCADE",
    "SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
    "CREATE TABLE audit_shadow (id int)",
    "ALTER TABLE audit_auditevent OWNER TO app",
]
FORBIDDEN_TO_THE_OWNER = [
    statement
    for statement in FORBIDDEN
    if statement.split()[0] in {"UPDATE", "DELETE", "TRUNCATE", "MERGE"} and "audit_seal" not in statement
]


@pytest.fixture
def event(transactional_db: None) -> AuditEvent:
    with transaction.atomic():
        return record(action="audit.export", actor="operator", subject_type="log", subject_id="1")


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_application_cannot_change_the_log(event, statement):
    with connect() as app, pytest.raises(psycopg.Error):
        app.execute(statement)
    assert list(AuditEvent.objects.values_list("seq", "hash")) == [(event.seq, event.hash)]
    assert AuditHead.objects.get().hash == event.hash


def test_the_application_cannot_give_itself_rights(event):
    with connect() as app:
        app.add_notice_handler(lambda notice: None)
        # PostgreSQL answers a grant of what one does not hold with a warning; its effect is what counts.
        app.execute("GRANT ALL ON audit_auditevent TO app")
    assert rights_of("audit_auditevent") == {"SELECT", "INSERT"}


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_OWNER)
def test_the_owner_is_refused_too_while_the_triggers_stand(event, statement):
    with connect("owner") as owner, pytest.raises(errors.InsufficientPrivilege):
        owner.execute(statement)


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_OWNER)
def test_replication_mode_does_not_switch_the_triggers_off(event, statement):
    with connect("owner") as owner:
        owner.execute("SET session_replication_role = replica")
        with pytest.raises(errors.InsufficientPrivilege):
            owner.execute(statement)


def test_what_a_writer_says_of_seq_time_hash_and_columns_is_ignored(event):
    with connect() as app:
        app.execute(
            "INSERT INTO audit_auditevent"
            " (seq, prev_hash, hash, body, occurred_at, action, actor, environment, payload) VALUES"
            " (99, repeat('a', 64), repeat('b', 64), %s, '2001-01-01', 'lie', 'lie', 'live', '{}')",
            [BODY],
        )
    forged = AuditEvent.objects.get(seq=event.seq + 1)
    assert (forged.action, forged.actor, forged.environment) == ("audit.export", "x", "paper")
    assert forged.prev_hash == event.hash
    assert forged.occurred_at > event.occurred_at
    assert forged.payload["occurred_at"].startswith("20")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        "not json",
        BODY.replace('"1"', "1"),
        BODY.replace("audit.export", "audit\nexport"),
        BODY.replace(',"actor"', ',\n"actor"'),
        BODY.replace('"reason":"",', ""),
        BODY.replace("{", '{"occurred_at":"2001-01-01T00:00:00.000000Z",'),
        BODY.replace("{", '{"actor":"other",'),
        BODY.replace("{", "{ "),
    ],
)
def test_a_body_that_is_not_one_line_with_every_fact_once_is_refused(event, body):
    with connect() as app, pytest.raises((errors.CheckViolation, errors.InvalidTextRepresentation)):
        app.execute("INSERT INTO audit_auditevent (body) VALUES (%s)", [body])
    assert AuditHead.objects.get().seq == event.seq


def test_several_events_in_one_statement_are_chained_one_after_the_other(event):
    with connect() as app:
        app.execute("INSERT INTO audit_auditevent (body) SELECT %s FROM generate_series(1, 3)", [BODY])
    events = list(AuditEvent.objects.order_by("seq"))
    assert [one.seq for one in events] == [1, 2, 3, 4]
    assert [one.prev_hash for one in events[1:]] == [one.hash for one in events[:-1]]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_test_fact SET note = 'x'",
        "DELETE FROM audit_test_fact",
        "TRUNCATE audit_test_fact",
        "INSERT INTO audit_test_fact (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = 'x'",
    ],
)
@pytest.mark.parametrize("role", ["default", "owner"])
@BOTH_ROLES
def test_any_table_can_be_made_append_only(stream, statement, role):
    with connect() as app:
        app.execute("INSERT INTO audit_test_fact (note) VALUES ('first')")
    with connect(role) as session, pytest.raises(errors.InsufficientPrivilege):
        session.execute(statement)
    with connect() as app:
        assert app.execute("SELECT note FROM audit_test_fact").fetchall() == [("first",)]


@BOTH_ROLES
def test_append_only_can_be_taken_back_by_a_migration(stream):
    operation = AppendOnly(stream.table)
    owner = connections["owner"]
    with owner.schema_editor() as editor:
        operation.database_backwards("audit", editor, ProjectState(), ProjectState())
    with connect("owner") as session:
        session.execute("INSERT INTO audit_test_fact (note) VALUES ('first')")
        session.execute("UPDATE audit_test_fact SET note = 'x'")
    assert operation.deconstruct() == ("AppendOnly", ["audit_test_fact"], {})
    assert "audit_test_fact" in operation.describe()


def rights_of(table: str) -> set[str]:
    names = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT p FROM unnest(%s::text[]) p WHERE has_table_privilege(%s, p)", [names, table])
        return {name for (name,) in cursor.fetchall()}


@BOTH_ROLES
def test_each_migration_leaves_exactly_the_right_grants(stream):
    with connections["owner"].cursor() as cursor:
        cursor.execute("CREATE TABLE audit_test_ordinary (id bigint GENERATED ALWAYS AS IDENTITY)")
    try:
        assert rights_of("audit_test_ordinary") == {"SELECT", "INSERT", "UPDATE", "DELETE"}
        with connections["owner"].cursor() as cursor:
            cursor.execute(f"GRANT ALL ON {stream.table}, audit_auditevent, audit_test_ordinary TO app")
        call_command("migrate", database="owner", verbosity=0, interactive=False, skip_checks=True)
        assert rights_of("audit_test_ordinary") == {"SELECT", "INSERT", "UPDATE", "DELETE"}
        assert rights_of(stream.table) == {"SELECT", "INSERT"}
        assert rights_of("audit_auditevent") == {"SELECT", "INSERT"}
        assert rights_of("audit_audithead") == {"SELECT"}
        with connect() as app:
            app.execute("INSERT INTO audit_test_ordinary DEFAULT VALUES")
    finally:
        with connections["owner"].cursor() as cursor:
            cursor.execute("DROP TABLE audit_test_ordinary")
