"""Endless one-minute candles from a seed: correlated, fat-tailed, with volatility that clusters.

Each day is drawn by itself from (seed, day), so that any day can be had without the days before it:
daily levels are a mean-reverting walk around a base price, and the minutes of a day are a bridge
between two levels. Floats serve here only to draw; what leaves is a whole number of ticks.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from random import Random

from trading.simulator.candles import SCALE, UNIT, Bar, Columns
from trading.simulator.feed import Feed
from trading.simulator.instruments import INSTRUMENTS

DAY_MS = 86_400_000
MINUTE_MS = 60_000
MINUTES = 1_440
ORIGIN_MS = 1_704_067_200_000  # 2024-01-01, the first day there is
_KEPT_DAYS = 45
_REVERSION = 0.98
_DAILY_SIGMA = 0.018
_MINUTE_SIGMA = 0.00045


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one symbol moves: base price, share of the common shock, own shock, minute volume (base asset)."""

    symbol: str
    base_price: float
    beta: float
    own: float
    volume: float


PROFILES = (
    Profile(symbol="BNBUSDT", base_price=640.0, beta=0.9, own=0.55, volume=350.0),
    Profile(symbol="BTCUSDT", base_price=105_000.0, beta=1.0, own=0.30, volume=90.0),
    Profile(symbol="ETHUSDT", base_price=2_600.0, beta=1.25, own=0.60, volume=3_500.0),
    Profile(symbol="SOLUSDT", base_price=150.0, beta=1.45, own=0.85, volume=25_000.0),
)


def _shock(random: Random) -> float:
    """A draw of unit variance from Student's t with four degrees of freedom.

    A chi-square of four degrees is twice the sum of two exponentials; t of four has variance two.
    """
    chi = -2 * math.log((1 - random.random()) * (1 - random.random()))
    return random.gauss(0, 1) / math.sqrt(chi / 4) / math.sqrt(2)


class GeneratedFeed(Feed):
    """A seeded market of four symbols that never ends."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._levels: list[dict[str, float]] = [dict.fromkeys((p.symbol for p in PROFILES), 0.0)]
        self._days: OrderedDict[int, dict[str, Columns]] = OrderedDict()

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(profile.symbol for profile in PROFILES)

    @property
    def bar_ms(self) -> int:
        return MINUTE_MS

    @property
    def identity(self) -> str:
        return f"seed:{self._seed}"

    def bar(self, symbol: str, at_ms: int) -> Bar | None:
        if at_ms < ORIGIN_MS:
            return None
        day, rest = divmod(at_ms - ORIGIN_MS, DAY_MS)
        return self._day(day)[symbol].bar(rest // MINUTE_MS)

    def columns(self, symbol: str, start_ms: int, end_ms: int) -> Columns:
        first = -(-max(start_ms, ORIGIN_MS) // MINUTE_MS) * MINUTE_MS
        joined = Columns(first_ms=first, bar_ms=MINUTE_MS)
        if end_ms <= first:
            return joined
        for day in range((first - ORIGIN_MS) // DAY_MS, (end_ms - 1 - ORIGIN_MS) // DAY_MS + 1):
            part = self._day(day)[symbol].between(first, end_ms)
            for name in ("open", "high", "low", "close", "volume"):
                getattr(joined, name).extend(getattr(part, name))
        return joined

    def _level(self, day: int) -> dict[str, float]:
        while len(self._levels) <= day:
            random = Random(f"{self._seed}:level:{len(self._levels)}")
            before, common = self._levels[-1], _shock(random)
            self._levels.append(
                {
                    p.symbol: _REVERSION * before[p.symbol]
                    + _DAILY_SIGMA * (p.beta * common + p.own * _shock(random))
                    for p in PROFILES
                }
            )
        return self._levels[day]

    def _day(self, day: int) -> dict[str, Columns]:
        if day in self._days:
            self._days.move_to_end(day)
            return self._days[day]
        made = self._draw(day)
        self._days[day] = made
        if len(self._days) > _KEPT_DAYS:
            self._days.popitem(last=False)
        return made

    def _draw(self, day: int) -> dict[str, Columns]:
        """All symbols of one day."""
        random = Random(f"{self._seed}:day:{day}")
        sigmas, common = [], []
        heat = random.gauss(0, 0.35)
        for _ in range(MINUTES):
            heat = 0.97 * heat + random.gauss(0, 0.09)
            sigmas.append(_MINUTE_SIGMA * math.exp(heat))
            common.append(_shock(random))
        start, end = self._level(day), self._level(day + 1)
        return {
            p.symbol: self._minutes(
                Random(f"{self._seed}:day:{day}:{p.symbol}"), p, day, sigmas, common, start, end
            )
            for p in PROFILES
        }

    def _minutes(
        self,
        random: Random,
        profile: Profile,
        day: int,
        sigmas: list[float],
        common: list[float],
        start: dict[str, float],
        end: dict[str, float],
    ) -> Columns:
        moves = [
            sigma * (profile.beta * shock + profile.own * random.gauss(0, 1))
            for sigma, shock in zip(sigmas, common, strict=True)
        ]
        level = start[profile.symbol]
        drift = (end[profile.symbol] - level - sum(moves)) / MINUTES
        tick = int(INSTRUMENTS[profile.symbol].tick.scaleb(SCALE))
        step = int(INSTRUMENTS[profile.symbol].step.scaleb(SCALE))

        def ticks(log_price: float) -> int:
            return int(round(profile.base_price * math.exp(log_price) * UNIT / tick) * tick)

        columns = Columns(first_ms=ORIGIN_MS + day * DAY_MS, bar_ms=MINUTE_MS)
        opened = ticks(level)
        for sigma, move in zip(sigmas, moves, strict=True):
            level += move + drift
            closed = ticks(level)
            up, down = abs(random.gauss(0, 0.5)) * sigma, abs(random.gauss(0, 0.5)) * sigma
            high = round(max(opened, closed) * (1 + up) / tick) * tick
            low = round(min(opened, closed) * (1 - down) / tick) * tick
            traded = profile.volume * math.exp(random.gauss(0, 0.6)) * (1 + abs(move) / sigma)
            volume = max(1, round(traded * UNIT / step)) * step
            columns.append((opened, max(high, opened, closed), min(low, opened, closed), closed, volume))
            opened = closed
        return columns
