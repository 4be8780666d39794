"""A fresh activation is watched: marks taken once and never filled in, guards counted, tripped, latched."""

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models import F

from controlplane.alerts.models import Alert
from controlplane.audit.models import AuditEvent
from golive.core.guards import GuardName, Reading
from golive.core.words import GuardVerdict
from golive.guards import GUARDS, Guard, run_guards
from golive.holds import find_hold
from golive.models import Activation, GuardCount, GuardTrip, Hold, Observation, Rollback
from golive.observing import find_tolerance, observe_activation, observe_activations, trip_activation
from golive.programme_rules import get_programme_rules
from golive.services import resume_rollbacks
from risk.models import GlobalRisk
from risk.services import judge_intent
from tests.factories import HeartbeatFactory
from tests.golive.live import confirm, go_live, let_pass, make_limits, permit_of, release
from tests.risk import desk
from trading import models as facts
from trading.core.values import Clocks
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal
RULES = get_programme_rules().guards


@pytest.fixture
def account(db):
    HeartbeatFactory(name="guard:sweep")
    return desk.make_desk()


@pytest.fixture
def activation(account):
    row = go_live(account)
    desk.refresh(account)
    return row


def look(activation, **changes):
    return observe_activation(activation.pk, **{"call_finisher": lambda _: None} | changes)


def later(minutes: float) -> Clocks:
    """The market so many minutes on; the wall stays."""
    now = get_clocks()
    return replace(now, market_at=now.market_at + timedelta(minutes=minutes))


def saying(name: GuardName, value, **reading):
    """The guards, of which one reads this."""
    fixed = Reading(value=value if value is None else D(value), **reading)
    return {**GUARDS, name: replace(GUARDS[name], read=lambda _activation, _clocks: fixed)}


def raising(name: GuardName):
    def read(_activation, _clocks):
        raise RuntimeError("a bug in the guard")

    return {**GUARDS, name: replace(GUARDS[name], read=read)}


def count_of(activation, guard):
    return GuardCount.objects.get(activation=activation, guard=guard.value)


# Marks -----------------------------------------------------------------------------------------------


def test_the_first_mark_has_everything_and_is_taken_once(activation):
    look(activation)
    look(activation)
    row = Observation.objects.get()
    assert (row.minute, row.verdict) == (0, "pass")
    assert row.facts["equity"] == {"binanceusdm": "1100"}
    assert row.facts["states"] == {"all": "ACTIVE", "account:main": "ACTIVE", "venue:binanceusdm": "ACTIVE"}
    assert row.facts["decisions"]["entries"] == 0
    assert set(row.facts["ages"]) == {"prices", "balance", "comparison"}
    assert {item["guard"] for item in row.guards} == {name.value for name in GuardName}
    verdicts = {item["guard"]: item["verdict"] for item in row.guards}
    assert verdicts["denials"] == verdicts["slippage"] == "inconclusive"
    event = AuditEvent.objects.get(action="golive.observation")
    assert (event.actor, event.subject_id) == ("observing", "main")


def test_each_mark_comes_in_market_time(activation):
    for minute in (0, 14, 15, 29, 30, 60, 90, 119, 120):
        look(activation, clocks=later(minute))
    found = dict(Observation.objects.order_by("minute").values_list("minute", "verdict"))
    assert found == dict.fromkeys(get_programme_rules().marks, "pass")


def test_a_mark_that_was_missed_is_inconclusive_for_ever(activation):
    look(activation)
    late = timedelta(minutes=15) + find_tolerance() + timedelta(seconds=1)
    look(activation, clocks=later(late.total_seconds() / 60))
    row = Observation.objects.get(minute=15)
    assert (row.verdict, row.guards, row.facts["missed"]) == ("inconclusive", [], True)
    look(activation, clocks=later(15))
    assert Observation.objects.get(minute=15).pk == row.pk
    assert Observation.objects.count() == 2


