"""Statistics against closed forms, against numpy, and on real candles where they are at hand."""

import csv
import gzip
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.core import statistics as stats

CANDLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "candles"
START = datetime(2025, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RANDOM = np.random.default_rng(7)
MONEY = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False, width=32)


def hours(*values: float) -> dict[datetime, float]:
    return {START + index * HOUR: value for index, value in enumerate(values)}


def read_hourly(folder: str, symbol: str) -> dict[datetime, float]:
    """The last close of each whole hour of a candle set."""
    path = CANDLES / folder / f"{symbol}.csv.gz"
    if not path.exists():
        pytest.skip(f"the real candles are not here: {path}")
    with gzip.open(path, "rt", newline="") as file:
        rows = [
            (datetime.fromisoformat(row["date"]).replace(tzinfo=UTC), float(row["close"]))
            for row in csv.DictReader(file)
        ]
    return {at.replace(minute=0, second=0): close for at, close in rows}


# Returns and correlation --------------------------------------------------------------------------


def test_log_returns_add_up_and_simple_ones_leave_gaps_out():
    assert stats.log_returns([100, 110, 99]) == pytest.approx([math.log(1.1), math.log(0.9)])
    assert stats.log_returns([100]) == stats.log_returns([]) == []
    closes = hours(100, 110, 99, 198)
    assert list(stats.step_returns(closes).values()) == pytest.approx([0.1, -0.1, 1.0])
    del closes[START + 2 * HOUR]
    assert stats.step_returns(closes) == {START + HOUR: pytest.approx(0.1)}


def test_correlation_is_one_for_a_line_and_unknown_for_what_stands_still():
    assert stats.correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert stats.correlation([1, 2, 3], [-1, -2, -3]) == pytest.approx(-1)
    assert stats.correlation([1, 2, 3], [5, 5, 5]) is None
    assert stats.correlation([1], [1]) is None
    with pytest.raises(ValueError, match="paired"):
        stats.correlation([1, 2], [1])


def test_correlation_agrees_with_numpy():
    x = RANDOM.standard_t(3, 720)
    y = 0.8 * x + RANDOM.standard_t(3, 720)
    assert stats.correlation(list(x), list(y)) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)


def test_shrinking_takes_noise_and_leaves_what_is_plain():
    k = (1 - 0.84**2) ** 2 / 719 / 0.84**2
    assert stats.shrink(0.84, 720) == pytest.approx(0.84 * (1 - k))
    assert 0.8398 < stats.shrink(0.84, 720) < 0.84
    assert stats.shrink(-0.84, 720) == -stats.shrink(0.84, 720)
    assert stats.shrink(0.03, 200) == 0
    assert stats.shrink(0.5, 1) == stats.shrink(0, 720) == 0


@given(st.floats(min_value=-1, max_value=1), st.integers(min_value=0, max_value=2000))
def test_shrinking_never_turns_or_grows(value, samples):
    shrunk = stats.shrink(value, samples)
    assert abs(shrunk) <= abs(value)
    assert shrunk * value >= 0


def test_two_hundred_common_hours_make_a_correlation_known():
    moves = RANDOM.normal(0, 0.01, 201)
    first = hours(*(100 * np.exp(np.cumsum(moves))))
    second = hours(*(7 * np.exp(np.cumsum(moves + RANDOM.normal(0, 0.005, 201)))))
    one, other = stats.step_returns(first), stats.step_returns(second)
    value, samples = stats.pair_correlation(one, other)
    plain = np.corrcoef(np.diff(np.log(list(first.values()))), np.diff(np.log(list(second.values()))))[0, 1]
    assert samples == 200
    assert value == pytest.approx(stats.shrink(plain, 200), abs=1e-9)
    one.popitem()
    assert stats.pair_correlation(one, other) == (None, 199)


def test_a_series_that_stands_still_has_no_correlation():
    still = stats.step_returns(hours(*([100.0] * 250)))
    assert stats.pair_correlation(still, still) == (None, 249)


# Volatility ---------------------------------------------------------------------------------------


