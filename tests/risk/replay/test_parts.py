"""What a replay is made of, each against the definition it stands for."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import numpy as np
import pytest

from risk.core import portfolio, statistics
from risk.core.global_risk import SHIPPED
from risk.core.portfolio import Exposure
from risk.core.values import AnchorName
from risk.replay.charts import TimeAxis, thin
from risk.replay.curve import Curve, anchor_moments
from risk.replay.measures import find_drawdown, find_worst_day
from risk.replay.returns import HourlyReturns
from risk.replay.tape import ClosedBars
from risk.snapshot import anchor_times
from tests.risk.replay.markets import D, generated
from trading.core.reference import WINDOW, roll_reference
from trading.simulator.candles import Bar
from trading.simulator.engine import Engine
from trading.simulator.feed import STEP_MS, bar_path
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.settlement import FUNDING_MS
from trading.simulator.track import make_paths
from trading.strategies import STRATEGIES, View

HOUR_MS = 3_600_000
MIDNIGHT = int(datetime(2025, 6, 11, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("steps", [12, 60, 180])
def test_paths_are_those_of_the_engine(steps):
    random, instrument = Random(steps), INSTRUMENTS["SOLUSDT"]
    rows = []
    for _ in range(300):
        o, c = random.randint(90, 110), random.randint(90, 110)
        rows.append(
            (o, max(o, c) + random.choice((0, 0, 3, 40)), min(o, c) - random.choice((0, 0, 3, 40)), c)
        )
    rows.append((100, 100, 100, 100))
    paths = make_paths(*(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)), steps)
    tick = int(instrument.tick.scaleb(8))

    for row, path in zip(rows, paths, strict=True):
        o, h, low, c = (value * tick for value in row)
        bar = Bar(open_ms=0, open=o, high=h, low=low, close=c, volume=0)
        assert tuple(path) == bar_path(bar, instrument, steps)


@pytest.mark.parametrize("bar_minutes", [1, 5])
def test_a_track_is_where_the_engine_would_be(bar_minutes):
    tape = generated(days=1, bar_minutes=bar_minutes)
    engine = Engine.start(tape.feed, at_ms=tape.first_ms, balance=D(1000))
    lows: dict[str, Decimal] = {}
    reference = {symbol: engine.state.markets[symbol].mark for symbol in tape.symbols}
    at = datetime.fromtimestamp(tape.first_ms / 1000, UTC)
    for number in range(1, 120):
        for step in range(tape.bar_ms // STEP_MS):
            engine.advance(tape.at_ms(number - 1) + (step + 1) * STEP_MS)
            before, at = at, at + timedelta(milliseconds=STEP_MS)
            for symbol, market in engine.state.markets.items():
                lows[symbol] = min(lows.get(symbol, market.mark), market.mark)
                rolled = roll_reference(reference[symbol], before, market.mark, at, WINDOW)
                assert rolled is not None
                reference[symbol] = rolled
        for symbol, market in engine.state.markets.items():
            track, ours = tape.tracks[symbol], tape.tracks[symbol].market(number)
            exact = ("ticks", "previous", "falling", "volume", "traded_ms")
            assert [getattr(ours, name) for name in exact] == [getattr(market, name) for name in exact]
            assert abs(ours.mark - market.mark) < D("2e-8")
            assert abs(ours.index - market.index) < D("1e-7")
            assert abs(D(track.lowest[number - 1]) - lows.pop(symbol)) < D("2e-8")
            assert abs(D(track.reference[number]) - reference[symbol]) < D("1e-7")
            if tape.at_ms(number) % FUNDING_MS:
                assert ours.premium_count == market.premium_count
                assert abs(ours.premium_sum - market.premium_sum) < D("1e-6")


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=sorted(STRATEGIES))
def test_a_scan_says_yes_wherever_the_strategy_would_enter(strategy):
    closes = generated(days=2).closes["SOLUSDT"]
    flags, found = strategy.may_enter(closes), 0
    for end in range(strategy.lookback, len(closes) + 1):
        window = closes[end - strategy.lookback : end]
        view = View(symbol="SOLUSDT", bars=(), holding=None, market_at=datetime.now(UTC), known_closes=window)
        wants = strategy.propose(view) is not None
        found += wants
        assert flags[end - 1] or not wants
    assert found > 20
    # It need not be exact, but a scan that always says yes would be no use.
    assert flags.sum() <= found * 1.01 + 1
    assert not flags[: strategy.lookback - 1].any()


def test_a_scan_of_too_short_a_series_says_no():
    for strategy in STRATEGIES.values():
        assert not strategy.may_enter(np.ones(10)).any()


def test_closes_are_the_same_numbers_whether_given_or_read_from_the_bars():
    tape = generated(days=1)
    bars = ClosedBars(tape.columns["SOLUSDT"], 100, 164)
    read = View(symbol="SOLUSDT", bars=bars, holding=None, market_at=datetime.now(UTC)).closes

    assert len(bars) == 64
    assert read.tolist() == tape.closes["SOLUSDT"][100:164].tolist()
    assert bars[-1] == bars[60:][-1]
    assert bars[0].open_at.timestamp() * 1000 == tape.at_ms(100)


def test_statistics_over_arrays_are_those_of_the_core():
    tape = generated(days=12, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))
    returns, at_ms = HourlyReturns(tape), tape.at_ms(tape.count - 1)
    series = {}
    for symbol in tape.symbols:
        closes = {
            datetime.fromtimestamp(tape.at_ms(n) / 1000, UTC): float(tape.closes[symbol][n - 1])
            for n in range(60, tape.count, 60)
        }
        series[symbol] = statistics.step_returns(closes)

    for fact in returns.correlations(at_ms):
        value, samples = statistics.pair_correlation(series[fact.first], series[fact.second])
        assert samples == returns.hours(at_ms)
        assert float(fact.value) == pytest.approx(value, abs=1e-8)
    assert len(returns.correlations(at_ms)) == 3
    ratios = [statistics.regime_ratio(list(series[s].values()), 24) for s in ("ETHUSDT", "SOLUSDT")]
    found = returns.volatility(frozenset({"ETHUSDT", "SOLUSDT"}), at_ms, 24)
    assert float(found) == pytest.approx(max(ratios), abs=1e-8)
    book = {"ETHUSDT": 90.0, "SOLUSDT": -40.0}
    exposures = tuple(
        Exposure(symbol=s, long=max(D(0), D(str(n))), short=max(D(0), -D(str(n)))) for s, n in book.items()
    )
    core = portfolio.measure_loss(
        exposures,
        series,
        confidence=float(SHIPPED.confidence),
        samples=SHIPPED.samples,
        parametric_samples=SHIPPED.parametric_samples,
        periods=24,
    )
    ours = returns.loss(book, at_ms, SHIPPED)
    assert ours.method == core.method == "historical"
    assert float(ours.value_at_risk) == pytest.approx(float(core.value_at_risk))
    assert float(ours.expected_shortfall) == pytest.approx(float(core.expected_shortfall))


def test_what_is_not_known_yet_is_not_known():
    tape = generated(days=12, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))
    returns = HourlyReturns(tape)
    early, later = tape.at_ms(60 * 40), tape.at_ms(60 * 60)

    assert returns.correlations(later) == ()
    assert returns.volatility(frozenset({"SOLUSDT"}), early, 24) is None
    assert returns.volatility(frozenset({"SOLUSDT"}), later, 24) is not None
    assert returns.loss({"SOLUSDT": 10.0}, early, SHIPPED) is None
    assert returns.loss({"SOLUSDT": 10.0}, later, SHIPPED).method == "parametric"


def test_anchors_are_the_equity_of_their_moments():
    curve = Curve(MIDNIGHT - 30 * HOUR_MS, D(1000))
    curve.add(MIDNIGHT - 25 * HOUR_MS, D(990))
    curve.add(MIDNIGHT - HOUR_MS, D(1020))
    curve.add(MIDNIGHT + 2 * HOUR_MS, D(980))
    now = MIDNIGHT + 3 * HOUR_MS
    anchors = {anchor.name: anchor for anchor in curve.anchors(now)}

    assert anchors[AnchorName.DAY].equity == D(1020)
    assert anchors[AnchorName.ROLLING_DAY].equity == D(990)
    assert anchors[AnchorName.WEEK].equity == anchors[AnchorName.ROLLING_WEEK].equity == D(1000)
    assert anchors[AnchorName.ROLLING_WEEK].is_first_sample
    assert not anchors[AnchorName.DAY].is_first_sample
    daily, weekly = curve.losses(now)
    assert (daily, weekly) == (D(40) / 1020, D("0.02"))


@pytest.mark.parametrize("hours", range(0, 24 * 9, 7))
def test_anchors_stand_where_the_gate_has_them(hours):
    at_ms = MIDNIGHT + hours * HOUR_MS + 90_000
    theirs = anchor_times(datetime.fromtimestamp(at_ms / 1000, UTC))

    assert anchor_moments(at_ms) == {name: int(at.timestamp() * 1000) for name, at in theirs.items()}


def test_drawdown_of_the_day_begins_anew_at_midnight():
    curve = Curve(MIDNIGHT - HOUR_MS, D(1000))
    curve.add(MIDNIGHT - HOUR_MS // 2, D(900))
    assert curve.day_drawdown == D("0.1")
    curve.add(MIDNIGHT, D(900))
    assert curve.day_drawdown == 0
    assert curve.capital_loss == D("0.1")


def test_the_deepest_drawdown_has_its_own_peak():
    points = [(0, D(100)), (1, D(90)), (2, D(120)), (3, D(96)), (4, D(130)), (5, D(117))]
    found = find_drawdown(points)

    assert (found.ratio, found.peak_ms, found.trough_ms) == (D("0.2"), 2, 3)


def test_the_worst_day_is_that_of_utc():
    day = 24 * HOUR_MS
    points = [(0, D(100)), (HOUR_MS, D(97)), (day, D(95)), (day + HOUR_MS, D(99)), (2 * day + 1, D(98))]

    assert find_worst_day(points) == (0, D(-5))
    assert find_worst_day([(0, D(100)), (1, D(101))]) == (0, D(0))


def test_a_thinned_line_keeps_its_extremes():
    points = [(n, float(n % 97)) for n in range(10_000)]
    points[5003] = (5003, 1234.0)
    kept = thin(points, most=400)

    assert len(kept) <= 420
    assert (5003, 1234.0) in kept
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert [at for at, _ in kept] == sorted(at for at, _ in kept)


@pytest.mark.parametrize("hours", [1, 30, 24 * 40, 24 * 400])
def test_a_time_axis_has_a_few_round_ticks(hours):
    axis = TimeAxis(start_ms=MIDNIGHT, end_ms=MIDNIGHT + hours * HOUR_MS)

    assert 2 <= len(list(axis.ticks())) <= 10
