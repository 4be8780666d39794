from django.db import migrations

from controlplane.audit.migration_operations import REFUSE_FUNCTION

# As in 0003, and besides: it becomes approved in the mode that the desk has, and behind it are counted
# only people who are active and designated to something now. (Which roles, and how long ago they changed,
# the services know; what was approved in this transaction may end designations and change the mode.)
REQUEST_FUNCTION = """
CREATE OR REPLACE FUNCTION approvals_guard_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE standing integer;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'proposed' OR NEW.version <> 1 OR NEW.approved_digest <> '' OR NEW.closed_at IS NOT NULL THEN
            RAISE EXCEPTION 'a request begins as proposed' USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.mode IS DISTINCT FROM (SELECT mode FROM approvals_approvalmode) THEN
            RAISE EXCEPTION 'the desk does not approve in this mode' USING ERRCODE = 'check_violation';
        END IF;
        NEW.proposed_at := statement_timestamp();
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.kind, NEW.subject_text, NEW.digest, NEW.proposer_id, NEW.proposer_name, NEW.reason, NEW.mode,
        NEW.required_approvals, NEW.proposed_at, NEW.approve_by, NEW.execute_by)
        IS DISTINCT FROM
       (OLD.id, OLD.kind, OLD.subject_text, OLD.digest, OLD.proposer_id, OLD.proposer_name, OLD.reason, OLD.mode,
        OLD.required_approvals, OLD.proposed_at, OLD.approve_by, OLD.execute_by) THEN
        RAISE EXCEPTION 'what was asked does not change' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.version <> OLD.version + 1 OR (OLD.state || '>' || NEW.state) NOT IN (
        'proposed>approved', 'proposed>rejected', 'proposed>withdrawn', 'proposed>expired',
        'approved>executed', 'approved>proposed', 'approved>rejected', 'approved>withdrawn', 'approved>expired'
    ) THEN
        RAISE EXCEPTION 'a request does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'expired' AND statement_timestamp() <=
        (CASE OLD.state WHEN 'proposed' THEN OLD.approve_by ELSE OLD.execute_by END) THEN
        RAISE EXCEPTION 'the time for this request is not over' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'approved' AND NEW.mode IS DISTINCT FROM (SELECT mode FROM approvals_approvalmode) THEN
        RAISE EXCEPTION 'the desk does not approve in this mode' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state IN ('approved', 'executed') THEN
        SELECT count(*) INTO standing FROM (
            SELECT v.approver_id FROM approvals_vote v WHERE v.request_id = NEW.id AND v.digest = NEW.digest
                AND (NEW.state = 'executed' OR approvals_may_vote(v.approver_id))
            GROUP BY v.approver_id HAVING bool_and(v.decision = 'approve')
        ) behind;
        IF standing < NEW.required_approvals
            OR EXISTS (SELECT 1 FROM approvals_vote v WHERE v.request_id = NEW.id AND v.decision = 'reject')
            OR statement_timestamp() > (CASE NEW.state WHEN 'approved' THEN NEW.approve_by ELSE NEW.execute_by END) THEN
            RAISE EXCEPTION 'too few stand behind this request, or too late' USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END
$$
"""
MAY_VOTE_FUNCTION = """
CREATE FUNCTION approvals_may_vote(person bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM approvals_designation d JOIN auth_user u ON u.id = d.user_id
        WHERE d.user_id = person AND u.is_active AND d.valid_from <= statement_timestamp()
            AND (d.valid_to IS NULL OR d.valid_to > statement_timestamp())
    )
$$
"""
# As in 0003, and besides: the voter is somebody here, and has just used a code for this word on this digest.
VOTE_FUNCTION = """
CREATE OR REPLACE FUNCTION approvals_guard_vote() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE asked approvals_approvalrequest%ROWTYPE;
BEGIN
    SELECT * INTO asked FROM approvals_approvalrequest WHERE id = NEW.request_id FOR UPDATE;
    NEW.proposer_id := asked.proposer_id;
    NEW.proposed_at := asked.proposed_at;
    NEW.mode := asked.mode;
    NEW.decided_at := statement_timestamp();
    IF asked.id IS NULL OR asked.state NOT IN ('proposed', 'approved') OR NEW.digest <> asked.digest
        OR (NEW.decision = 'approve' AND (asked.state <> 'proposed' OR NEW.decided_at > asked.approve_by)) THEN
        RAISE EXCEPTION 'this request takes no such vote' USING ERRCODE = 'check_violation';
    END IF;
    IF NOT approvals_may_vote(NEW.approver_id) THEN
        RAISE EXCEPTION 'nobody who is designated votes so' USING ERRCODE = 'check_violation';
    END IF;
    SELECT max(u.used_at) INTO NEW.step_up_at FROM approvals_secondfactoruse u
        WHERE u.user_id = NEW.approver_id AND u.digest = NEW.digest AND u.action = 'vote.' || NEW.decision
            AND u.used_at > NEW.decided_at - interval '5 minutes';
    IF NEW.step_up_at IS NULL THEN
        RAISE EXCEPTION 'no code was used for this vote' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
# A desk becomes one person's while such a request is being carried out, seven days old, and no other way.
MODE_FUNCTION = """
CREATE FUNCTION approvals_guard_mode() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.mode = 'solo' AND OLD.mode <> 'solo' AND NOT EXISTS (
        SELECT 1 FROM approvals_approvalrequest r WHERE r.kind = 'approvals.mode_solo' AND r.state = 'approved'
            AND r.mode = 'dual' AND r.proposed_at <= statement_timestamp() - interval '7 days'
    ) THEN
        RAISE EXCEPTION 'two people and seven days make a desk one person''s' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
