"""Re-arming: asked, approved by another, re-checked; whatever is missing refuses and changes nothing."""

import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.db.models import F
from django.db.models.functions import Now

from controlplane.alerts.models import Alert
from controlplane.approvals import selectors
from controlplane.approvals.core import Actor, ActorKind, Mode, Role, VoteDecision
from controlplane.approvals.models import ApprovalRequest, Designation
from controlplane.approvals.people import request_designation
from controlplane.approvals.requests import open_request, withdraw_request
from controlplane.approvals.voting import vote_on_request
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from risk import models
from risk.judgement import judge_intent
from risk.stops import rearm
from risk.stops.rules import get_stop_rules
from tests.approvals.conftest import (
    REASON,
    choose_mode,
    code_of,
    forget_codes,
    let_time_pass,
    make_person,
    unguarded,
)
from tests.conftest import owner_connection
from tests.risk import desk as rows
from tests.risk.rearming import ROOT_CAUSE, approve, ask, check, confirm, make_ready, trip
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
SCOPE = "account:main"
HOUR = timedelta(hours=1)


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


@pytest.fixture
def account(db):
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    make_person("cat", Role.APPROVER)
    return rows.make_desk()


def state(scope: str = SCOPE) -> str:
    return facts.TradingState.objects.get(scope=scope).state


def stays_halted(event: models.StopEvent) -> bool:
    event.refresh_from_db()
    return event.ended_at is None and state(event.scope) == "HALTED"


def denied_codes(action: str = "approvals.vote.denied") -> list[str]:
    found = AuditEvent.objects.filter(action=action).order_by("seq")
    return [event.payload["detail"]["code"] for event in found]


def first_denial(account: facts.Account) -> str:
    intent = rows.ask(account)
    return judge_intent(intent_id=intent.pk, clocks=get_clocks()).reason


def test_another_person_ends_the_stop_and_trading_goes_on(account):
    event = make_ready(trip(evidence={"measured": "0.25"}))
    assert first_denial(account) == "STATE_HALTED"

    request = ask(event)
    assert stays_halted(event)
    assert request.subject["evidence"] == {"measured": "0.25"}
    assert approve(request).state == "executed"

    event.refresh_from_db()
    assert (event.ended_by, event.root_cause) == ("bob", ROOT_CAUSE)
    assert state() == "ACTIVE"
    assert first_denial(account) == "none"
    done = AuditEvent.objects.get(action="risk.stops.rearm")
    assert (done.actor, done.subject_id, done.payload["reason"]) == ("bob", SCOPE, REASON)
    detail = done.payload["detail"]
    assert (detail["requested_by"], detail["root_cause"], detail["mode"]) == ("ann", ROOT_CAUSE, "dual")
    assert not Alert.objects.filter(code="emergency_stop", resolved_at=None).exists()


def test_the_conditions_are_told_before_they_are_met(account):
    event = trip()
    request = ask(event)
    told = {item["name"]: item["code"] for item in rearm.describe_request_now(request)}
    assert told == {
        "stopped": "not_stopped",
        "cool_down": "cooling_down",
        "next_day": "",
        "preflight": "preflight_missing",
        "books": "open_mismatch",
        "entries": "",
        "trigger": "",
    }
    make_ready(event)
    with refused("stop_changed"):
        approve(request)
    assert stays_halted(event)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda event: confirm(event, ago=timedelta(minutes=14)), "cooling_down"),
        (
            lambda event: models.StopEvent.objects.filter(pk=event.pk).update(
                progress="STOPPING", stopped_at=None
            ),
            "not_stopped",
        ),
        (lambda event: check(is_passed=False, started_at=get_clocks().wall_at), "preflight_failed"),
        (
            lambda event: facts.ReconciliationRun.objects.create(
                venue_account=rows.place_of(facts.Account.objects.get()),
                is_clean=False,
                market_at=get_clocks().market_at,
                started_at=get_clocks().wall_at,
            ),
            "open_mismatch",
        ),
        (
            lambda event: facts.ReconciliationRun.objects.update(
                finished_at=F("finished_at") - timedelta(minutes=2)
            ),
            "open_mismatch",
        ),
        (lambda event: facts.ReconciliationRun.objects.all().delete(), "open_mismatch"),
        (
            lambda event: models.Watch.objects.create(
                trigger="manual", scope=SCOPE, breaches=3, measured="5", threshold="4"
            ),
            "trigger_still_breached",
        ),
    ],
)
def test_what_is_missing_refuses_and_changes_nothing(account, spoil, code):
    event = make_ready(trip())
    request = ask(event)
    tripped_at = event.tripped_at
    spoil(event)
    models.StopEvent.objects.filter(pk=event.pk).update(tripped_at=tripped_at)

    with refused(code):
        approve(request)

    assert stays_halted(event)
    assert denied_codes() == [code]
    request.refresh_from_db()
    assert (request.state, request.votes.count()) == ("proposed", 0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"started_at": "long ago"}, "preflight_stale"),
        ({"started_at": "before the stop"}, "preflight_missing"),
        ({"code_version": "f" * 64}, "preflight_other_code"),
        ({"environment": "demo"}, "preflight_missing"),
        ({"account": "other"}, "preflight_missing"),
        ({"is_passed": False}, "preflight_failed"),
    ],
)
def test_a_pre_flight_must_be_of_this_code_and_place_and_fresh(account, changes, code):
    event = trip()
    ago = {"long ago": timedelta(minutes=16), "before the stop": timedelta(minutes=21)}
    if "started_at" in changes:
        changes = {"started_at": get_clocks().wall_at - ago[changes["started_at"]]}
    make_ready(event, **changes)
    with refused(code):
        approve(ask(event))
    assert stays_halted(event)