def test_a_machine_that_was_away_misses_all_of_them(activation):
    let_pass(activation, 300)
    look(activation)
    found = Observation.objects.values_list("minute", "verdict")
    assert dict(found) == dict.fromkeys(get_programme_rules().marks, "inconclusive")


def test_what_is_held_and_how_it_is_protected_is_seen(activation, account):
    desk.hold(account)
    look(activation)
    assert Observation.objects.get().facts["positions"] == [
        {
            "venue": "binanceusdm",
            "symbol": "SOLUSDT",
            "quantity": "0.3",
            "stop": None,
            "target": None,
            "is_unprotected": False,
        }
    ]


def test_what_is_confirmed_is_not_observed_any_more(activation):
    confirm(activation)
    assert observe_activations() == 0
    assert not Observation.objects.exists()


# Guards, each on its own facts -----------------------------------------------------------------------


def verdict_of(activation, name, **clocks):
    now = replace(get_clocks(), **clocks)
    found = {item.guard: item for item in run_guards(activation, RULES, now)}
    return found[name.value]


def test_on_a_healthy_desk_every_guard_with_data_passes(activation):
    found = run_guards(activation, RULES, get_clocks())
    verdicts = {item.guard: item.verdict.value for item in found}
    waiting = dict.fromkeys(("denials", "slippage"), "inconclusive")
    assert verdicts == dict.fromkeys([name.value for name in GuardName], "pass") | waiting


def sample(account, equity, seconds=1):
    at = get_clocks().market_at + timedelta(seconds=seconds)
    desk.sample_equity(desk.place_of(account), equity, market_at=at)


def test_loss_is_of_the_equity_at_activation_and_net_of_flows(activation, account):
    sample(account, 1085)
    lost = verdict_of(activation, GuardName.LOSS)
    assert (lost.verdict, lost.measured) == (GuardVerdict.FAIL, "0.0136363636")
    facts.Income.objects.create(
        venue_account=desk.place_of(account),
        venue_income_id="1",
        kind="TRANSFER",
        amount=D(-15),
        market_at=get_clocks().market_at,
    )
    assert verdict_of(activation, GuardName.LOSS).measured == "0"


def test_drawdown_is_from_the_peak_since_activation(activation, account):
    sample(account, 1200, 1)
    sample(account, 1150, 2)
    now = get_clocks().market_at + timedelta(seconds=3)
    found = verdict_of(activation, GuardName.DRAWDOWN, market_at=now)
    assert (found.verdict, found.measured) == (GuardVerdict.FAIL, "0.0416666667")
    assert verdict_of(activation, GuardName.LOSS).verdict is GuardVerdict.PASS


def test_a_position_without_a_stop_fails_after_its_time(activation, account):
    wall_at = get_clocks().wall_at
    desk.hold(account, unprotected_since=wall_at - timedelta(seconds=29))
    assert verdict_of(activation, GuardName.UNPROTECTED, wall_at=wall_at).verdict is GuardVerdict.PASS
    facts.Position.objects.update(unprotected_since=wall_at - timedelta(seconds=31))
    assert verdict_of(activation, GuardName.UNPROTECTED, wall_at=wall_at).verdict is GuardVerdict.FAIL


def test_differences_of_the_newest_comparison_are_counted(activation, account):
    facts.ReconciliationRun.objects.create(
        venue_account=desk.place_of(account),
        is_clean=False,
        differences=[{"symbol": "SOLUSDT"}, {"symbol": "DOGEUSDT"}],
        market_at=get_clocks().market_at,
        started_at=get_clocks().wall_at,
    )
    found = verdict_of(activation, GuardName.RECONCILIATION)
    assert (found.verdict, found.measured) == (GuardVerdict.FAIL, "2")


