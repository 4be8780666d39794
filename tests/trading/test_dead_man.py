"""The venue's dead-man timer: off, unless a probe of this code has shown that protections survive it."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from controlplane.alerts.models import Alert
from trading import dead_man, dispatch, models
from trading.core.sizing import round_to_grid
from trading.core.values import Environment
from trading.dispatch.dead_man import ProbeRefused
from trading.dispatch.orders import open_venue
from trading.venues.gateway import VenueUnavailable

D = Decimal
SYMBOL, OTHER = "ETHUSDT", "SOLUSDT"
COUNTDOWN = "/fapi/v1/countdownCancelAll"


def run_out(desk: Any) -> Callable[[float], None]:
    """Instead of waiting: every timer that is armed has run out."""

    def wait(_: float) -> None:
        for symbol in list(desk.venue.engine.state.countdowns):
            desk.venue.execute("set_countdown", symbol=symbol, deadline_ms=1)
        desk.venue.tick()

    return wait


def probe(desk: Any, symbol: str = SYMBOL) -> dispatch.TimerProbe:
    return dead_man.probe_dead_man_timer(venue_account=desk.place, symbol=symbol, wait=run_out(desk))


def configure(desk: Any, folder: Any, seconds: int) -> None:
    for file in desk.settings.CONFIG_DIR.glob("*.yaml"):
        text = file.read_text()
        text = text.replace("dead_man_timer_seconds: 0", f"dead_man_timer_seconds: {seconds}")
        (folder / file.name).write_text(text)
    desk.settings.CONFIG_DIR = folder


def rest(desk: Any, symbol: str = SYMBOL) -> models.Order:
    mark = desk.refresh_price(symbol)
    price = round_to_grid(mark * D("0.97"), D("0.01"), "ROUND_FLOOR")
    intent = desk.approve(
        symbol=symbol,
        order_type="limit",
        price=price,
        quantity=D("0.04") if symbol == SYMBOL else D("0.5"),
        stop_loss=round_to_grid(price * D("0.98"), D("0.01"), "ROUND_FLOOR"),
    )
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, models.Order)
    assert order.state == "open"
    return order


def armed(desk: Any) -> set[str]:
    return set(desk.venue.engine.state.countdowns)


@pytest.fixture
def ready(desk: Any, tmp_path: Any) -> Any:
    """A venue whose timer spares conditional orders, a good probe, a timer of 30 s and a resting entry."""
    desk.venue.timer_spares_conditionals = True
    assert probe(desk, OTHER).is_good
    configure(desk, tmp_path, 30)
    rest(desk)
    return desk


# The probe ----------------------------------------------------------------------------------------


def test_a_timer_that_spares_protections_passes_and_leaves_nothing_behind(desk):
    desk.venue.timer_spares_conditionals = True
    assert probe(desk) == dispatch.TimerProbe(entry_is_gone=True, protection_rests=True)
    state = desk.venue.engine.state
    assert (state.orders, state.algos, armed(desk), desk.held()) == ({}, {}, set(), 0)
    assert dead_man.may_arm(desk.place.venue)


def test_a_timer_that_takes_protections_too_is_not_good_and_may_not_be_armed(desk):
    found = probe(desk)
    assert (found.entry_is_gone, found.protection_rests, found.is_good) == (True, False, False)
    assert not dead_man.may_arm(desk.place.venue)
    assert desk.venue.engine.state.orders == {}


def test_a_timer_that_takes_nothing_is_not_good(desk):
    found = dead_man.probe_dead_man_timer(venue_account=desk.place, symbol=SYMBOL, wait=lambda _: None)
    assert (found.entry_is_gone, found.is_good) == (False, False)
    assert (desk.venue.engine.state.orders, desk.resting()) == ({}, [])


@pytest.mark.parametrize("path", [COUNTDOWN, "/fapi/v1/algoOrder"])
def test_a_venue_that_refuses_proves_nothing_and_keeps_nothing(desk, path):
    desk.fault("error_before", method="POST", path=path, status=400, code=-1111, times=1)
    with pytest.raises(VenueUnavailable):
        probe(desk)
    assert (dead_man.get_probe(desk.place.venue), desk.venue.engine.state.orders) == (None, {})


def test_an_entry_that_fills_during_the_probe_is_closed(desk):
    def fill(_: float) -> None:
        desk.gap("-6")

    dead_man.probe_dead_man_timer(venue_account=desk.place, symbol=SYMBOL, wait=fill)
    assert desk.held() == 0


def test_the_probe_is_refused_where_anything_rests_or_is_held(desk):
    order = rest(desk)
    with pytest.raises(ProbeRefused, match="something rests"):
        probe(desk)
    dispatch.cancel_order(order_id=order.pk)
    dispatch.send_intent(intent_id=desk.approve().id)
    with pytest.raises(ProbeRefused, match="something rests"):
        probe(desk)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_the_probe_is_refused_while_halted_and_never_made_live(desk):
    models.TradingState.objects.filter(scope="all").update(state="HALTED")
    with pytest.raises(ProbeRefused, match="HALTED"):
        probe(desk)
    desk.place.account.environment = Environment.LIVE
    with pytest.raises(ProbeRefused, match="never live"):
        probe(desk)


def test_a_probe_counts_only_for_its_code_and_its_environment(ready):
    venue = ready.place.venue
    row = models.Heartbeat.objects.get(name=f"dead_man_probe:paper:{venue}")
    good = dict(row.detail)
    models.Heartbeat.objects.filter(pk=row.pk).update(detail=good | {"code_version": "another"})
    assert not dead_man.may_arm(venue)
    models.Heartbeat.objects.filter(pk=row.pk).update(detail=good)
    assert dead_man.may_arm(venue)
    ready.settings.TRADING_ENVIRONMENT = "live"
    assert not dead_man.may_arm(venue)
    models.Heartbeat.objects.create(name=f"dead_man_probe:demo:{venue}", beat_at=row.beat_at, detail=good)
    assert dead_man.may_arm(venue)
    ready.settings.TRADING_ENVIRONMENT = "paper"


def test_the_command_says_what_the_timer_takes(desk, monkeypatch):
    monkeypatch.setattr("time.sleep", run_out(desk))
    arguments = ("dead_man_timer", "--account", desk.place.account.name, "--symbol", SYMBOL)
    out = StringIO()
    with pytest.raises(CommandError, match="must stay off"):
        call_command(*arguments, stdout=out)
    assert out.getvalue() == f"{desk.place}: entry gone, protection GONE\n"
    desk.venue.timer_spares_conditionals = True
    out = StringIO()
    call_command(*arguments, "--venue", desk.place.venue, "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"entry_is_gone": True, "protection_rests": True}
    with pytest.raises(CommandError, match="account_not_found"):
        call_command("dead_man_timer", "--account", "nobody", "--symbol", SYMBOL)


# Renewing -----------------------------------------------------------------------------------------


def test_it_is_off_by_default(desk):
    desk.venue.timer_spares_conditionals = True
    probe(desk, OTHER)
    rest(desk)
    before = desk.requests_to("POST", COUNTDOWN)
    dead_man.renew_timers()
    assert (armed(desk), desk.requests_to("POST", COUNTDOWN)) == (set(), before)


def test_without_a_good_probe_it_is_refused_and_told(desk, tmp_path):
    configure(desk, tmp_path, 30)
    rest(desk)
    dead_man.renew_timers()
    dead_man.renew_timers()
    assert armed(desk) == set()
    assert Alert.objects.get(code="dead_man_timer_refused").resolved_at is None
    desk.venue.timer_spares_conditionals = True
    probe(desk, OTHER)
    dead_man.renew_timers()
    assert armed(desk) == {SYMBOL}
    assert Alert.objects.get(code="dead_man_timer_refused").resolved_at is not None


def test_only_symbols_with_a_resting_entry_are_armed_and_renewed_in_time(ready):
    dispatch.send_intent(intent_id=ready.approve(symbol=OTHER, quantity=D("0.5")).id)
    before = ready.requests_to("POST", COUNTDOWN)
    dead_man.renew_timers()
    dead_man.renew_timers()
    assert (armed(ready), ready.requests_to("POST", COUNTDOWN)) == ({SYMBOL}, before + 1)
    models.Heartbeat.objects.filter(name__startswith="dead_man:").update(
        beat_at=F("beat_at") - timedelta(seconds=10)
    )
    dead_man.renew_timers()
    assert ready.requests_to("POST", COUNTDOWN) == before + 2


def test_when_nobody_renews_the_venue_takes_the_entry_and_spares_the_protections(ready):
    dispatch.send_intent(intent_id=ready.approve().id)
    dead_man.renew_timers()
    run_out(ready)(0)
    assert ready.venue.engine.state.orders == {}
    assert ready.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


@pytest.mark.parametrize("scope", ["all", "venue:binanceusdm", "account", f"symbol:{SYMBOL}"])
def test_nothing_is_renewed_while_halted(ready, scope):
    name = f"account:{ready.place.account.name}" if scope == "account" else scope
    models.TradingState.objects.filter(scope=name).update(state="HALTED")
    dead_man.renew_timers()
    assert armed(ready) == set()


@pytest.mark.parametrize("fault", ["error_before", "lost_answer", "empty_body"])
def test_a_renewal_that_fails_is_told_until_one_succeeds(ready, fault):
    ready.fault(fault, method="POST", path=COUNTDOWN)
    dead_man.renew_timers()
    alert = Alert.objects.get(code="dead_man_timer_failed")
    assert (alert.severity, alert.scope) == ("warning", f"{ready.place}:{SYMBOL}")
    dead_man.renew_timers()
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_a_venue_that_cannot_be_opened_is_told(ready):
    from trading.venues import close_gateways

    ready.settings.SIMULATED_VENUES = {}
    close_gateways()
    dead_man.renew_timers()
    assert "names no address" in Alert.objects.get(code="dead_man_timer_failed").text


def test_the_gateway_disarms_with_zero(desk):
    gateway = open_venue(desk.place)
    assert gateway.arm_dead_man_timer(SYMBOL, 60_000).kind == "accepted"
    assert armed(desk) == {SYMBOL}
    assert gateway.arm_dead_man_timer(SYMBOL, 0).kind == "accepted"
    assert armed(desk) == set()
    assert gateway.arm_dead_man_timer("NOSUCHUSDT", 1000).kind == "rejected"