def test_volatility_is_the_root_of_the_mean_square():
    assert stats.realised_volatility([0.03, -0.04]) == pytest.approx(math.sqrt(0.00125))
    assert stats.realised_volatility([]) is stats.ewma_volatility([]) is None
    assert stats.ewma_volatility([0.01] * 50) == pytest.approx(0.01)
    # 0.9 x 0.01^2 + 0.1 x 0.02^2
    assert stats.ewma_volatility([0.01, 0.02], decay=0.9) == pytest.approx(math.sqrt(0.00013))
    assert stats.ewma_volatility([0.02, 0.01]) > stats.ewma_volatility([0.01, 0.01])


def test_the_regime_is_the_last_hours_over_all_of_them():
    assert stats.regime_ratio([0.01] * 48, 24) == pytest.approx(1)
    wild = [0.01] * 696 + [0.03] * 24
    assert stats.regime_ratio(wild, 24) == pytest.approx(0.03 / np.sqrt(np.mean(np.square(wild))))
    assert stats.regime_ratio([0.01] * 47, 24) is None
    assert stats.regime_ratio([0.0] * 48, 24) is None


# Losses -------------------------------------------------------------------------------------------


def test_the_book_of_today_is_carried_through_the_past_with_its_signs():
    returns = {
        "BTCUSDT": stats.step_returns(hours(100, 110, 99)),
        "ETHUSDT": stats.step_returns(hours(10, 12, 6)),
    }
    pnl = stats.portfolio_pnl({"BTCUSDT": 1000.0, "ETHUSDT": -500.0}, returns)
    assert pnl == pytest.approx([1000 * 0.1 - 500 * 0.2, -1000 * 0.1 + 500 * 0.5])
    assert stats.portfolio_pnl({}, returns) == []
    # A symbol without prices leaves no time that all have.
    assert stats.portfolio_pnl({"BTCUSDT": 1000.0, "SOLUSDT": 1.0}, returns) == []


def test_a_fall_is_a_loss_and_a_rise_is_none():
    falls = [-value for value in [-10.0] * 5 + [1.0] * 95]
    assert stats.value_at_risk_historical(falls, 0.99) == 10
    assert stats.value_at_risk_historical([-value for value in falls], 0.99) == 1
    rises = [-value for value in [1.0] * 95 + [10.0] * 5]
    assert stats.value_at_risk_historical(rises, 0.99) == -1


def test_the_quantile_is_the_ceiling_rank():
    losses = [float(value) for value in range(1, 101)]
    assert stats.value_at_risk_historical(losses, 0.99) == 99
    assert stats.value_at_risk_historical(losses, 0.991) == 100
    assert stats.value_at_risk_historical(losses, 0.95) == 95
    assert stats.value_at_risk_historical([3.0], 0.99) == 3
    assert stats.value_at_risk_historical([], 0.99) is None


def test_the_shortfall_is_the_mean_of_the_tail_with_its_fraction():
    losses = [float(value) for value in range(1, 101)]
    assert stats.expected_shortfall_historical(losses, 0.95) == pytest.approx(98)
    # 2.5 of 100: the two largest and half of the third.
    assert stats.expected_shortfall_historical(losses, 0.975) == pytest.approx((100 + 99 + 49) / 2.5)
    assert stats.expected_shortfall_historical([1.0, 2.0], 0.99) == 2
    assert stats.expected_shortfall_historical([], 0.99) is None


@given(st.lists(MONEY, min_size=1, max_size=400), st.sampled_from([0.5, 0.9, 0.95, 0.975, 0.99]))
def test_historical_measures_agree_with_numpy(losses, confidence):
    var = stats.value_at_risk_historical(losses, confidence)
    shortfall = stats.expected_shortfall_historical(losses, confidence)
    assert var == np.quantile(np.asarray(losses, dtype=float), confidence, method="inverted_cdf")
    assert shortfall >= var - 1e-6


@given(st.lists(MONEY, min_size=1, max_size=100), st.sampled_from([0.95, 0.99]))
def test_a_day_is_the_root_of_its_hours(losses, confidence):
    hour, day = (stats.value_at_risk_historical(losses, confidence, periods) for periods in (1, 24))
    assert day == pytest.approx(hour * math.sqrt(24))


