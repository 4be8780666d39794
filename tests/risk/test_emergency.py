"""Tripping: what one commit changes, who may, and what a second trip finds."""

import json
import subprocess
import sys
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from controlplane.alerts.models import Alert
from controlplane.approvals.core import Actor, ActorKind, Role, TokenScope
from controlplane.approvals.services import NotDesignated, ScopeMissing
from controlplane.audit.canonical import digest_of
from controlplane.audit.models import AuditEvent
from risk import models
from risk.judgement import judge_intent
from risk.registration import ScopeExists, ensure_scopes_for_account, register_scope
from risk.selectors import get_risk_state, get_stop_status, list_trading_states
from risk.services import trip_emergency_stop
from risk.stops.emergency import MOST_AGAIN, ScopeInvalid, start_sweeper
from risk.stops.rearm import EVIDENCE_DOMAIN, read_evidence
from tests.factories import UserFactory
from tests.risk import desk
from trading import models as facts
from trading import services as trading
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal
OPERATOR = Actor(name="olga", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))
AUDITOR = Actor(name="axel", kind=ActorKind.PERSON, roles=frozenset({Role.AUDITOR}))


def trip(scope: str = "all", **changes: Any) -> models.StopEvent:
    body = {"reason": "prices look wrong", "actor": OPERATOR, "call_sweeper": lambda _: None} | changes
    return trip_emergency_stop(scope=scope, clocks=get_clocks(), **body)


def judge(intent: facts.OrderIntent) -> models.Decision:
    return judge_intent(intent_id=intent.pk, clocks=get_clocks())


def test_a_trip_halts_records_and_alerts_in_one_commit():
    account = desk.make_desk()
    assert judge(desk.ask(account)).allowed

    event = trip("account:main")

    state = facts.TradingState.objects.get(scope="account:main")
    assert (state.state, state.version, state.source) == ("HALTED", 2, "manual")
    assert (event.progress, event.actor, event.reason) == ("STOPPING", "olga", "prices look wrong")
    audited = AuditEvent.objects.get(action="risk.stop_trip")
    assert (audited.subject_id, audited.actor) == ("account:main", "olga")
    assert audited.payload["detail"]["lapsed_intents"] == 1
    assert Alert.objects.get(code="emergency_stop").severity == "critical"
    assert judge(desk.ask_doge(account)).reason == "STATE_HALTED"


def test_approved_entries_that_no_door_has_claimed_lapse_and_exits_stay():
    account = desk.make_desk()
    desk.hold(account, quantity=D("0.1"))
    entry = desk.ask_doge(account)
    leaving = desk.ask(
        account,
        purpose="exit",
        side="sell",
        quantity=D("0.1"),
        reduce_only=True,
        stop_loss=None,
        take_profit=None,
    )
    facts.OrderIntent.objects.filter(pk=entry.pk).update(state="approved", decision_id=1)
    assert judge(leaving).allowed

    trip()

    entry.refresh_from_db()
    leaving.refresh_from_db()
    assert (entry.state, leaving.state) == ("lapsed", "approved")


@pytest.mark.parametrize(
    ("scope", "lapses"),
    [
        ("venue:binanceusdm", True),
        ("strategy:trend", True),
        ("strategy:reversion", False),
        ("symbol:SOLUSDT", True),
        ("symbol:DOGEUSDT", False),
    ],
)
def test_only_what_falls_under_the_scope_lapses(scope, lapses):
    account = desk.make_desk()
    intent = desk.ask(account)
    assert judge(intent).allowed

    trip(scope)

    intent.refresh_from_db()
    assert intent.state == ("lapsed" if lapses else "approved")


def test_tripping_what_is_halted_returns_the_stop_that_stands():
    desk.make_desk()
    first = trip()
    version = facts.TradingState.objects.get(scope="all").version

    second = trip(reason="again", actor=Actor(name="watch", kind=ActorKind.GUARD))

    assert second.pk == first.pk
    assert facts.TradingState.objects.get(scope="all").version == version
    assert AuditEvent.objects.filter(action="risk.stop_trip").count() == 1


