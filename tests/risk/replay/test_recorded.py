"""The decisions that the desk has stored, read back with what became of their entries."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.utils import timezone

from risk.judgement import judge_intent
from risk.limits import load_profiles
from risk.models import Decision
from risk.replay.impact import Change, measure_impact
from risk.replay.recorded import load_recorded
from tests.risk import desk
from trading.models import Trade, VenueAccount
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db


def record(account, *, net: str | None = None) -> Decision:
    intent = desk.ask(account)
    decision = judge_intent(intent_id=intent.pk, clocks=get_clocks())
    if net is not None:
        now = timezone.now()
        Trade.objects.create(
            venue_account=VenueAccount.objects.get(account=account),
            strategy=intent.strategy,
            symbol=intent.symbol,
            side=intent.side,
            entry_intent=intent,
            max_quantity=intent.quantity,
            entry_price=Decimal(150),
            exit_price=Decimal(149),
            net_pnl=Decimal(net),
            opened_at=now - timedelta(minutes=1),
            closed_at=now,
        )
    return decision


def test_a_stored_decision_is_judged_as_it_was():
    decision = record(desk.make_desk(), net="-2.5")
    recording = load_recorded()
    (found,) = recording.decisions
    impact = measure_impact(recording.decisions, load_profiles()["MICRO"])

    assert recording.unreadable == 0
    assert (found.decision_id, found.allowed, found.codes) == (str(decision.pk), True, ())
    assert (found.quantity, found.trade_pnl) == (Decimal("0.6"), Decimal("-2.5"))
    assert [item.change for item in impact.judged] == [Change.SAME]


def test_only_the_asked_span_is_read():
    record(desk.make_desk())
    now = timezone.now()

    assert len(load_recorded(since=now - timedelta(minutes=5), until=now).decisions) == 1
    assert load_recorded(since=now).decisions == ()
    assert load_recorded(until=now - timedelta(minutes=5)).decisions == ()


def test_the_command_shows_what_tighter_limits_would_have_denied(tmp_path, capsys, settings):
    record(desk.make_desk(), net="-2.5")
    shipped = (settings.CONFIG_DIR / "profiles.yaml").read_text(encoding="utf-8")
    limits = tmp_path / "limits.yaml"
    limits.write_text(shipped.replace("max_position_usd: 100\n", "max_position_usd: 50\n", 1))
    report = tmp_path / "impact.html"

    call_command("replay", "--recorded", "--limits", str(limits), "--report", str(report))

    shown = capsys.readouterr().out
    assert "1 would be newly denied" in shown
    assert "POSITION_NOTIONAL" in shown
    assert "-2.50 of -2.50 USDT" in shown
    assert "Newly denied" in report.read_text(encoding="utf-8")