def test_a_pre_flight_of_one_account_speaks_for_that_account_only(account):
    own, wide = trip(), trip("all")
    make_ready(own, account="main")
    confirm(wide)
    with refused("preflight_missing"):
        approve(ask(wide))
    forget_codes()
    assert approve(ask(own)).state == "executed"


def test_an_entry_of_unknown_outcome_keeps_the_stop(account):
    intent = rows.ask(account)
    facts.Order.objects.create(
        intent=intent,
        venue_account=rows.place_of(account),
        symbol="SOLUSDT",
        client_order_id="ofunknownoutcome",
        purpose="entry",
        side="buy",
        order_type="limit",
        quantity=1,
        price=150,
        reduce_only=False,
        close_position=False,
        state="unknown",
        market_at=get_clocks().market_at,
        sent_at=get_clocks().wall_at,
    )
    for scope in (SCOPE, "strategy:trend", "symbol:SOLUSDT", "venue:binanceusdm"):
        event = make_ready(trip(scope))
        with refused("unsettled_entries"):
            approve(ask(event))
        assert stays_halted(event)
        forget_codes()
    assert approve(ask(make_ready(trip("strategy:reversion")))).state == "executed"


# Who ----------------------------------------------------------------------------------------------


def test_whoever_asked_cannot_approve(account):
    make_person("dan", Role.REQUESTER, Role.APPROVER)
    event = make_ready(trip())
    request = ask(event, by="dan")
    with refused("self_approval"):
        approve(request, "dan")
    assert stays_halted(event)
    assert approve(request, "bob").state == "executed"


@pytest.mark.parametrize("roles", [(Role.AUDITOR,), (Role.APPROVER,), (Role.ADMIN,), ()])
def test_asking_takes_a_requester_or_an_operator(account, roles):
    make_person("eve", *roles)
    event = make_ready(trip())
    with refused("not_designated"):
        ask(event, by="eve")
    assert denied_codes("approvals.request_open.denied") == ["not_designated"]
    make_person("fay", Role.OPERATOR)
    assert ask(event, by="fay").state == "proposed"


@pytest.mark.parametrize("roles", [(Role.OPERATOR,), (Role.REQUESTER,), (Role.ADMIN,), (Role.AUDITOR,), ()])
def test_approving_takes_an_approver(account, roles):
    make_person("eve", *roles)
    event = make_ready(trip())
    with refused("not_designated"):
        approve(ask(event), "eve")
    assert stays_halted(event)


def test_a_guard_or_a_token_may_ask_and_never_approve(account):
    event = make_ready(trip())
    guard = Actor(name="watch", kind=ActorKind.GUARD)
    request = ask(event, actor=guard)
    with refused("not_a_person"):
        vote_on_request(
            request_id=request.pk, decision=VoteDecision.APPROVE, otp="000000", reason=REASON, actor=guard
        )
    assert stays_halted(event)


def test_an_approver_whose_designation_ended_cannot(account):
    event = make_ready(trip())
    request = ask(event)
    Designation.objects.filter(user__username="bob").update(valid_to=Now())
    with refused("not_designated"):
        approve(request)
    assert stays_halted(event)