def test_denials_are_a_share_of_enough_entries(activation, account):
    for _ in range(9):
        judge_intent(intent_id=desk.ask(account, quantity=D(900)).pk, clocks=get_clocks())
    assert verdict_of(activation, GuardName.DENIALS).verdict is GuardVerdict.INCONCLUSIVE
    judge_intent(intent_id=desk.ask(account, quantity=D(900)).pk, clocks=get_clocks())
    found = verdict_of(activation, GuardName.DENIALS)
    assert (found.verdict, found.measured, found.detail) == (GuardVerdict.FAIL, "1", "10 of 10 denied")


@pytest.mark.parametrize(("level", "verdict"), [("OK", "pass"), ("WARNING", "pass"), ("CRITICAL", "fail")])
def test_global_risk_fails_when_critical(activation, level, verdict):
    now = get_clocks()
    GlobalRisk.objects.create(level=level, checked_at=now.wall_at, market_at=now.market_at)
    assert verdict_of(activation, GuardName.GLOBAL_RISK).verdict.value == verdict


@pytest.mark.parametrize(
    ("scope", "state", "verdict"),
    [
        ("all", "HALTED", "fail"),
        ("venue:binanceusdm", "HALTED", "fail"),
        ("account:main", "REDUCING", "inconclusive"),
    ],
)
def test_a_stop_fails_and_reducing_says_nothing(activation, scope, state, verdict):
    facts.TradingState.objects.filter(scope=scope).update(state=state)
    assert verdict_of(activation, GuardName.STOP_STATE).verdict.value == verdict


def test_a_state_that_was_lost_is_halted(activation):
    facts.TradingState.objects.filter(scope="account:main").delete()
    assert verdict_of(activation, GuardName.STOP_STATE).verdict is GuardVerdict.FAIL


def test_protections_that_filled_far_beyond_their_trigger(activation, account):
    for number, price in enumerate(("146.0", "146.2", "145.0")):
        intent = desk.ask(account)
        facts.Order.objects.create(
            intent=intent,
            venue_account=desk.place_of(account),
            symbol="SOLUSDT",
            client_order_id=f"stop{number}",
            purpose="stop_loss",
            side="sell",
            order_type="stop_market",
            trigger_price=D("146.25"),
            average_price=D(price),
            close_position=True,
            reduce_only=False,
            state="filled",
            market_at=get_clocks().market_at,
        )
        found = verdict_of(activation, GuardName.SLIPPAGE)
        assert found.verdict is (GuardVerdict.FAIL if number == 2 else GuardVerdict.INCONCLUSIVE)
    assert D(found.measured) == pytest.approx(D("0.00854701"))


@pytest.mark.parametrize(
    "name",
    [
        GuardName.LOSS,
        GuardName.DRAWDOWN,
        GuardName.UNPROTECTED,
        GuardName.RECONCILIATION,
        GuardName.EXECUTION_ERRORS,
        GuardName.GLOBAL_RISK,
        GuardName.FRESHNESS,
    ],
)
@pytest.mark.parametrize("seconds", [61, 200])
def test_a_feed_that_stopped_is_never_a_pass(activation, name, seconds):
    wall_at = get_clocks().wall_at + timedelta(seconds=seconds)
    assert verdict_of(activation, name, wall_at=wall_at).verdict is GuardVerdict.INCONCLUSIVE


def test_data_that_stays_away_fails(activation):
    wall_at = get_clocks().wall_at + timedelta(seconds=301)
    assert verdict_of(activation, GuardName.FRESHNESS, wall_at=wall_at).verdict is GuardVerdict.FAIL


@pytest.mark.parametrize("name", [GuardName.LOSS, GuardName.DRAWDOWN, GuardName.RECONCILIATION])
def test_without_any_data_nothing_passes(account, name):
    place = facts.VenueAccount.objects.create(account=account, venue="empty", priority=1)
    facts.VenueAccount.objects.filter(priority=0).update(priority=2)
    facts.VenueAccount.objects.filter(pk=place.pk).update(priority=0)
    row = go_live(account)
    assert verdict_of(row, name).verdict is GuardVerdict.INCONCLUSIVE


# Counting and what follows ---------------------------------------------------------------------------


