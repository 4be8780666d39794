"""Hourly returns of the candles so far: correlations, volatility and the loss of a day.

The definitions are those of risk.core.statistics and risk.core.portfolio, over arrays, because a replay
asks a thousand times as often; the tests hold them against each other. Unknown is None.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from itertools import combinations

import numpy as np

from risk.core import statistics
from risk.core.global_risk import GlobalRiskLimits
from risk.core.portfolio import LossMeasures
from risk.core.values import CorrelationFacts
from risk.replay.tape import Tape
from trading.simulator.track import Floats

HOUR_MS = 3_600_000
DAY_HOURS = 24
# RISK.md part 1: correlations of 30 days.
WINDOW_HOURS = 30 * DAY_HOURS
RATIO_PLACES = Decimal("1e-8")


class HourlyReturns:
    """Simple returns of each symbol, hour by hour; `hours` says how many are known at a moment."""

    def __init__(self, tape: Tape) -> None:
        # The close of the first hour: returns begin with the second.
        self._first_ms = (tape.first_ms // HOUR_MS + 1) * HOUR_MS
        self._returns = {symbol: _returns(tape, symbol, self._first_ms) for symbol in tape.symbols}
        self._correlations: tuple[int, tuple[CorrelationFacts, ...]] = (-1, ())

    def hours(self, at_ms: int) -> int:
        """Returns whose hour is over; none where bars are longer than an hour."""
        known = min((len(values) for values in self._returns.values()), default=0)
        return max(0, min(known, (at_ms - self._first_ms) // HOUR_MS))

    def correlations(self, at_ms: int) -> tuple[CorrelationFacts, ...]:
        """Every pair's shrunk correlation of log returns; a pair that is not known is absent."""
        hours = self.hours(at_ms)
        if self._correlations[0] != hours:
            self._correlations = (hours, tuple(self._correlate(hours)))
        return self._correlations[1]

    def _correlate(self, hours: int) -> list[CorrelationFacts]:
        if hours < statistics.CORRELATION_SAMPLES:
            return []
        logs = {symbol: np.log1p(self._window(symbol, hours)) for symbol in self._returns}
        found = []
        for first, second in combinations(sorted(logs), 2):
            value = _correlation(logs[first], logs[second])
            if value is not None:
                shrunk = Decimal(statistics.shrink(value, len(logs[first]))).quantize(RATIO_PLACES)
                found.append(CorrelationFacts(first=first, second=second, value=shrunk))
        return found

    def volatility(self, symbols: frozenset[str], at_ms: int, short: int) -> Decimal | None:
        """Realised volatility of the last `short` hours over that of all, the highest of the symbols."""
        hours, ratios = self.hours(at_ms), []
        for symbol in symbols:
            returns = self._window(symbol, hours)
            always = _root_mean_square(returns)
            if len(returns) < 2 * short or always == 0:
                return None
            ratios.append(_root_mean_square(returns[-short:]) / always)
        return Decimal(max(ratios)).quantize(RATIO_PLACES) if ratios else None

    def loss(
        self, notionals: Mapping[str, float], at_ms: int, limits: GlobalRiskLimits
    ) -> LossMeasures | None:
        """Value at risk and expected shortfall of a day of this book (signed USDT), without any stop."""
        hours = self.hours(at_ms)
        pnl = sum((size * self._window(symbol, hours) for symbol, size in notionals.items()), np.zeros(1))
        confidence = float(limits.confidence)
        if hours == 0 or not notionals or len(pnl) < limits.parametric_samples:
            return None
        if len(pnl) >= limits.samples:
            losses = (-pnl).tolist()
            return _measures(
                statistics.value_at_risk_historical(losses, confidence, DAY_HOURS),
                statistics.expected_shortfall_historical(losses, confidence, DAY_HOURS),
                "historical",
            )
        sigma = max(
            statistics.realised_volatility(pnl.tolist()) or 0.0,
            statistics.ewma_volatility(pnl.tolist()) or 0.0,
        )
        return _measures(
            statistics.value_at_risk_parametric(sigma, confidence, DAY_HOURS),
            statistics.expected_shortfall_parametric(sigma, confidence, DAY_HOURS),
            "parametric",
        )

    def _window(self, symbol: str, hours: int) -> Floats:
        return self._returns[symbol][max(0, hours - WINDOW_HOURS) : hours]


def _returns(tape: Tape, symbol: str, first_ms: int) -> Floats:
    """Close over close of whole hours; the close at a whole hour is that of the bar which ends there."""
    if HOUR_MS % tape.bar_ms:
        return np.zeros(0)
    closes = tape.closes[symbol][(first_ms - tape.first_ms) // tape.bar_ms - 1 :: HOUR_MS // tape.bar_ms]
    made: Floats = closes[1:] / closes[:-1] - 1
    return made


def _correlation(x: Floats, y: Floats) -> float | None:
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return None if scale == 0 else max(-1.0, min(1.0, float(x @ y) / scale))


def _root_mean_square(values: Floats) -> float:
    return math.sqrt(float(values @ values) / len(values)) if len(values) else 0.0


def _measures(value_at_risk: float | None, shortfall: float | None, method: str) -> LossMeasures | None:
    """A gain in the tail is no loss: both are at least 0."""
    if value_at_risk is None or shortfall is None:
        return None
    return LossMeasures(
        value_at_risk=Decimal(max(0.0, value_at_risk)),
        expected_shortfall=Decimal(max(0.0, shortfall)),
        method=method,
    )
