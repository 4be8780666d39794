"""What other limits would have made of recorded decisions."""

from dataclasses import fields, replace
from decimal import Decimal

import pytest

from controlplane.code_version import get_code_version
from controlplane.documents import to_html, to_markdown
from risk.core.values import Limits
from risk.limits import load_profiles
from risk.replay.impact import Change, RecordedDecision, measure_impact
from risk.replay.impact_report import impact_as_data, impact_as_text, make_impact_page
from risk.replay.run import run_replay
from risk.replay.values import Result
from tests.risk.replay.markets import D, generated, plan

SMALL = load_profiles()["SMALL"]
TIGHTER = {
    "max_position_notional": D(300),
    "max_trades_per_day": 2,
    "max_positions": 1,
    "max_daily_loss_ratio": D("0.002"),
    "max_trade_risk_ratio": D("0.001"),
    "max_stop_ratio": D("0.0251"),
    "max_gross_exposure": D(400),
    "min_target_ratio": D("0.2"),
    "max_spread_ratio": D("0.0000001"),
}


@pytest.fixture(scope="module")
def result() -> Result:
    return run_replay(generated(), plan("SMALL", keeps_inputs=True))


@pytest.fixture(scope="module")
def recorded(result) -> list[RecordedDecision]:
    nets = {trip.intent_id: trip.net for trip in result.trips if trip.closed_by != "open"}
    return [
        RecordedDecision(
            decision_id=ruling.intent_id,
            at=ruling.inputs[0].signal_at,
            intent=ruling.inputs[0],
            snapshot=ruling.inputs[1],
            allowed=ruling.decision.allowed,
            quantity=ruling.decision.quantity if ruling.decision.allowed else D(0),
            codes=tuple(item.code.value for item in ruling.breaches),
            trade_pnl=nets.get(ruling.intent_id),
            code_version=get_code_version(),
        )
        for ruling in result.rulings
        if ruling.inputs is not None
    ]


def tighten(**changes: object) -> Limits:
    return replace(SMALL, digest="a" * 64, **changes)


def test_the_same_limits_change_nothing(recorded):
    impact = measure_impact(recorded, SMALL)

    assert len(impact.judged) == len(recorded) > 50
    assert {item.change for item in impact.judged} == {Change.SAME}
    assert impact.codes_now == impact.codes_then
    assert impact.removed_pnl == 0


@pytest.mark.parametrize("name", sorted(TIGHTER))
def test_a_tighter_limit_never_allows_more(recorded, name):
    impact = measure_impact(recorded, tighten(**{name: TIGHTER[name]}))

    assert not impact.list_changed(Change.NEWLY_ALLOWED)
    assert not impact.list_changed(Change.LARGER)
    assert all(item.recorded.allowed for item in impact.judged if item.allowed)


def test_a_denied_entry_takes_its_trade_out_of_the_result(recorded):
    impact = measure_impact(recorded, tighten(max_trades_per_day=2))
    denied = impact.list_changed(Change.NEWLY_DENIED)
    pnl = [item.recorded.trade_pnl for item in denied if item.recorded.trade_pnl is not None]

    assert len(denied) > 3
    assert len(pnl) > 3
    assert impact.removed_pnl == sum(pnl)
    assert {item.breaches[0].code.value for item in denied} == {"TRADES_PER_DAY"}
    assert impact.recorded_pnl == sum(item.trade_pnl or D(0) for item in recorded)


def test_looser_limits_allow_what_was_denied_by_them(recorded, result):
    names = {
        name
        for name in (field.name for field in fields(Limits))
        if name.startswith("max_") and isinstance(getattr(SMALL, name), Decimal | int)
    }
    wide = {name: getattr(SMALL, name) * 1000 for name in names}
    impact = measure_impact(recorded, tighten(**wide))

    assert not impact.list_changed(Change.NEWLY_DENIED)
    assert impact.list_changed(Change.NEWLY_ALLOWED)
    assert impact.removed_pnl == 0


def test_a_smaller_entry_takes_out_its_part_of_the_trade(recorded):
    one = next(item for item in recorded if item.allowed and item.trade_pnl)
    resizable = replace(one, intent=replace(one.intent, may_resize=True), trade_pnl=D(-8))
    half = one.quantity * one.snapshot.prices.mark / 2
    (item,) = measure_impact([resizable], tighten(max_position_notional=half)).judged

    assert item.change is Change.SMALLER
    assert 0 < item.quantity < one.quantity
    assert item.removed_pnl == D(-8) * (1 - item.quantity / one.quantity)


def test_exits_are_not_touched_by_limits(recorded):
    exits = [item for item in recorded if item.intent.reduce_only]
    impact = measure_impact(exits, tighten(**TIGHTER))

    assert exits
    assert {item.change for item in impact.judged} == {Change.SAME}


def test_decisions_of_another_profile_are_not_judged(recorded):
    impact = measure_impact(recorded, load_profiles()["LARGE"], unreadable=3)

    assert impact.judged == ()
    assert (impact.other_profiles, impact.unreadable) == (len(recorded), 3)
    assert "3 stored in an older form" in impact_as_text(impact)


def test_the_report_says_what_is_modelled_and_names_what_changed(recorded):
    impact = measure_impact(recorded, tighten(max_trades_per_day=2))
    denied = impact.list_changed(Change.NEWLY_DENIED)
    data, page = impact_as_data(impact), make_impact_page(impact)

    assert data["changes"]["newly_denied"] == len(denied) == len(data["changed"])
    assert data["denied_by_code"]["now"]["TRADES_PER_DAY"] > data["denied_by_code"]["then"].get(
        "TRADES_PER_DAY", 0
    )
    assert data["other_code_versions"] == 0
    for text in (to_markdown(page), to_html(page), impact_as_text(impact)):
        assert "modelled, not measured" in text
        assert "TRADES_PER_DAY" in text
