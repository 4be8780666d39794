"""Every criterion of a rung: inside, outside, unknown; and what follows from them together."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.core.advancement import (
    NOT_MEASURED,
    AdvancementRules,
    Record,
    Result,
    Rung,
    find_lower,
    find_next,
    judge_record,
    list_multiples,
    measure_lower_bound,
    measure_percentile,
    measure_profit_factor,
    recommend,
)
from golive.core.words import LADDER, Recommendation

D = Decimal
SMALL = Rung(profile="SMALL", days=14, trades=20, proves_mean=False)
LARGE = Rung(profile="LARGE", days=90, trades=150, proves_mean=True)
RULES = AdvancementRules(
    digest="",
    min_uptime=D("0.9"),
    max_unprotected=timedelta(seconds=30),
    min_profit_factor=D("1.1"),
    week_loss_share=D("0.5"),
    drawdown_share=D("0.5"),
    min_ok_share=D("0.95"),
    slippage_percentile=D("0.95"),
    confidence=D("0.9"),
    rungs={"SMALL": SMALL, "LARGE": LARGE},
    loss_stops=frozenset({"capital_loss"}),
    paper_days=14,
)


def results(*pnls, risk="2") -> tuple[Result, ...]:
    return tuple(Result(net_pnl=D(pnl), risk=None if risk is None else D(risk)) for pnl in pnls)


GOOD = Record(
    active_days=14,
    trades=20,
    uptime=D("0.9"),
    unprotected=timedelta(seconds=30),
    loss_stops=0,
    equity_change=D("0.01"),
    results=results("3", "2", "-2", "-1"),
    worst_week_ratio=D("0.01"),
    drawdown_ratio=D("0.01"),
    breaches=0,
    ok_share=D("0.95"),
    criticals=0,
    slippages=(D("0.2"), D("1")),
    weekly_loss_limit=D("0.02"),
    evidence={"trades": ("trade:7",)},
)
GATING = (
    "active_days",
    "trades",
    "uptime",
    "protection",
    "loss_stops",
    "net_profit",
    "profit_factor",
    "without_best",
    "worst_week",
    "drawdown",
    "breaches",
    "global_risk_ok",
    "global_risk_critical",
    "stop_slippage",
)


def judged(record: Record, rung: Rung = SMALL) -> dict:
    return {item.name: item for item in judge_record(record, RULES, rung)}


def said(record: Record, *, may_rise: bool = True) -> Recommendation:
    return recommend(judge_record(record, RULES, SMALL), record, may_rise=may_rise)


def test_exactly_at_every_limit_is_met_and_promotes():
    found = judged(GOOD)
    assert tuple(name for name, item in found.items() if item.is_met is not None) == GATING
    assert {name for name in GATING if not found[name].is_met} == {"without_best"}
    even = replace(GOOD, results=results("3", "3", "-2", "-1"))
    assert all(judged(even)[name].is_met for name in GATING)
    assert said(even) is Recommendation.PROMOTE
    assert judged(even)["trades"].evidence == ("trade:7",)


OUTSIDE = {
    "active_days": {"active_days": 13},
    "trades": {"trades": 19},
    "uptime": {"uptime": D("0.8999")},
    "protection": {"unprotected": timedelta(seconds=31)},
    "loss_stops": {"loss_stops": 1},
    "net_profit": {"equity_change": D(0)},
    "profit_factor": {"results": results("1.09", "1.09", "-1", "-1")},
    "without_best": {"results": results("9", "1", "-2")},
    "worst_week": {"worst_week_ratio": D("0.0101")},
    "drawdown": {"drawdown_ratio": D("0.0101")},
    "breaches": {"breaches": 1},
    "global_risk_ok": {"ok_share": D("0.9499")},
    "global_risk_critical": {"criticals": 1},
    "stop_slippage": {"slippages": (D("1.01"),)},
}
UNKNOWN = {
    "active_days": {"active_days": None},
    "trades": {"trades": None},
    "uptime": {"uptime": None},
    "protection": {"unprotected": None},
    "loss_stops": {"loss_stops": None},
    "net_profit": {"equity_change": None},
    "profit_factor": {"results": ()},
    "without_best": {"results": None},
    "worst_week": {"worst_week_ratio": None},
    "drawdown": {"weekly_loss_limit": None},
    "breaches": {"breaches": None},
    "global_risk_ok": {"ok_share": None},
    "global_risk_critical": {"criticals": None},
    "stop_slippage": {"slippages": ()},
}
BASE = replace(GOOD, results=results("3", "3", "-2", "-1"))


def test_every_gating_criterion_has_its_case():
    assert set(OUTSIDE) == set(UNKNOWN) == set(GATING)


@pytest.mark.parametrize("name", GATING)
def test_just_outside_is_not_met_and_holds(name):
    record = replace(BASE, **OUTSIDE[name])
    item = judged(record)[name]
    assert (item.is_met, item.measured != NOT_MEASURED) == (False, True)
    assert said(record) is Recommendation.HOLD


@pytest.mark.parametrize("name", GATING)
def test_what_is_unknown_is_not_met_and_says_so(name):
    record = replace(BASE, **UNKNOWN[name])
    item = judged(record)[name]
    assert (item.is_met, item.measured) == (False, NOT_MEASURED)
    assert said(record) is Recommendation.HOLD


def test_nothing_known_meets_nothing():
    assert not any(item.is_met for item in judge_record(Record(evidence={}), RULES, LARGE))


def test_a_weekly_loss_demotes_whatever_else_is_met():
    assert said(replace(BASE, weekly_losses=1)) is Recommendation.DEMOTE


def test_paper_and_the_top_of_the_ladder_never_promote():
    assert said(BASE, may_rise=False) is Recommendation.HOLD


def test_only_the_last_rung_must_prove_its_mean_and_win_rate_and_sharpe_gate_nothing():
    losing = replace(BASE, results=results("-1", "-1", "-1.1"))
    assert judged(losing)["mean_result"].is_met is None
    proven = judged(losing, LARGE)["mean_result"]
    assert (proven.is_met, proven.measured.endswith(" R")) == (False, True)
    won = replace(BASE, results=results("1", "1.1", "1"))
    assert judged(won, LARGE)["mean_result"].is_met is True
    no_risk = replace(BASE, results=results("1", "1", risk=None))
    assert judged(no_risk, LARGE)["mean_result"].measured == NOT_MEASURED
    for name in ("win_rate", "sharpe"):
        assert judged(won, LARGE)[name].is_met is None
        assert judged(won, LARGE)[name].required == "informs only"


def test_no_loss_at_all_has_no_factor_and_is_met_by_any_profit():
    assert measure_profit_factor(results("1", "2")) is None
    assert judged(replace(BASE, results=results("1", "2")))["profit_factor"].measured == "nothing lost"
    assert judged(replace(BASE, results=results("0", "0")))["profit_factor"].is_met is False


def test_the_ladder_is_climbed_and_descended_one_rung_at_a_time():
    assert [find_next(name) for name in LADDER] == ["SMALL", "MEDIUM", "LARGE", None]
    assert [find_lower(name) for name in LADDER] == [None, "MICRO", "SMALL", "MEDIUM"]
    assert (find_next("HUGE"), find_lower("")) == (None, None)


def test_the_bound_is_students_at_ninety_percent():
    # t of 149 degrees at 90 % is 1.28726 (tables); mean 0, deviation 1 by construction.
    values = (D(1), D(-1)) * 75
    deviation = (150 / 149) ** 0.5
    bound = measure_lower_bound(values, D("0.9"))
    assert float(bound) == pytest.approx(-1.28726 * deviation / 150**0.5, abs=1e-5)
    assert measure_lower_bound((D(1),), D("0.9")) is None


R_VALUES = st.lists(
    st.decimals(min_value=-5, max_value=5, places=3, allow_nan=False), min_size=2, max_size=60
)


@given(values=R_VALUES)
def test_the_bound_never_exceeds_the_mean_and_falls_as_more_certainty_is_asked(values):
    numbers = tuple(values)
    mean = fmean(map(float, numbers))
    low, high = (measure_lower_bound(numbers, D(share)) for share in ("0.9", "0.99"))
    assert float(high) <= float(low) + 1e-9
    assert float(low) <= mean + 1e-9


@given(values=R_VALUES, share=st.decimals(min_value="0.01", max_value=1, places=2))
def test_a_percentile_is_one_of_the_values_and_enough_of_them_are_not_above(values, share):
    numbers = tuple(values)
    found = measure_percentile(numbers, share)
    assert found in numbers
    assert sum(value <= found for value in numbers) >= share * len(numbers)


@given(pnls=R_VALUES)
def test_the_factor_and_the_multiples_agree_with_the_sums(pnls):
    trips = results(*pnls)
    factor, multiples = measure_profit_factor(trips), list_multiples(trips)
    total = sum(pnls)
    if factor is not None:
        assert (factor > 1) == (total > 0)
    assert sum(multiples) * 2 == pytest.approx(total)


def test_what_has_no_risk_has_no_multiple():
    assert list_multiples(results("1", risk="0")) is None
    assert list_multiples(()) is None
