"""The database chains every event itself, so that no writer can forge a link or a time.

An INSERT gives the body alone. The trigger locks the head, takes the next seq, puts the database's
clock in front of the body, hashes, copies the columns out of the body, and moves the head. It runs
with the rights of its owner: the application's role has no right to move the head.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from controlplane.audit.migration_operations import REFUSE_FUNCTION, AppendOnly

CHAIN_FUNCTION = r"""
CREATE FUNCTION audit_chain_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE
    head audit_audithead%ROWTYPE;
    name text;
BEGIN
    IF NEW.body IS NULL OR NEW.body IS NOT JSON OBJECT WITH UNIQUE KEYS OR NEW.body !~ '^\{{"'
       OR NEW.body ~ '[\x01-\x1f]' THEN
        RAISE EXCEPTION 'audit event: the body is not one line of JSON object with unique keys'
            USING ERRCODE = 'check_violation';
    END IF;
    NEW.payload := NEW.body::jsonb;
    FOREACH name IN ARRAY ARRAY['action', 'actor', 'actor_kind', 'subject_type', 'subject_id', 'reason',
                                'correlation_id', 'environment'] LOOP
        IF jsonb_typeof(NEW.payload -> name) IS DISTINCT FROM 'string' THEN
            RAISE EXCEPTION 'audit event: % is not text', name USING ERRCODE = 'check_violation';
        END IF;
    END LOOP;
    IF NEW.payload ? 'occurred_at' THEN
        RAISE EXCEPTION 'audit event: occurred_at is set by the database' USING ERRCODE = 'check_violation';
    END IF;
    SELECT * INTO STRICT head FROM audit_audithead WHERE id = 1 FOR UPDATE;
    NEW.seq := head.seq + 1;
    NEW.prev_hash := head.hash;
    NEW.occurred_at := greatest(clock_timestamp(), head.occurred_at);
    NEW.body := '{{"occurred_at":"'
        || to_char(NEW.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '",'
        || substr(NEW.body, 2);
    NEW.payload := NEW.body::jsonb;
    NEW.hash := encode(sha256(
        '\x61756469742d763100'::bytea || convert_to(NEW.seq || NEW.prev_hash || NEW.body, 'UTF8')), 'hex');
    NEW.action := NEW.payload ->> 'action';
    NEW.actor := NEW.payload ->> 'actor';
    NEW.actor_kind := NEW.payload ->> 'actor_kind';
    NEW.subject_type := NEW.payload ->> 'subject_type';
    NEW.subject_id := NEW.payload ->> 'subject_id';
    NEW.reason := NEW.payload ->> 'reason';
    NEW.correlation_id := NEW.payload ->> 'correlation_id';
    NEW.environment := NEW.payload ->> 'environment';
    UPDATE audit_audithead SET seq = NEW.seq, hash = NEW.hash, occurred_at = NEW.occurred_at WHERE id = 1;
    RETURN NEW;
END
$$
"""

HEAD_FUNCTION = """
CREATE FUNCTION audit_guard_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 OR NEW.id <> OLD.id OR NEW.seq <> OLD.seq + 1 OR NEW.hash = OLD.hash
       OR NEW.occurred_at < OLD.occurred_at THEN
        RAISE EXCEPTION 'the chain head is moved only by the next event'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$
"""

TRIGGERS = (
    ("audit_auditevent", "audit_chain", "BEFORE INSERT", "ROW", "audit_chain_event"),
    ("audit_audithead", "audit_head_forward", "BEFORE UPDATE", "ROW", "audit_guard_head"),
    ("audit_audithead", "audit_head_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
    ("audit_audithead", "append_only_truncate", "BEFORE TRUNCATE", "STATEMENT", "audit_refuse_change"),
)


def create_chain(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        schema = cursor.fetchone()[0]
    schema_editor.execute(REFUSE_FUNCTION, params=None)
    schema_editor.execute(CHAIN_FUNCTION.format(schema=schema), params=None)
    schema_editor.execute("REVOKE ALL ON FUNCTION audit_chain_event() FROM PUBLIC", params=None)
    schema_editor.execute(HEAD_FUNCTION, params=None)
    schema_editor.execute(
        "INSERT INTO audit_audithead (id, seq, hash, occurred_at) VALUES (1, 0, repeat('0', 64), clock_timestamp())",
        params=None,
    )
    for table, name, when, each, function in TRIGGERS:
        schema_editor.execute(
            f"CREATE TRIGGER {name} {when} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()", params=None
        )
        schema_editor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}", params=None)


def drop_chain(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for table, name, *_ in TRIGGERS:
        schema_editor.execute(f"DROP TRIGGER {name} ON {table}", params=None)
    schema_editor.execute("DELETE FROM audit_audithead", params=None)
    schema_editor.execute("DROP FUNCTION audit_chain_event()", params=None)
    schema_editor.execute("DROP FUNCTION audit_guard_head()", params=None)


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunPython(create_chain, drop_chain),
        AppendOnly("audit_auditevent"),
        AppendOnly("audit_seal"),
    ]