def test_a_desk_of_one_person_waits_a_day_and_the_loss_besides(account):
    choose_mode(Mode.SOLO)
    make_person("ida", Role.REQUESTER, Role.APPROVER)
    event = make_ready(trip(source="losing_run"))
    with refused("step_up_required"):
        ask(event, by="ida")
    request = ask(event, by="ida", otp=code_of(selectors.get_user("ida")))
    forget_codes()
    with refused("solo_delay"):
        approve(request, "ida")
    let_time_pass(timedelta(hours=24))
    forget_codes()
    # The day since the asking is over, and the trip is as young as it was.
    with refused("solo_loss_wait"):
        approve(request, "ida")
    assert stays_halted(event)


def test_a_desk_of_one_person_may_when_both_waits_are_over(account):
    choose_mode(Mode.SOLO)
    make_person("ida", Role.REQUESTER, Role.APPROVER)
    event = trip(source="losing_run")
    confirm(event, ago=timedelta(hours=37))
    check()
    rows.refresh(account)
    request = ask(event, by="ida", otp=code_of(selectors.get_user("ida")))
    let_time_pass(timedelta(hours=24))
    forget_codes()
    assert approve(request, "ida").state == "executed"
    assert AuditEvent.objects.get(action="risk.stops.rearm").payload["detail"]["mode"] == "solo"


# What is asked ------------------------------------------------------------------------------------


def test_what_cannot_be_asked(account):
    event = make_ready(trip())
    with refused("root_cause_too_short"):
        ask(event, root_cause="  unknown      ")
    with refused("rebase_refused"):
        ask(event, rebase=True)
    with refused("stop_event_not_found"):
        ask(event, event_id=4711)
    with refused("no_standing_stop"):
        ask(event, event_id=None, scope="venue:binanceusdm")
    with refused("reason_too_short"):
        ask(event, reason="because")
    assert denied_codes("risk.rearm_request.denied") == [
        "root_cause_too_short",
        "rebase_refused",
        "stop_event_not_found",
        "no_standing_stop",
    ]
    first = ask(event, event_id=None, scope=SCOPE)
    with refused("rearm_requested"):
        ask(event)
    approve(first)
    with refused("stop_over"):
        ask(event)
    assert ApprovalRequest.objects.count() == 1


def test_rules_that_changed_since_void_the_request(account, settings, tmp_path):
    event = make_ready(trip())
    request = ask(event)
    text = (settings.CONFIG_DIR / "emergency_stop.yaml").read_text()
    for file in settings.CONFIG_DIR.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "emergency_stop.yaml").write_text(text.replace("losing_run: 5", "losing_run: 6"))
    settings.CONFIG_DIR = tmp_path
    get_stop_rules.cache_clear()
    try:
        with refused("stop_changed"):
            approve(request)
    finally:
        get_stop_rules.cache_clear()
    assert stays_halted(event)


def test_a_stop_that_somebody_ended_meanwhile_is_over(account):
    event = make_ready(trip())
    request = ask(event)
    other = open_request(
        kind=rearm.REARM, subject=request.subject, reason=REASON, actor=selectors.get_actor("ann")
    )
    approve(request)
    forget_codes()
    with refused("stop_over"):
        approve(other)


def test_another_stop_stays_on_its_own_scope(account):
    own, wide = make_ready(trip()), trip("all")
    assert approve(ask(own)).state == "executed"
    assert (state(), state("all")) == ("ACTIVE", "HALTED")
    assert stays_halted(wide)
    assert first_denial(account) == "STATE_HALTED"


def test_a_loss_of_capital_takes_a_new_base_that_was_shown(account):
    event = make_ready(trip(source="capital_loss"))
    models.Watch.objects.create(
        trigger="capital_loss", scope=SCOPE, breaches=3, measured="0.05", threshold="0.04"
    )
    with refused("trigger_still_breached"):
        approve(ask(event))
    forget_codes()
    (plain,) = ApprovalRequest.objects.filter(state="proposed")
    withdraw_request(request_id=plain.pk, reason=REASON, actor=selectors.get_actor("ann"))

    request = ask(event, rebase=True)
    assert request.subject["new_base"] == "1100"
    assert approve(request).state == "executed"
    base = models.CapitalBase.objects.get(account=account, ended_at=None)
    assert (base.equity, base.set_by) == (1100, "bob")
    assert AuditEvent.objects.filter(action="risk.capital_base").exists()


