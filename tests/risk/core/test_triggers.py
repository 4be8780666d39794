"""The pure core of the triggers: what counts as a reading, what latches, what is believed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.core.losing_runs import ClosedTrip, Result, classify, count_losing_run
from risk.core.triggers import (
    EquityView,
    Reading,
    Verdict,
    WatchState,
    advance,
    believe_equity,
    capital_loss_ratio,
    is_sound,
    judge_absence,
)
from risk.stops.rules import get_stop_rules_path, load_stop_rules
from trading.core.values import Prices

D = Decimal
START = datetime(2026, 1, 5, tzinfo=UTC)
LIMIT = D("0.015")
RULES = load_stop_rules(get_stop_rules_path())
TENTH = D("0.1")


def second(number: float) -> datetime:
    return START + timedelta(seconds=number)


def take(
    watch: WatchState, value: Decimal | None, at: float, *, wall: float | None = None
) -> tuple[WatchState, Verdict]:
    """One reading; wall and market time are one unless told."""
    return advance(
        watch,
        Reading(value=value, market_at=second(at)),
        LIMIT,
        wall_at=second(at if wall is None else wall),
        began_at=START,
        rules=RULES,
    )


def run(*values: Decimal | None) -> list[Verdict]:
    """Readings a second apart."""
    watch, verdicts = WatchState(), []
    for number, value in enumerate(values):
        watch, verdict = take(watch, value, number)
        verdicts.append(verdict)
    return verdicts


BEYOND, WITHIN = LIMIT, LIMIT - D("1e-10")
READINGS = st.one_of(st.none(), st.decimals(D(0), D("0.03"), places=4))


def test_three_in_a_row_latch_and_the_threshold_itself_is_beyond():
    assert run(BEYOND, BEYOND, BEYOND) == [Verdict.NOTHING, Verdict.NOTHING, Verdict.TRIP]
    assert Verdict.TRIP not in run(BEYOND, BEYOND, WITHIN, BEYOND, BEYOND, WITHIN)


def test_what_is_absent_neither_adds_nor_resets():
    assert run(BEYOND, None, BEYOND, None, BEYOND)[-1] is Verdict.TRIP
    assert Verdict.TRIP not in run(BEYOND, None, BEYOND, None)


@given(st.lists(READINGS, max_size=40))
def test_it_trips_exactly_where_the_last_three_that_were_read_are_beyond(values):
    for number, verdict in enumerate(run(*values)):
        seen = [value for value in values[: number + 1] if value is not None]
        beyond = len(seen) >= 3 and all(value >= LIMIT for value in seen[-3:])
        is_read = values[number] is not None
        assert (verdict is Verdict.TRIP) == (is_read and beyond)


@given(st.lists(READINGS, max_size=30), st.data())
def test_a_larger_loss_never_trips_later(values, data):
    worse = [
        value if value is None else value + data.draw(st.decimals(D(0), D("0.02"), places=4))
        for value in values
    ]
    first, first_worse = (
        next((n for n, verdict in enumerate(run(*v)) if verdict is Verdict.TRIP), len(values))
        for v in (values, worse)
    )
    assert first_worse <= first


@given(st.lists(st.floats(0.01, 3), min_size=1, max_size=40))
def test_readings_count_only_a_second_apart(gaps):
    watch, at, counted, last = WatchState(), 0.0, 0, None
    for gap in gaps:
        at += gap
        if last is None or second(at) - second(last) >= timedelta(seconds=1):
            counted, last = counted + 1, at
        watch, verdict = take(watch, BEYOND, at)
        assert watch.breaches == counted
        assert (verdict is Verdict.TRIP) == (counted >= 3 and last == at)


def test_a_count_of_before_trips_nothing_until_a_reading_counts():
    watch = WatchState(breaches=7, read_at=second(0))
    assert take(watch, BEYOND, 0.5)[1] is Verdict.NOTHING
    assert take(watch, BEYOND, 1)[1] is Verdict.TRIP


def test_a_market_clock_that_was_set_back_begins_anew():
    watch, _ = take(WatchState(breaches=1, read_at=second(9000)), BEYOND, 5)
    assert (watch.breaches, watch.read_at) == (2, second(5))


def test_no_threshold_is_never_breached():
    reading = Reading(value=D(1), market_at=START)
    watch, verdict = advance(WatchState(), reading, None, wall_at=START, began_at=START, rules=RULES)
    assert (watch.breaches, verdict) == (0, Verdict.NOTHING)


@pytest.mark.parametrize(
    ("absent", "verdict"),
    [
        (0, Verdict.NOTHING),
        (15, Verdict.NOTHING),
        (15.1, Verdict.REDUCING),
        (60, Verdict.REDUCING),
        (60.1, Verdict.TRIP),
    ],
)
def test_absence_is_reducing_and_then_the_stop(absent, verdict):
    watch, first = take(WatchState(), None, 100)
    assert first is Verdict.NOTHING
    assert take(watch, None, 100 + absent)[1] is verdict
    assert take(watch, None, 100, wall=100 + absent)[1] is verdict
    # The same moments for somebody who begins to watch only now.
    assert judge_absence(watch, second(100 + absent), second(100 + absent), RULES) is Verdict.NOTHING


def test_any_reading_that_is_believed_ends_an_absence():
    watch, _ = take(WatchState(), BEYOND, 0)
    absent, _ = take(watch, None, 0.2)
    back, _ = take(absent, BEYOND, 0.4)
    assert absent.absent_since == second(0.2)
    assert back == watch


MONEY = st.decimals(D(-2000), D(5000), places=2)


@given(MONEY, MONEY)
def test_what_is_believed_is_the_smaller_of_two_that_agree(venue, own):
    equity, why = believe_equity(EquityView(venue=venue, own=own), D("0.02"))
    agrees = abs(venue - own) <= D("0.02") * max(abs(venue), abs(own)) and (venue > 0) == (own > 0)
    assert (equity is None) == (not agrees) == bool(why)
    assert equity is None or equity == min(venue, own)


@pytest.mark.parametrize(
    ("venue", "own", "believed"),
    [
        ("1000", "980", "980"),
        ("1000", "979.99", None),
        ("980", "1000", "980"),
        ("0", "1000", None),
        ("1000", "0", None),
        ("-1", "0", None),
        ("0", "0", "0"),
        (None, "1000", None),
        ("1000", None, None),
        ("NaN", "1000", None),
        ("1000", "Infinity", None),
    ],
)
def test_equity_that_two_sources_do_not_agree_on_is_not_believed(venue, own, believed):
    view = EquityView(
        venue=None if venue is None else D(venue), own=None if own is None else D(own), detail=""
    )
    equity, why = believe_equity(view, D("0.02"))
    assert equity == (None if believed is None else D(believed))
    assert bool(why) == (believed is None)


def test_why_one_source_is_missing_is_what_it_says():
    assert believe_equity(EquityView(venue=None, own=None, detail="no answer"), D("0.02"))[1] == "no answer"


@pytest.mark.parametrize(
    ("base", "flow", "equity", "ratio"),
    [
        ("1000", "0", "900", "0.1"),
        ("1000", "500", "1400", "0.1"),
        ("1000", "-200", "800", "0"),
        ("1000", "0", "1100", "0"),
    ],
)
def test_capital_loss_nets_what_came_from_outside(base, flow, equity, ratio):
    assert capital_loss_ratio(D(base), D(flow), D(equity)) == D(ratio)


PRICE = Prices(
    symbol="SOLUSDT", mark=D(150), last=D(150), index=D(150), bid=D("149.9"), ask=D("150.1"), at=START
)


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"last": D("151.5")}, True),
        ({"last": D("151.51")}, False),
        ({"last": D("148.49")}, False),
        ({"index": D("148.52")}, True),
        ({"index": D("148.51")}, False),
        ({"index": D("151.6")}, False),
        ({"mark": D(0)}, False),
        ({"last": D(-1)}, False),
        ({"index": D("NaN")}, False),
        ({"mark": D("Infinity")}, False),
    ],
)
def test_a_price_that_cannot_be_is_none(changes, sound):
    assert is_sound(replace(PRICE, **changes), D("0.01")) is sound


TRIPS = st.builds(
    ClosedTrip,
    net=st.decimals(D(-5), D(5), places=2),
    risk=st.one_of(st.none(), st.decimals(D(0), D(10), places=1)),
)


@pytest.mark.parametrize(
    ("net", "risk", "result"),
    [
        ("-0.21", "2", Result.LOSS),
        ("-0.20", "2", Result.SCRATCH),
        ("0", "2", Result.SCRATCH),
        ("0.01", "2", Result.PROFIT),
        ("-0.01", None, Result.LOSS),
        ("-0.01", "0", Result.LOSS),
        ("0", None, Result.SCRATCH),
    ],
)
def test_a_loss_is_more_than_a_tenth_of_what_was_risked(net, risk, result):
    trip = ClosedTrip(net=D(net), risk=None if risk is None else D(risk))
    assert classify(trip, TENTH) is result


@given(st.lists(TRIPS, max_size=30))
def test_a_run_is_the_losses_since_the_last_profit(trips):
    since: list[Result] = []
    for trip in reversed(trips):
        result = classify(trip, TENTH)
        since = [] if result is Result.PROFIT else [*since, result]
    assert count_losing_run(trips, TENTH) == since.count(Result.LOSS)
