"""Drills against the simulated venue: what they prove, what they may end, and when they are due."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

from controlplane.alerts.models import Alert
from controlplane.approvals import selectors as people
from controlplane.approvals.core import Role
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from risk import models
from risk.stops import drills
from risk.stops.emergency import trip_emergency_stop
from tests import factories
from tests.approvals.conftest import unguarded
from tests.conftest import owner_connection
from tests.risk.rearming import GUARD
from trading import models as facts
from trading.selectors import get_clocks

SCOPE = "account:paper-drill"


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


@pytest.fixture
def desk(venue_desk):
    """The venue's one account belongs to the drill here; whoever else had it is not of this environment."""
    facts.Account.objects.filter(pk=venue_desk.place.account.pk).update(environment="demo")
    facts.Permit.objects.update(active=False)
    facts.MarketPrice.objects.all().delete()
    for symbol in ("BTCUSDT", "BNBUSDT"):
        factories.TradingStateFactory(scope=f"symbol:{symbol}")
    return venue_desk


def state() -> str:
    return facts.TradingState.objects.get(scope=SCOPE).state


def test_a_drill_stops_for_real_and_ends_its_own_stop(desk):
    row = drills.run_drill()

    assert row.proof["faults"] == []
    assert row.is_passed
    assert 0 < row.seconds < 60
    before, after = row.proof["before"], row.proof["after"]
    assert (len(before["entries"]), after["entries"]) == (1, [])
    assert len(before["protections"]) == 2
    assert after["protections"] == before["protections"]
    assert after["positions"] == before["positions"] != {}
    assert "STATE_HALTED" in row.proof["denial"]["codes"]
    assert desk.venue.engine.state.orders == {}
    assert all(position.quantity == 0 for position in desk.venue.engine.state.positions.values())

    event = row.event
    assert (event.source, event.ended_by, event.root_cause) == ("drill", "system:drill", "drill")
    assert state() == "ACTIVE"
    assert AuditEvent.objects.get(action="risk.drill").payload["detail"]["is_passed"] is True
    assert not Alert.objects.filter(severity="critical").exists()
    assert Alert.objects.get(code="emergency_stop_drill").resolved_at is not None
    assert facts.Permit.objects.get(account__name="paper-drill").kind == "PAPER"


def test_a_second_drill_finds_the_account_as_it_left_it(desk):
    assert drills.run_drill().is_passed
    assert drills.run_drill().is_passed
    assert models.Drill.objects.count() == 2


def test_a_real_trip_takes_the_drills_stop_over_and_it_stays(desk, monkeypatch):
    real = drills.dispatch.read_positions

    def read(**values):
        if facts.TradingState.objects.filter(scope=SCOPE, state="HALTED", source="drill").exists():
            trip_emergency_stop(
                scope=SCOPE, reason="for real", actor=GUARD, clocks=get_clocks(), call_sweeper=lambda _: None
            )
        return real(**values)

    monkeypatch.setattr(drills.dispatch, "read_positions", read)
    row = drills.run_drill()

    assert not row.is_passed
    assert any("somebody tripped it" in fault for fault in row.proof["faults"])
    row.event.refresh_from_db()
    assert (row.event.source, row.event.reason, row.event.ended_at) == ("manual", "for real", None)
    assert state() == "HALTED"
    assert set(Alert.objects.filter(severity="critical").values_list("code", flat=True)) == {
        "drill_failed",
        "emergency_stop",
    }
    with refused("drill_not_ready"):
        drills.run_drill()


def test_a_venue_that_does_not_confirm_fails_the_drill_and_the_account_stays_halted(desk, monkeypatch):
    monkeypatch.setattr(drills, "PATIENCE_SECONDS", 0.0)
    real = drills.trip_emergency_stop

    def trip(**values):
        event = real(**values)
        desk.fault("error_before", times=10_000)
        return event

    monkeypatch.setattr(drills, "trip_emergency_stop", trip)
    row = drills.run_drill()
    assert not row.is_passed
    assert row.seconds is None
    assert "the venue did not confirm the stop in time" in row.proof["faults"]
    assert state() == "HALTED"
    assert Alert.objects.get(code="drill_failed", resolved_at=None).severity == "critical"

    # The next one brings its predecessor's stop to its end first.
    desk.clear_faults()
    monkeypatch.setattr(drills, "trip_emergency_stop", real)
    monkeypatch.setattr(drills, "PATIENCE_SECONDS", 60.0)
    again = drills.run_drill()
    assert again.proof["faults"] == []
    assert not models.StopEvent.objects.filter(ended_at=None).exists()
    assert not Alert.objects.filter(code="drill_failed", resolved_at=None).exists()