def test_a_new_base_needs_an_equity_and_one_that_still_is(account):
    event = make_ready(trip(source="capital_loss"))
    request = ask(event, rebase=True)
    place = rows.place_of(account)
    later = get_clocks()
    rows.sample_equity(place, 1000, market_at=later.market_at)
    with refused("trigger_still_breached"):
        approve(request)
    assert not models.CapitalBase.objects.filter(set_by="bob").exists()
    assert stays_halted(event)


def test_a_new_base_is_not_asked_for_without_a_fresh_equity(account):
    event = make_ready(trip(source="capital_loss"))
    with unguarded("trading_equitysample") as owner:
        owner.execute("UPDATE trading_equitysample SET at = at - interval '2 minutes'")
    with refused("equity_unknown"):
        ask(event, rebase=True)


# After --------------------------------------------------------------------------------------------


def test_a_larger_profile_only_reduces_for_a_while(db):
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    account = rows.make_desk(profile="SMALL")
    event = make_ready(trip())
    approve(ask(event))
    assert state() == "REDUCING"
    assert rearm.lift_rearmed(clocks=get_clocks()) == 0

    models.Restriction.objects.update(since_at=Now() - timedelta(minutes=6))
    facts.ReconciliationRun.objects.update(is_clean=False)
    assert rearm.lift_rearmed(clocks=get_clocks()) == 0
    assert state() == "REDUCING"
    rows.refresh(account)
    assert rearm.lift_rearmed(clocks=get_clocks()) == 1
    assert state() == "ACTIVE"
    assert rearm.lift_rearmed(clocks=get_clocks()) == 0


def test_re_armed_again_it_reduces_from_the_beginning(db):
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    rows.make_desk(profile="SMALL")
    approve(ask(make_ready(trip())))
    models.Restriction.objects.update(since_at=Now() - timedelta(minutes=6))
    forget_codes()
    approve(ask(make_ready(trip())))
    assert state() == "REDUCING"
    assert rearm.lift_rearmed(clocks=get_clocks()) == 0


def test_two_approvers_at_once_end_it_once(account):
    event = make_ready(trip())
    request = ask(event)
    barrier, outcomes = threading.Barrier(2), []

    def vote(name: str) -> None:
        barrier.wait(timeout=10)
        try:
            outcomes.append(approve(request, name).state)
        except DomainError as refusal:
            outcomes.append(refusal.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=vote, args=(name,)) for name in ("bob", "cat")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert sorted(outcomes) == ["executed", "state_changed"]
    assert AuditEvent.objects.filter(action="risk.stops.rearm").count() == 1
    assert state() == "ACTIVE"


# Nothing else -------------------------------------------------------------------------------------