def test_counts_survive_and_a_pass_ends_the_row(activation):
    fails = saying(GuardName.LOSS, "0.02")
    assert look(activation, guards=fails) is None
    assert look(activation, guards=fails) is None
    row = count_of(activation, GuardName.LOSS)
    assert (row.verdict, row.fails, row.measured, row.threshold) == ("fail", 2, "0.02", "0.01")
    look(activation)
    assert count_of(activation, GuardName.LOSS).fails == 0
    assert not GuardTrip.objects.exists()


def test_one_fail_too_many_trips_and_everything_of_it_is_one_commit(activation, account):
    go = saying(GuardName.LOSS, "0.02", detail="the market fell")
    look(activation, guards=go)
    look(activation, guards=go)
    row = look(activation, guards=go)

    assert row is not None
    assert (row.trigger, row.actor, row.activation_id) == ("guard:loss", "guard:observing", activation.pk)
    trip = GuardTrip.objects.get()
    assert (trip.guard, trip.verdict, trip.measured, trip.threshold) == ("loss", "fail", "0.02", "0.01")
    assert "the market fell" in find_hold(account).reason
    assert permit_of(account) is None
    assert Alert.objects.filter(code="rolled_back", severity="critical").count() == 1
    for action in ("golive.guard_trip", "golive.hold", "golive.rollback"):
        assert AuditEvent.objects.get(action=action).actor_kind == "guard", action


def test_a_guard_without_patience_trips_at_once(activation):
    assert look(activation, guards=saying(GuardName.UNPROTECTED, "31")) is not None


def test_what_was_superseded_meanwhile_takes_its_successor_along_nowhere(activation, account):
    fails = saying(GuardName.UNPROTECTED, "31")
    results = run_guards(activation, RULES, get_clocks(), fails)
    bad = next(item for item in results if item.guard == "unprotected")
    newer = go_live(account, make_limits("SMALL"))
    assert trip_activation(activation, bad, get_clocks(), lambda _: None) is None
    newer.refresh_from_db()
    assert (newer.state, Rollback.objects.count()) == ("observing", 0)


def test_blindness_holds_and_pages_and_takes_nothing_back(activation, account):
    rules = {**RULES, "loss": replace(RULES["loss"], inconclusive_limit=2)}
    blind = saying(GuardName.LOSS, None, samples=0)
    for _ in range(3):
        assert find_hold(account) is None
        assert look(activation, guards=blind, rules=rules) is None
    assert "guard loss cannot say anything" in find_hold(account).reason
    assert Alert.objects.filter(code="account_held", severity="critical").count() == 1
    assert permit_of(account) is not None
    look(activation, guards=blind, rules=rules)
    assert Hold.objects.count() == 1


def test_an_exception_is_an_error_and_too_many_lead_back(activation, caplog):
    broken = raising(GuardName.EXECUTION_ERRORS)
    for _ in range(3):
        assert look(activation, guards=broken) is None
    row = count_of(activation, GuardName.EXECUTION_ERRORS)
    assert (row.verdict, row.errors, row.detail) == ("error", 3, "RuntimeError: a bug in the guard")
    assert look(activation, guards=broken) is not None
    assert GuardTrip.objects.get().verdict == "error"
    assert "failed" in caplog.text


@pytest.mark.parametrize("name", GuardName)
def test_whichever_guard_breaks_it_is_never_a_pass(activation, name):
    found = {item.guard: item.verdict for item in run_guards(activation, RULES, get_clocks(), raising(name))}
    assert found[name.value] is GuardVerdict.ERROR


@pytest.mark.parametrize("name", GuardName)
@pytest.mark.parametrize("what", ["rule", "guard"])
def test_a_guard_that_is_taken_away_is_drift_and_leads_back(activation, name, what):
    look(activation)
    rules = {key: rule for key, rule in RULES.items() if what != "rule" or key != name}
    left = {key: guard for key, guard in GUARDS.items() if what != "guard" or key is not name}
    rows = [look(activation, guards=left, rules=rules) for _ in range(3)]
    trip = GuardTrip.objects.get()
    assert (trip.guard, trip.verdict) == ("drift", "fail")
    assert name.value in trip.detail
    assert any(rows)