def test_parametric_measures_are_the_normals_closed_forms():
    z = 2.3263478740408408
    assert stats.value_at_risk_parametric(100, 0.99) == pytest.approx(100 * z)
    # A daily sigma is of one day: scaling it down to a day once more would give a twentieth.
    assert stats.value_at_risk_parametric(100, 0.99, 24) == pytest.approx(100 * z * math.sqrt(24))
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    assert stats.expected_shortfall_parametric(100, 0.99) == pytest.approx(100 * density / 0.01)
    assert stats.expected_shortfall_parametric(100, 0.99, 4) == pytest.approx(200 * density / 0.01)


def test_history_converges_to_the_closed_form_on_a_normal():
    grid = [NormalDist(0, 100).inv_cdf((index + 0.5) / 100_000) for index in range(100_000)]
    assert stats.value_at_risk_historical(grid, 0.99) == pytest.approx(
        stats.value_at_risk_parametric(100, 0.99), rel=1e-3
    )
    assert stats.expected_shortfall_historical(grid, 0.99) == pytest.approx(
        stats.expected_shortfall_parametric(100, 0.99), rel=1e-3
    )


@pytest.mark.parametrize("confidence", [0.01, 0.49, 1.0, 99.0])
@pytest.mark.parametrize(
    "measure",
    [stats.value_at_risk_historical, stats.expected_shortfall_historical],
)
def test_a_confidence_in_percent_or_of_the_wrong_tail_is_refused(measure, confidence):
    with pytest.raises(ValueError, match="confidence"):
        measure([1.0], confidence)
    with pytest.raises(ValueError, match="confidence"):
        stats.value_at_risk_parametric(1.0, confidence)
    with pytest.raises(ValueError, match="confidence"):
        stats.expected_shortfall_parametric(1.0, confidence)


def test_concentration_is_one_over_the_number_of_equal_parts():
    assert stats.herfindahl([5.0]) == 1
    assert stats.herfindahl([2.0] * 4) == pytest.approx(0.25)
    assert stats.herfindahl([3.0, 1.0]) == pytest.approx(10 / 16)
    assert stats.herfindahl([]) == stats.herfindahl([0.0]) == 0


# Real candles -------------------------------------------------------------------------------------


def test_bitcoin_and_ether_are_one_bet_on_ordinary_days_and_in_the_cascade():
    for folder, least in (
        ("binance_usdm_1m_2025-06", 0.8),
        ("binance_usdm_15m_2025-10_cascade", 0.8),
    ):
        one, other = (stats.step_returns(read_hourly(folder, s)) for s in ("BTCUSDT", "ETHUSDT"))
        value, samples = stats.pair_correlation(one, other)
        plain = np.corrcoef(
            [math.log1p(one[at]) for at in sorted(one)], [math.log1p(other[at]) for at in sorted(one)]
        )[0, 1]
        assert samples == len(one) >= 300
        assert value == pytest.approx(plain, abs=1e-3)
        assert least < value < plain < 1


def test_a_stated_book_in_the_cascade_loses_what_numpy_says():
    folder = "binance_usdm_15m_2025-10_cascade"
    book = {"BTCUSDT": 1000.0, "ETHUSDT": 500.0, "DOGEUSDT": -300.0}
    closes = {symbol: read_hourly(folder, symbol) for symbol in book}
    returns = {symbol: stats.step_returns(series) for symbol, series in closes.items()}
    losses = [-value for value in stats.portfolio_pnl(book, returns)]
    prices = np.array([list(closes[symbol].values()) for symbol in book])
    expected = -(np.array(list(book.values()))[:, None] * (prices[:, 1:] / prices[:, :-1] - 1)).sum(axis=0)
    assert losses == pytest.approx(list(expected), abs=1e-9)
    var = stats.value_at_risk_historical(losses, 0.99, 24)
    assert var == pytest.approx(np.quantile(expected, 0.99, method="inverted_cdf") * math.sqrt(24))
    tail, share = np.sort(expected)[::-1], 0.01 * len(expected)
    whole = int(share)
    mean = (tail[:whole].sum() + (share - whole) * tail[whole]) / share
    shortfall = stats.expected_shortfall_historical(losses, 0.99, 24)
    assert shortfall == pytest.approx(mean * math.sqrt(24))
    # The left tail of profits: a loss, well beyond the normal one, and of the order of a bad day.
    assert 50 < var < shortfall < 400
