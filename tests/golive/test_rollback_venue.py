"""The way back at the venue: what rests is cancelled, what is held stays, and a dead venue stops nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controlplane.approvals.models import SecondFactor
from controlplane.audit.models import AuditEvent
from golive.models import Rollback
from golive.rollback import roll_back
from golive.services import resume_rollbacks
from risk.exposure import ensure_exposure
from risk.models import AccountBook, StopEvent
from risk.registration import ensure_activities
from tests.factories import HeartbeatFactory
from tests.golive.live import GUARD, OPERATOR, go_live, make_limits, permit_of
from tests.risk.test_sweep import open_ids, rest
from trading import dispatch
from trading import models as facts
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    HeartbeatFactory(name="guard:sweep")
    account = venue_desk.place.account
    AccountBook.objects.create(account=account)
    ensure_activities(account)
    ensure_exposure(actor="system:test")
    reconcile_venue_account(venue_account=venue_desk.place, market_at=get_clocks().market_at)
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    venue_desk.permit = go_live(account, make_limits("SMALL")).permit
    return venue_desk


def back(desk: Any, **changes: Any) -> Rollback:
    values = {"account": desk.place.account, "actor": OPERATOR, "call_finisher": lambda _: None}
    return roll_back(**values | changes)


def finish(row: Rollback) -> Rollback:
    resume_rollbacks()
    row.refresh_from_db()
    return row


def test_entries_go_and_positions_keep_their_protections(desk):
    dispatch.send_intent(intent_id=desk.approve().id)
    entry, protections, held = rest(desk, "SOLUSDT"), desk.resting(), desk.held()
    row = back(desk)
    assert row.finished_at is None
    row = finish(row)

    entry.refresh_from_db()
    assert entry.state == "cancelled"
    assert entry.client_order_id not in open_ids(desk)
    assert (desk.resting(), desk.held()) == (protections, held)
    assert (row.state, row.impact["cancelled"]) == ("done", 1)
    assert row.impact["entries"] == [entry.client_order_id]
    assert [item["symbol"] for item in row.impact["positions"]] == ["ETHUSDT"]
    assert facts.TradingState.objects.get(scope="account:paper-main").state == "ACTIVE"


def test_what_was_approved_before_does_not_pass_the_door(desk):
    intent = desk.approve()
    back(desk)
    refused = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(refused, dispatch.Refusal)
    assert not facts.Order.objects.filter(intent=intent).exists()
    again = desk.approve(state="approved")
    refused = dispatch.send_intent(intent_id=again.id)
    assert isinstance(refused, dispatch.Refusal)
    assert refused.code == "PERMIT_MISMATCH"


def test_a_venue_that_does_not_answer_holds_up_nothing_of_ours(desk):
    entry = rest(desk)
    desk.fault("error_before", times=10_000)
    row = finish(back(desk))
    permit = permit_of(desk.place.account)
    assert permit is not None
    assert (permit.profile, row.finished_at) == ("MICRO", None)
    assert entry.client_order_id in row.steps[-1]["detail"]

    desk.clear_faults()
    dispatch.settle_order(order_id=entry.pk)
    assert finish(row).state == "done"
    assert open_ids(desk) == set()
    steps = {item["name"]: item["attempts"] for item in row.steps}
    assert steps["entries"] >= 2


def test_a_halt_sweeps_the_venue_through_the_stop(desk):
    finish(back(desk))
    desk.permit = permit_of(desk.place.account)
    entry = rest(desk)
    row = finish(back(desk))
    entry.refresh_from_db()
    assert (row.to_limit_set_digest, row.state, entry.state) == ("", "done", "cancelled")
    assert StopEvent.objects.get(scope="account:paper-main").positions == "keep"


def test_with_redis_mail_and_second_factors_gone_it_is_done_and_audited(desk, settings):
    """From a person and from a guard; no second factor is enrolled at all, and no channel answers."""
    settings.REDIS_URL = settings.CELERY_BROKER_URL = NOWHERE
    settings.ALERT_URLS = ["smtp://nobody@127.0.0.1:1/?to=desk@example.invalid"]
    assert not SecondFactor.objects.exists()
    entry = rest(desk)
    first = finish(back(desk, reason="everything else is down"))
    second = finish(back(desk, actor=GUARD, trigger="guard:test"))
    assert (first.state, second.state) == ("done", "done")
    assert second.to_limit_set_digest == ""
    entry.refresh_from_db()
    assert entry.state == "cancelled"
    actors = AuditEvent.objects.filter(action="golive.rollback").order_by("seq")
    assert [(event.actor, event.actor_kind) for event in actors] == [("ann", "user"), ("test", "guard")]
    assert AuditEvent.objects.filter(action="risk.stop_trip").count() == 1


DIE = """
import os, sys
import django
django.setup()
from golive import rollback_steps
from golive.rollback_steps import STEPS, Step, advance_rollback
name = sys.argv[2]
def die(row):
    os.kill(os.getpid(), 9)
steps = tuple(Step(name=s.name, run=die, check=s.check) if s.name == name else s for s in STEPS)
advance_rollback(int(sys.argv[1]), steps=steps)
"""


@pytest.mark.parametrize("name", ["entries", "read_back"])
def test_a_process_that_is_killed_in_a_step_is_followed_by_the_guard(desk, name):
    entry = rest(desk)
    row = back(desk)
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "CONTROLPLANE_NO_BOOTSTRAP": "1"}
    env["SIMULATED_VENUES"] = f"binanceusdm={desk.address}"
    root = Path(__file__).resolve().parents[2]
    died = subprocess.run(
        [sys.executable, "-c", DIE, str(row.pk), name], env=env, cwd=root, timeout=60, check=False
    )
    assert died.returncode == -9
    row.refresh_from_db()
    assert row.finished_at is None
    assert finish(row).state == "done"
    entry.refresh_from_db()
    assert entry.state == "cancelled"