def test_a_guard_that_was_renamed_is_drift(activation):
    GuardCount.objects.create(activation=activation, guard="an_old_name", verdict="pass")
    found = {item.guard: item for item in run_guards(activation, RULES, get_clocks())}
    assert found["drift"].verdict is GuardVerdict.FAIL
    assert "an_old_name" in found["drift"].detail


def test_what_the_guards_count_is_not_deleted(activation):
    look(activation)
    with pytest.raises(DatabaseError), transaction.atomic():
        GuardCount.objects.filter(activation=activation).delete()


# The latch -------------------------------------------------------------------------------------------


def test_after_a_trip_a_healthy_desk_changes_nothing(activation, account):
    look(activation, guards=saying(GuardName.UNPROTECTED, "31"))
    for _ in range(5):
        assert observe_activations() == 0
    activation.refresh_from_db()
    assert (activation.state, permit_of(account), Hold.objects.count()) == ("rolled_back", None, 1)
    assert find_hold(account) is not None


def test_a_released_account_is_not_active_by_that(activation, account):
    look(activation, guards=saying(GuardName.UNPROTECTED, "31"))
    resume_rollbacks()
    release(account)
    observe_activations()
    activation.refresh_from_db()
    assert (activation.state, permit_of(account)) == ("rolled_back", None)
    assert not Activation.objects.filter(account=account, ended_at__isnull=True).exists()


def test_a_restart_of_the_guard_does_not_begin_anew(activation, account):
    """The counts are rows: three fails before and after a restart are three."""
    fails = saying(GuardName.DRIFT, "1")
    for _ in range(2):
        look(activation, guards=fails)
    assert count_of(activation, GuardName.DRIFT).fails == 2
    assert look(activation, guards=dict(fails)) is not None


@pytest.mark.django_db(transaction=True)
def test_two_evaluators_at_once_trip_once(transactional_db):
    HeartbeatFactory(name="guard:sweep")
    account = desk.make_desk()
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    activation = go_live(account, make_limits("SMALL"))
    desk.refresh(account)
    fails, barrier, found = saying(GuardName.UNPROTECTED, "31"), threading.Barrier(4), []

    def evaluate():
        try:
            barrier.wait(10)
            found.append(look(activation, guards=fails))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=evaluate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len({row.pk for row in found if row is not None}) == 1
    assert (GuardTrip.objects.count(), Rollback.objects.count(), Hold.objects.count()) == (1, 1, 1)
    assert facts.Permit.objects.filter(account=account, active=True).count() == 1
    assert AuditEvent.objects.filter(action="golive.rollback").count() == 1


# The lease -------------------------------------------------------------------------------------------


def test_without_the_guard_a_live_permit_lapses_and_nothing_is_closed(activation, account):
    position = desk.hold(account)
    facts.Permit.objects.filter(active=True).update(lease_expires_at=F("created_at") - timedelta(seconds=1))
    denied = judge_intent(intent_id=desk.ask_doge(account).pk, clocks=get_clocks())
    assert (denied.allowed, denied.reason) == (False, "PERMIT_EXPIRED")
    exit_intent = desk.ask(
        account,
        side="sell",
        purpose="exit",
        reduce_only=True,
        quantity=D("0.3"),
        stop_loss=None,
        take_profit=None,
    )
    assert judge_intent(intent_id=exit_intent.pk, clocks=get_clocks()).allowed
    position.refresh_from_db()
    assert position.quantity == D("0.3")
    assert permit_of(account).active


def test_guards_are_a_closed_set():
    assert set(GUARDS) == set(GuardName) == set(RULES)
    assert all(isinstance(guard, Guard) for guard in GUARDS.values())
