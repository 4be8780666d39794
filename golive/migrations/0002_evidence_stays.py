from django.db import migrations

from controlplane.audit.migration_operations import AppendOnly

STAYS = """
CREATE FUNCTION golive_finished_run_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.finished_at IS NULL AND NEW.id = OLD.id THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'golive_preflightrun is evidence: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE FUNCTION golive_check_needs_open_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM golive_preflightrun WHERE id = NEW.run_id AND finished_at IS NULL FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'golive_preflightcheck: run % is finished', NEW.run_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER finished_run_stays BEFORE UPDATE OR DELETE ON golive_preflightrun
    FOR EACH ROW EXECUTE FUNCTION golive_finished_run_stays();
CREATE TRIGGER finished_run_truncate BEFORE TRUNCATE ON golive_preflightrun
    FOR EACH STATEMENT EXECUTE FUNCTION golive_finished_run_stays();
CREATE TRIGGER check_needs_open_run BEFORE INSERT ON golive_preflightcheck
    FOR EACH ROW EXECUTE FUNCTION golive_check_needs_open_run();
ALTER TABLE golive_preflightrun ENABLE ALWAYS TRIGGER finished_run_stays;
ALTER TABLE golive_preflightrun ENABLE ALWAYS TRIGGER finished_run_truncate;
ALTER TABLE golive_preflightcheck ENABLE ALWAYS TRIGGER check_needs_open_run;
"""
GOES = """
DROP TRIGGER check_needs_open_run ON golive_preflightcheck;
DROP TRIGGER finished_run_truncate ON golive_preflightrun;
DROP TRIGGER finished_run_stays ON golive_preflightrun;
DROP FUNCTION golive_check_needs_open_run();
DROP FUNCTION golive_finished_run_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("golive", "0001_permission")]

    operations = [
        AppendOnly("golive_preflightcheck"),
        AppendOnly("golive_stressresult"),
        migrations.RunSQL(STAYS, GOES),
    ]