def test_a_person_who_stops_what_is_halted_is_audited_and_a_request_to_rearm_from_before_is_void():
    desk.make_desk()
    first = trip()
    shown = digest_of(EVIDENCE_DOMAIN, read_evidence(first))

    again = trip(reason="it is still wrong", actor=OPERATOR)

    assert again.pk == first.pk
    audited = AuditEvent.objects.filter(action="risk.stop_trip").order_by("seq").last()
    assert audited is not None
    assert (audited.actor, audited.reason) == (OPERATOR.audit_name, "it is still wrong")
    assert audited.payload["detail"]["joins"] is True
    again.refresh_from_db()
    assert [entry["reason"] for entry in again.evidence["again"]] == ["it is still wrong"]
    assert digest_of(EVIDENCE_DOMAIN, read_evidence(again)) != shown


def test_pressing_often_does_not_grow_the_stop_without_end():
    desk.make_desk()
    trip()
    for number in range(MOST_AGAIN + 3):
        event = trip(reason=f"press {number}", actor=OPERATOR)
    event.refresh_from_db()
    assert len(event.evidence["again"]) == MOST_AGAIN
    assert event.evidence["again"][-1]["reason"] == f"press {MOST_AGAIN + 2}"
    assert AuditEvent.objects.filter(action="risk.stop_trip").count() == MOST_AGAIN + 4


def test_a_scope_whose_state_was_lost_can_still_be_tripped_and_is_never_registered_again():
    account = desk.make_desk()
    facts.TradingState.objects.filter(scope="account:main").delete()

    assert ensure_scopes_for_account(account=account, actor="system:test") == []
    with pytest.raises(ScopeExists):
        register_scope(scope="account:main", actor="system:test")
    trip("account:main")

    assert facts.TradingState.objects.get(scope="account:main").state == "HALTED"


def test_deleting_the_state_of_a_standing_stop_leaves_it_halted_in_every_view():
    account = desk.make_desk()
    trip("symbol:SOLUSDT")
    facts.TradingState.objects.filter(scope="symbol:SOLUSDT").delete()

    assert list_trading_states()[0].scope == "symbol:SOLUSDT"
    assert list_trading_states()[0].state == "HALTED"
    assert judge(desk.ask(account)).reason == "STATE_HALTED"


def test_registering_is_audited_once_and_a_registered_scope_refuses():
    account = desk.make_desk()
    scopes = {event.subject_id for event in AuditEvent.objects.filter(action="risk.scope_register")}
    assert scopes == {
        "all",
        "venue:binanceusdm",
        "account:main",
        "strategy:trend",
        "strategy:reversion",
        *(f"symbol:{symbol}" for symbol in desk.SYMBOLS),
    }
    assert ensure_scopes_for_account(account=account, actor="system:test") == []
    with pytest.raises(ScopeExists):
        register_scope(scope="all", actor="system:test")


def test_a_new_symbol_of_a_stopped_account_is_registered_without_waking_the_account():
    account = desk.make_desk()
    trip("account:main")
    trading.assign_strategy(account=account, strategy="trend", symbols=["XRPUSDT"])

    assert ensure_scopes_for_account(account=account, actor="system:test") == ["symbol:XRPUSDT"]
    assert facts.TradingState.objects.get(scope="account:main").state == "HALTED"


@pytest.mark.parametrize("scope", ["", "al", "account:", "venue:nowhere", "symbol:XXXUSDT", "user:olga"])
def test_a_scope_that_nothing_falls_under_is_refused_and_the_attempt_audited(scope):
    desk.make_desk()
    with pytest.raises(ScopeInvalid):
        trip(scope)
    assert not models.StopEvent.objects.exists()
    assert AuditEvent.objects.get(action="risk.stop_trip.denied").payload["detail"]["code"] == "scope_invalid"


def test_a_held_symbol_that_nobody_is_assigned_to_can_be_stopped():
    account = desk.make_desk()
    desk.hold(account, symbol="XRPUSDT")
    assert trip("symbol:XRPUSDT").scope == "symbol:XRPUSDT"


def test_whoever_may_not_stop_is_refused_and_the_attempt_audited():
    desk.make_desk()
    with pytest.raises(NotDesignated):
        trip(actor=AUDITOR)
    with pytest.raises(ScopeMissing):
        trip(actor=Actor(name="bot", kind=ActorKind.TOKEN, scopes=frozenset({TokenScope.READ})))
    assert AuditEvent.objects.filter(action="risk.stop_trip.denied").count() == 2
    assert facts.TradingState.objects.get(scope="all").state == "ACTIVE"

    trip(actor=Actor(name="bot", kind=ActorKind.TOKEN, scopes=frozenset({TokenScope.STOP})))

    assert facts.TradingState.objects.get(scope="all").state == "HALTED"