DESIGNATION_FUNCTION = """
CREATE FUNCTION approvals_guard_designation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.user_id, NEW.role, NEW.designated_by) IS DISTINCT FROM
       (OLD.id, OLD.user_id, OLD.role, OLD.designated_by) THEN
        RAISE EXCEPTION 'a designation does not pass to another' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.valid_to IS NOT NULL AND NEW.valid_to IS DISTINCT FROM OLD.valid_to THEN
        RAISE EXCEPTION 'a designation that has ended stays ended' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
# An override is the effect of an approved request: what was asked for, of that account, for that long from
# now on. Afterwards it is only used or ended.
OVERRIDE_FUNCTION = """
CREATE FUNCTION risk_guard_override() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE asked jsonb;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT r.subject_text::jsonb INTO asked FROM approvals_approvalrequest r
            JOIN trading_account a ON a.id = NEW.account_id AND a.name = r.subject_text::jsonb ->> 'account'
            WHERE r.id = NEW.request_id AND r.kind = 'risk.override' AND r.state = 'approved';
        IF asked IS NULL OR NEW."limit" IS DISTINCT FROM asked ->> 'limit'
            OR NEW.value IS DISTINCT FROM (asked ->> 'value')::numeric
            OR NEW.max_uses IS DISTINCT FROM (asked ->> 'uses')::integer
            OR NEW.used <> 0 OR NEW.ended_at IS NOT NULL THEN
            RAISE EXCEPTION 'a limit is raised as it was asked and approved only' USING ERRCODE = 'check_violation';
        END IF;
        NEW.starts_at := statement_timestamp();
        NEW.expires_at := NEW.starts_at + make_interval(secs => (asked ->> 'window_seconds')::integer);
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.account_id, NEW.request_id, NEW."limit", NEW.value, NEW.max_uses, NEW.reason,
        NEW.requested_by, NEW.approved_by, NEW.starts_at, NEW.expires_at)
        IS DISTINCT FROM
       (OLD.id, OLD.account_id, OLD.request_id, OLD."limit", OLD.value, OLD.max_uses, OLD.reason,
        OLD.requested_by, OLD.approved_by, OLD.starts_at, OLD.expires_at)
        OR NEW.used < OLD.used
        OR (OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at) THEN
        RAISE EXCEPTION 'an override is used or ended, and nothing else' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$
"""
NEW_FUNCTIONS = (
    ("approvals_may_vote(bigint)", MAY_VOTE_FUNCTION),
    ("approvals_guard_mode()", MODE_FUNCTION),
    ("approvals_guard_designation()", DESIGNATION_FUNCTION),
    ("risk_guard_override()", OVERRIDE_FUNCTION),
)
# table, name, when, for each, function
TRIGGERS = (
    ("approvals_approvalmode", "approvals_mode", "BEFORE UPDATE", "ROW", "approvals_guard_mode"),
    ("approvals_approvalmode", "approvals_mode_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
    ("approvals_approvalmode", "append_only_truncate", "BEFORE TRUNCATE", "STATEMENT", "audit_refuse_change"),
    ("approvals_designation", "approvals_designation", "BEFORE UPDATE", "ROW", "approvals_guard_designation"),
    ("approvals_designation", "approvals_designation_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
    ("approvals_designation", "append_only_truncate", "BEFORE TRUNCATE", "STATEMENT", "audit_refuse_change"),
    ("risk_override", "risk_override_as_asked", "BEFORE INSERT OR UPDATE", "ROW", "risk_guard_override"),
    ("risk_override", "risk_override_stays", "BEFORE DELETE", "ROW", "audit_refuse_change"),
    ("risk_override", "append_only_truncate", "BEFORE TRUNCATE", "STATEMENT", "audit_refuse_change"),
)


def trigger_operations():
    for table, name, when, each, function in TRIGGERS:
        yield migrations.RunSQL(
            f"CREATE TRIGGER {name} {when} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}();"
            f" ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
        )


class Migration(migrations.Migration):

    # The table of overrides belongs to risk; the request that it stands on is from here.
    dependencies = [
        ('approvals', '0003_requests'),
        ('audit', '0002_chain'),
        ('risk', '0002_every_rule'),
        ('trading', '0001_facts'),
    ]

    operations = [
        migrations.RunSQL(REFUSE_FUNCTION, migrations.RunSQL.noop),
        *(migrations.RunSQL(body, f"DROP FUNCTION IF EXISTS {name}") for name, body in NEW_FUNCTIONS),
        migrations.RunSQL(REQUEST_FUNCTION, migrations.RunSQL.noop),
        migrations.RunSQL(VOTE_FUNCTION, migrations.RunSQL.noop),
        *trigger_operations(),
    ]
