from django.db import migrations

from controlplane.audit.migration_operations import REFUSE_FUNCTION

# A stop is history: what it is about never changes, and once ended it stays as it ended. It ends after
# it was confirmed, and only by a request to re-arm or, where it rehearses on paper, by its drill.
EVENT_FUNCTION = """
CREATE FUNCTION risk_guard_stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.ended_at IS NOT NULL THEN
            RAISE EXCEPTION 'a stop begins as one that stands' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.scope) IS DISTINCT FROM (OLD.id, OLD.scope) THEN
        RAISE EXCEPTION 'what a stop is about does not change' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.source = 'drill' AND OLD.source <> 'drill' THEN
        RAISE EXCEPTION 'a stop does not become a drill' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.ended_at IS NOT NULL AND (NEW.ended_at, NEW.ended_by, NEW.root_cause, NEW.source)
        IS DISTINCT FROM (OLD.ended_at, OLD.ended_by, OLD.root_cause, OLD.source) THEN
        RAISE EXCEPTION 'a stop that has ended stays ended' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
# Deferred to the commit, because the vote that completes the quorum ends the stop before its request is
# marked as executed, all in one transaction.
END_FUNCTION = """
CREATE FUNCTION risk_guard_stop_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.source = 'drill' AND EXISTS (
        SELECT 1 FROM trading_account a WHERE 'account:' || a.name = NEW.scope AND a.environment = 'paper'
    ) THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (
        SELECT 1 FROM approvals_approvalrequest r WHERE r.kind = 'risk.stops.rearm' AND r.state = 'executed'
          AND r.subject_text::jsonb ->> 'event_id' = NEW.id::text AND r.proposed_at >= NEW.tripped_at
    ) THEN
        RAISE EXCEPTION 'stop % ends by an approved request to re-arm only', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$
"""
# While a stop stands its scope is HALTED, whatever is written.
STATE_FUNCTION = """
CREATE FUNCTION risk_guard_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'HALTED' AND EXISTS (
        SELECT 1 FROM risk_stopevent s WHERE s.scope = NEW.scope AND s.ended_at IS NULL
    ) THEN
        RAISE EXCEPTION '% is HALTED while its stop stands', NEW.scope USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
FUNCTIONS = (
    ("risk_guard_stop", EVENT_FUNCTION),
    ("risk_guard_stop_end", END_FUNCTION),
    ("risk_guard_state", STATE_FUNCTION),
)
# table, name, trigger
TRIGGERS = (
    ("risk_stopevent", "risk_stop_facts", "TRIGGER {} BEFORE INSERT OR UPDATE ON {} FOR EACH ROW"
     " EXECUTE FUNCTION risk_guard_stop()"),
    ("risk_stopevent", "risk_stop_stays", "TRIGGER {} BEFORE DELETE ON {} FOR EACH ROW"
     " EXECUTE FUNCTION audit_refuse_change()"),
    ("risk_stopevent", "append_only_truncate", "TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT"
     " EXECUTE FUNCTION audit_refuse_change()"),
    ("risk_stopevent", "risk_stop_ends", "CONSTRAINT TRIGGER {} AFTER UPDATE ON {}"
     " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
     " WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION risk_guard_stop_end()"),
    ("trading_tradingstate", "risk_state_holds", "TRIGGER {} BEFORE INSERT OR UPDATE ON {} FOR EACH ROW"
     " EXECUTE FUNCTION risk_guard_state()"),
)  # fmt: skip


def trigger_operations():
    for table, name, body in TRIGGERS:
        yield migrations.RunSQL(
            f"CREATE {body.format(name, table)}; ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
        )


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0003_requests'),
        ('audit', '0002_chain'),
        ('risk', '0004_liquidation'),
        ('trading', '0006_sums_and_lookups'),
    ]

    operations = [
        migrations.RunSQL(REFUSE_FUNCTION, migrations.RunSQL.noop),
        *(migrations.RunSQL(body, f"DROP FUNCTION IF EXISTS {name}") for name, body in FUNCTIONS),
        *trigger_operations(),
    ]