def test_nothing_is_rehearsed_where_it_must_not_be(desk, settings):
    with refused("drill_not_on_paper"):
        drills.run_drill(account="paper-main")
    for environment in ("demo", "live"):
        settings.TRADING_ENVIRONMENT = environment
        with refused("drill_not_on_paper"):
            drills.run_drill()
        assert drills.run_due_drill() is None
    settings.TRADING_ENVIRONMENT = "paper"
    factories.VenueAccountFactory(account__name="paper-drill", account__environment="demo")
    with refused("drill_not_on_paper"):
        drills.run_drill()
    assert not models.StopEvent.objects.exists()


def test_an_account_that_shares_its_key_is_not_stopped(desk):
    facts.Account.objects.filter(pk=desk.place.account.pk).update(environment="paper")
    with refused("drill_not_ready"):
        drills.run_drill()
    assert not models.StopEvent.objects.exists()


def test_a_halted_desk_rehearses_nothing(desk):
    facts.TradingState.objects.filter(scope="all").update(state="HALTED")
    with refused("drill_not_ready"):
        drills.run_drill()
    assert not models.StopEvent.objects.exists()


def test_an_entry_that_is_denied_leaves_nothing_behind(desk):
    models.GlobalRisk.objects.all().delete()
    desk.fault("error_before", method="POST", path="/fapi/v1/order", times=10_000)
    with refused("drill_not_ready"):
        drills.run_drill()
    assert not models.StopEvent.objects.exists()
    assert not facts.Position.objects.exclude(quantity=0).exists()


def test_two_drills_do_not_run_at_once(desk):
    with owner_connection(connection.settings_dict["NAME"]) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [drills.LOCK])
        with refused("drill_running"):
            drills.run_drill()


def test_one_is_due_when_the_last_good_one_of_this_code_is_old(desk):
    assert drills.is_drill_due(get_clocks().wall_at)
    row = drills.run_due_drill()
    assert row.is_passed
    assert drills.run_due_drill() is None
    with unguarded("risk_drill") as owner:
        owner.execute("UPDATE risk_drill SET finished_at = finished_at - interval '25 hours'")
    assert drills.is_drill_due(get_clocks().wall_at)
    with unguarded("risk_drill") as owner:
        owner.execute("UPDATE risk_drill SET finished_at = now(), code_version = 'another'")
    # Of another version: due, after the few minutes that any last one gives.
    assert not drills.is_drill_due(get_clocks().wall_at)
    assert drills.is_drill_due(get_clocks().wall_at + timedelta(minutes=6))


def test_an_account_that_is_not_ready_is_tried_again_and_told_to_nobody(desk):
    facts.TradingState.objects.filter(scope="all").update(state="HALTED")
    assert drills.run_due_drill() is None
    assert not Alert.objects.exists()


def test_a_drill_is_evidence_that_does_not_change(desk):
    drills.run_drill()
    for attempt in (
        lambda: models.Drill.objects.update(is_passed=False),
        lambda: models.Drill.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()


def test_the_stop_of_a_drill_is_ended_on_paper_only(desk):
    """A row that calls itself a drill's, elsewhere, ends by a request like any other."""
    factories.VenueAccountFactory(account__name="real", account__environment="live")
    for scope in ("account:real", "all"):
        event = models.StopEvent.objects.create(
            scope=scope,
            source="drill",
            actor="me",
            reason="none",
            market_at=Now(),
            progress="STOPPED",
            stopped_at=Now(),
        )
        with pytest.raises(DatabaseError, match="approved request"), transaction.atomic():
            models.StopEvent.objects.filter(pk=event.pk).update(
                ended_at=Now(), ended_by="me", root_cause="drill"
            )


def test_by_command(desk):
    factories.UserFactory(username="olga", roles=(Role.OPERATOR,))
    factories.UserFactory(username="rita", roles=(Role.AUDITOR,))
    out = StringIO()
    call_command("emergency_stop", "drill", "--actor", "olga", "--json", stdout=out)
    assert json.loads(out.getvalue())["is_passed"] is True
    assert AuditEvent.objects.get(action="risk.drill").actor == "olga"
    out = StringIO()
    call_command("emergency_stop", "drill", stdout=out)
    assert "on paper-drill passed" in out.getvalue()
    with pytest.raises(CommandError, match="not_designated"):
        call_command("emergency_stop", "drill", "--actor", "rita")
    with pytest.raises(CommandError, match="drill_not_on_paper"):
        call_command("emergency_stop", "drill", "--account", "paper-main", "--actor", "olga")
    codes = AuditEvent.objects.filter(action="risk.drill.denied").order_by("seq")
    assert [row.payload["detail"]["code"] for row in codes] == ["not_designated", "drill_not_on_paper"]
    assert people.get_actor("olga").roles == {Role.OPERATOR}
