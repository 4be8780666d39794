from django.db import migrations

from controlplane.audit.migration_operations import REFUSE_FUNCTION

# A permit is history too: whose it is, and of which kind, never changes, and one that has ended stays ended.
PERMIT_FUNCTION = """
CREATE FUNCTION trading_guard_permit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.account_id, NEW.kind, NEW.environment, NEW.fencing_token, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.account_id, OLD.kind, OLD.environment, OLD.fencing_token, OLD.created_at) THEN
        RAISE EXCEPTION 'what a permit is about does not change' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.ended_at IS NOT NULL AND (NEW.active, NEW.ended_at, NEW.profile, NEW.limit_set_digest)
        IS DISTINCT FROM (OLD.active, OLD.ended_at, OLD.profile, OLD.limit_set_digest) THEN
        RAISE EXCEPTION 'a permit that has ended stays ended' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
# table, name, when, for each, function
TRIGGERS = (
    ("trading_permit", "trading_permit_facts", "BEFORE UPDATE", "ROW", "trading_guard_permit"),
    ("trading_permit", "trading_permit_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
    ("trading_permit", "append_only_truncate", "BEFORE TRUNCATE", "STATEMENT", "audit_refuse_change"),
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
        ("audit", "0002_chain"),
        ("trading", "0006_sums_and_lookups"),
    ]

    operations = [
        migrations.RunSQL(REFUSE_FUNCTION, migrations.RunSQL.noop),
        migrations.RunSQL(PERMIT_FUNCTION, "DROP FUNCTION IF EXISTS trading_guard_permit()"),
        *trigger_operations(),
    ]
