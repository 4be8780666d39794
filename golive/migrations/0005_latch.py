from django.db import migrations

from controlplane.audit.migration_operations import REFUSE_FUNCTION

# The latch opens by an approved request to release it, asked after it fell; what it is about never changes.
HOLD_FUNCTION = """
CREATE FUNCTION golive_guard_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.released_at IS NOT NULL THEN
            RAISE EXCEPTION 'a hold begins as one that stands' USING ERRCODE = 'check_violation';
        END IF;
        NEW.since_at := statement_timestamp();
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.account_id, NEW.reason, NEW.since_at)
        IS DISTINCT FROM (OLD.id, OLD.account_id, OLD.reason, OLD.since_at) THEN
        RAISE EXCEPTION 'what a hold is about does not change' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.released_at IS NOT NULL AND (NEW.released_at, NEW.release_request)
        IS DISTINCT FROM (OLD.released_at, OLD.release_request) THEN
        RAISE EXCEPTION 'a hold that was released stays released' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.released_at IS NULL AND NEW.released_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM approvals_approvalrequest r
        WHERE r.id = NEW.release_request AND r.kind = 'golive.release_hold'
          AND r.state IN ('approved', 'executed') AND r.subject_text::jsonb ->> 'hold' = NEW.id::text
          AND r.proposed_at >= NEW.since_at
    ) THEN
        RAISE EXCEPTION 'hold % is released by an approved request only', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
# While an account is held nothing of it is activated, and what was taken back does not come back.
ACTIVATION_FUNCTION = """
CREATE FUNCTION golive_guard_latch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF EXISTS (
            SELECT 1 FROM golive_hold h WHERE h.account_id = NEW.account_id AND h.released_at IS NULL
        ) THEN
            RAISE EXCEPTION 'the account is held: nothing of it is activated'
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.ended_at IS NOT NULL AND (NEW.state, NEW.ended_at) IS DISTINCT FROM (OLD.state, OLD.ended_at) THEN
        RAISE EXCEPTION 'an activation that has ended stays ended' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'confirmed' AND OLD.state = 'observing' AND EXISTS (
        SELECT 1 FROM golive_hold h WHERE h.account_id = NEW.account_id AND h.released_at IS NULL
    ) THEN
        RAISE EXCEPTION 'the account is held: nothing of it is confirmed'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
# A rollback is history: from where to where never changes, and once finished it stays finished.
ROLLBACK_FUNCTION = """
CREATE FUNCTION golive_guard_rollback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.account_id, NEW.activation_id, NEW."trigger", NEW.actor, NEW.reason,
        NEW.from_limit_set_digest, NEW.to_limit_set_digest, NEW.is_clamped, NEW.market_at, NEW.started_at)
        IS DISTINCT FROM
       (OLD.id, OLD.account_id, OLD.activation_id, OLD."trigger", OLD.actor, OLD.reason,
        OLD.from_limit_set_digest, OLD.to_limit_set_digest, OLD.is_clamped, OLD.market_at, OLD.started_at)
        OR (OLD.finished_at IS NOT NULL AND (NEW.finished_at, NEW.state, NEW.steps)
            IS DISTINCT FROM (OLD.finished_at, OLD.state, OLD.steps)) THEN
        RAISE EXCEPTION 'a rollback goes on or is resolved, and nothing else'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
FUNCTIONS = (
    ("golive_guard_hold", HOLD_FUNCTION),
    ("golive_guard_latch", ACTIVATION_FUNCTION),
    ("golive_guard_rollback", ROLLBACK_FUNCTION),
)
# table, name, when, for each, function
TRIGGERS = (
    ("golive_hold", "golive_hold_latch", "BEFORE INSERT OR UPDATE", "ROW", "golive_guard_hold"),
    ("golive_hold", "golive_hold_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
    ("golive_hold", "append_only_truncate", "BEFORE TRUNCATE", "STATEMENT", "audit_refuse_change"),
    ("golive_activation", "golive_activation_latch", "BEFORE INSERT OR UPDATE", "ROW", "golive_guard_latch"),
    ("golive_rollback", "golive_rollback_facts", "BEFORE UPDATE", "ROW", "golive_guard_rollback"),
    ("golive_rollback", "golive_rollback_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
    ("golive_rollback", "append_only_truncate", "BEFORE TRUNCATE", "STATEMENT", "audit_refuse_change"),
    ("golive_guardcount", "golive_count_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
)


def trigger_operations():
    for table, name, when, each, function in TRIGGERS:
        yield migrations.RunSQL(
            f"CREATE TRIGGER {name} {when} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}();"
            f" ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
        )


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0004_closer_guards'),
        ('audit', '0002_chain'),
        ('golive', '0004_evidence'),
    ]

    operations = [
        migrations.RunSQL(REFUSE_FUNCTION, migrations.RunSQL.noop),
        *(migrations.RunSQL(body, f"DROP FUNCTION IF EXISTS {name}") for name, body in FUNCTIONS),
        *trigger_operations(),
    ]
