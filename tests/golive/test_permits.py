from datetime import timedelta

import pytest
from django.db import connection

from controlplane.audit.models import AuditEvent
from golive.permits import LEASE, PaperOnly, replace_permit
from golive.services import end_permit, issue_paper_permit, renew_leases
from trading.models import Permit
from trading.selectors import get_clocks
from trading.services import open_account, record_heartbeat

pytestmark = pytest.mark.django_db


def issue(account=None, profile="MICRO"):
    account = account or open_account(name="paper-main", environment="paper", venues=["binanceusdm"])
    return issue_paper_permit(
        account=account, profile=profile, actor="system:bootstrap", wall_at=get_clocks().wall_at
    )


def show_vital_life():
    record_heartbeat(name="guard:sweep")
    record_heartbeat(name="guard:triggers")
    record_heartbeat(name="guard:risk")


def test_a_paper_account_gets_a_micro_permit_with_a_short_lease_audited_once():
    first, second = issue(), issue()
    assert first.pk == second.pk
    assert (first.kind, first.profile, first.environment, first.active) == ("PAPER", "MICRO", "paper", True)
    assert first.lease_expires_at <= get_clocks().wall_at + LEASE
    events = AuditEvent.objects.filter(action="golive.permit_bootstrap")
    assert [(event.subject_id, event.payload["detail"]["fencing_token"]) for event in events] == [
        ("paper-main", first.fencing_token)
    ]


def test_no_other_environment_and_no_higher_profile_gets_one():
    account = open_account(name="real", environment="live", venues=["binanceusdm"])
    for asked in ({"account": account}, {"profile": "SMALL"}):
        with pytest.raises(PaperOnly):
            issue(**asked)
    assert not Permit.objects.exists()


def test_other_limits_end_the_permit_and_the_new_one_has_a_higher_token():
    first = issue()
    Permit.objects.filter(pk=first.pk).update(limit_set_digest="0" * 64)
    second = issue()
    first.refresh_from_db()
    assert not first.active
    assert first.ended_at is not None
    assert second.fencing_token > first.fencing_token
    assert AuditEvent.objects.filter(action="golive.permit_end").count() == 1


def test_an_account_that_was_activated_never_falls_back_to_a_bootstrap_permit():
    first = issue()
    facts = {"actor": "operator", "reason": "activated by a test", "wall_at": get_clocks().wall_at}
    live = replace_permit(
        account=first.account,
        kind="LIVE",
        profile="MICRO",
        limit_set_digest=first.limit_set_digest,
        **facts,
    )
    end_permit(permit=live, **facts)
    again = issue(account=first.account)
    assert again.pk == live.pk
    assert not again.active


def test_ending_works_once():
    permit = issue()
    wall_at = get_clocks().wall_at
    assert end_permit(permit=permit, actor="operator", reason="rolled back by hand", wall_at=wall_at)
    assert not end_permit(permit=permit, actor="operator", reason="rolled back by hand", wall_at=wall_at)


def test_leases_are_renewed_while_the_stop_can_act():
    permit = issue()
    show_vital_life()
    later = get_clocks().wall_at + timedelta(seconds=10)
    assert renew_leases(wall_at=later) == 1
    permit.refresh_from_db()
    assert permit.lease_expires_at == later + LEASE


@pytest.mark.parametrize("silent", ["guard:sweep", "guard:triggers", "guard:risk"])
def test_a_silent_duty_lets_every_lease_run_out(silent):
    permit = issue()
    show_vital_life()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE trading_heartbeat SET beat_at = beat_at - interval '31 s' WHERE name = %s", [silent]
        )
    assert renew_leases(wall_at=get_clocks().wall_at + timedelta(milliseconds=1)) == 0
    before = permit.lease_expires_at
    permit.refresh_from_db()
    assert permit.lease_expires_at == before


def test_an_ended_permit_is_never_renewed():
    permit = issue()
    show_vital_life()
    wall_at = get_clocks().wall_at
    end_permit(permit=permit, actor="operator", reason="ended by a test", wall_at=wall_at)
    assert renew_leases(wall_at=wall_at + timedelta(seconds=1)) == 0