def test_an_empty_reason_gets_the_default_one():
    desk.make_desk()
    assert trip(reason="  ").reason == "stopped by hand"


@pytest.mark.django_db(transaction=True)
def test_the_sweeper_is_called_after_the_commit_and_only_while_stopping():
    desk.make_desk()
    called: list[int] = []

    event = trip(call_sweeper=called.append)
    assert called == [event.pk]

    models.StopEvent.objects.filter(pk=event.pk).update(progress="STOPPED", stopped_at=event.tripped_at)
    trip(call_sweeper=called.append)
    assert called == [event.pk]


def test_a_guard_that_lived_a_moment_ago_gets_a_second_and_a_silent_one_none(monkeypatch):
    started: list[list[str]] = []

    def note(command: list[str], **_: Any) -> subprocess.Popen[bytes]:
        started.append(command[2:])
        return real([sys.executable, "-c", ""])

    real = subprocess.Popen
    monkeypatch.setattr("controlplane.process.subprocess.Popen", note)
    trading.record_heartbeat(name="guard:sweep")
    start_sweeper(1)
    facts.Heartbeat.objects.all().delete()
    start_sweeper(1)
    assert started == [
        ["emergency_stop", "sweep", "1", "--unless-answered"],
        ["emergency_stop", "sweep", "1"],
    ]


def test_a_stop_stands_even_if_no_process_can_be_started(monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr("controlplane.process.subprocess.Popen", fail)
    start_sweeper(1)


# Commands and views --------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("emergency_stop", *arguments, stdout=out)
    return out.getvalue()


def test_the_status_has_the_promised_shape():
    desk.make_desk()
    trip("strategy:trend")

    rows = json.loads(run("status", "--json"))["scopes"]

    assert rows[0].keys() == {"scope", "state", "progress", "since", "reason", "outstanding"}
    assert (rows[0]["scope"], rows[0]["state"], rows[0]["progress"], rows[0]["outstanding"]) == (
        "strategy:trend",
        "HALTED",
        "STOPPING",
        1,
    )
    assert (rows[1]["state"], rows[1]["progress"], rows[1]["outstanding"]) == ("ACTIVE", None, 0)
    assert "HALTED   strategy:trend" in run("status")
    assert get_stop_status()["scopes"] == rows


def test_the_command_trips_for_a_designated_person_only(monkeypatch):
    desk.make_desk()
    trading.record_heartbeat(name="guard:sweep")
    UserFactory(username="olga", roles=(Role.OPERATOR,))
    UserFactory(username="axel", roles=(Role.AUDITOR,))

    with pytest.raises(CommandError, match="not_designated"):
        run("trip", "--actor", "axel")
    with pytest.raises(CommandError, match="user_not_found"):
        run("trip", "--actor", "nobody")
    answer = json.loads(run("trip", "--scope", "account:main", "--actor", "olga", "--json"))

    event = models.StopEvent.objects.get()
    assert event.positions == "keep"
    assert answer == {
        "scope": "account:main",
        "state": "HALTED",
        "progress": "STOPPING",
        "event_id": event.pk,
    }
    assert event.reason == "stopped by hand"
    run("trip", "--scope", "account:main", "--actor", "olga", "--positions", "flatten")
    event.refresh_from_db()
    assert event.positions == "flatten"


def test_the_risk_state_reads_critical_while_unassessed_or_stale():
    desk.make_desk()
    clocks = get_clocks()
    assert get_risk_state(clocks)["global_risk"]["level"] == "OK"

    models.GlobalRisk.objects.update(checked_at=clocks.wall_at.replace(year=2020))
    assert get_risk_state(clocks)["global_risk"]["level"] == "CRITICAL"

    models.GlobalRisk.objects.all().delete()
    state = get_risk_state(clocks)
    assert state["global_risk"]["level"] == "CRITICAL"
    assert state["global_risk"]["age_seconds"] is None
    assert {row["scope"] for row in state["trading_state"]} >= {"all", "account:main"}


def test_one_stop_of_a_scope_stands_at_a_time():
    desk.make_desk()
    event = trip()
    event.pk = None
    with pytest.raises(Exception, match="stopevent_one_stands"), transaction.atomic():
        event.save(force_insert=True)