def commit(statements: list[str]) -> None:
    """All of them in one transaction, as the application's role."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_no_statement_of_the_application_ends_a_stop(account):
    event = confirm(trip())
    ending = (
        "UPDATE risk_stopevent SET ended_at = now(), ended_by = 'me', root_cause = 'none'"
        f" WHERE id = {event.pk}"
    )
    for statements in (
        [ending],
        [ending, "UPDATE trading_tradingstate SET state = 'ACTIVE' WHERE scope = 'account:main'"],
        ["UPDATE trading_tradingstate SET state = 'ACTIVE' WHERE scope = 'account:main'"],
        ["UPDATE trading_tradingstate SET state = 'REDUCING' WHERE scope = 'account:main'"],
        [
            "DELETE FROM trading_tradingstate WHERE scope = 'account:main'",
            "INSERT INTO trading_tradingstate (scope, state, version, reason, source, changed_at)"
            " VALUES ('account:main', 'ACTIVE', 1, '', '', now())",
        ],
        [f"UPDATE risk_stopevent SET scope = 'symbol:NONE' WHERE id = {event.pk}"],
        [f"UPDATE risk_stopevent SET source = 'drill' WHERE id = {event.pk}"],
        [f"DELETE FROM risk_stopevent WHERE id = {event.pk}"],
        ["TRUNCATE risk_stopevent CASCADE"],
        [
            "SET session_replication_role = replica",
            ending,
        ],
    ):
        with pytest.raises(DatabaseError):
            commit(statements)
        assert stays_halted(event)


def test_a_request_of_another_stop_or_one_not_executed_ends_nothing(account):
    event, other = make_ready(trip()), make_ready(trip("strategy:trend"))
    ask(event)
    approve(ask(other))
    with pytest.raises(DatabaseError, match="approved request"), transaction.atomic():
        models.StopEvent.objects.filter(pk=event.pk).update(
            ended_at=Now(), ended_by="me", root_cause="none given"
        )
    assert stays_halted(event)


def test_a_stop_that_ended_stays_ended(account):
    event = make_ready(trip())
    approve(ask(event))
    for changes in ({"ended_at": None}, {"ended_by": "nobody"}, {"root_cause": "another"}):
        with pytest.raises(DatabaseError), transaction.atomic():
            models.StopEvent.objects.filter(pk=event.pk).update(**changes)


def test_a_lost_row_is_halted_and_comes_back_by_re_arming(account):
    event = make_ready(trip())
    facts.TradingState.objects.filter(scope=SCOPE).delete()
    assert first_denial(account) == "STATE_HALTED"
    assert approve(ask(event)).state == "executed"
    assert state() == "ACTIVE"


def test_another_process_and_a_restart_find_it_halted(account):
    trip()
    connections.close_all()
    answer = subprocess.run(
        [sys.executable, str(Path(__file__).parents[2] / "manage.py"), "emergency_stop", "status", "--json"],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    scopes = {row["scope"]: row["state"] for row in json.loads(answer.stdout)["scopes"]}
    assert scopes[SCOPE] == "HALTED"


def test_a_restored_database_is_halted(account):
    """The rows as a dump holds them, brought into empty tables of another schema and back."""
    event = make_ready(trip())
    copied = {}
    with connection.cursor() as cursor:
        for table in ("risk_stopevent", "trading_tradingstate"):
            cursor.execute(f"SELECT json_agg(t) FROM {table} t")
            copied[table] = json.dumps(cursor.fetchone()[0], default=str)
    name = connection.settings_dict["NAME"]
    with unguarded("risk_stopevent", "trading_tradingstate") as owner:
        owner.execute("DELETE FROM trading_tradingstate")
        owner.execute("DELETE FROM risk_stopevent")
    with owner_connection(name) as owner:
        for table, text in copied.items():
            owner.execute(
                f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s)",
                [text],
            )
    assert stays_halted(event)
    assert first_denial(account) == "STATE_HALTED"
    with pytest.raises(DatabaseError), transaction.atomic():
        facts.TradingState.objects.filter(scope=SCOPE).update(state="ACTIVE")


# By command ---------------------------------------------------------------------------------------


def run(*words: str) -> str:
    out = StringIO()
    call_command("emergency_stop", *words, stdout=out)
    return out.getvalue()


def test_the_whole_way_by_command(account):
    event = make_ready(trip())
    told = json.loads(run("rearm-status", "--json"))["stops"]
    assert [(row["event_id"], row["request_id"]) for row in told] == [(event.pk, None)]
    words = ("--root-cause", ROOT_CAUSE, "--actor", "ann", "--reason", REASON)
    asked = json.loads(run("rearm-request", str(event.pk), *words, "--json"))
    assert all(item["is_met"] for item in asked["conditions"])
    text = run("rearm-status", "--scope", SCOPE)
    assert asked["id"] in text
    assert "MISSING" not in text
    with pytest.raises(CommandError, match="step_up_wrong"):
        run("rearm-approve", asked["id"], "--otp", "x", "--actor", "bob", "--reason", REASON)
    otp = code_of(selectors.get_user("bob"))
    answer = run("rearm-approve", asked["id"], "--otp", otp, "--actor", "bob", "--reason", REASON)
    assert f"stop {event.pk} of {SCOPE} has ended" in answer
    assert state() == "ACTIVE"
    assert run("rearm-status") == "no stop stands\n"


def test_the_command_says_what_is_missing_and_refuses_with_a_code(account):
    event = trip()
    words = ("--root-cause", ROOT_CAUSE, "--actor", "ann", "--reason", REASON)
    text = run("rearm-request", "--scope", SCOPE, *words)
    assert "MISSING stopped" in text
    (request,) = ApprovalRequest.objects.all()
    otp = code_of(selectors.get_user("bob"))
    with pytest.raises(CommandError, match="not_stopped") as failure:
        run("rearm-approve", str(request.pk), "--otp", otp, "--actor", "bob", "--reason", REASON)
    assert failure.value.returncode == 1
    assert stays_halted(event)


def test_the_command_approves_nothing_but_re_arming(account):
    other = request_designation(
        name="cat", role=Role.AUDITOR, reason=REASON, actor=selectors.get_actor("ann")
    )
    with pytest.raises(CommandError, match="not_a_rearm_request"):
        run("rearm-approve", str(other.pk), "--otp", "1", "--actor", "bob", "--reason", REASON)
