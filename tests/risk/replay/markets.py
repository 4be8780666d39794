"""Candles for replays: generated days, and small markets written by hand."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from risk.core.global_risk import SHIPPED
from risk.exposure import load_exposure
from risk.limits import load_profiles
from risk.replay.tape import Tape, make_tape
from risk.replay.values import Plan
from trading.simulator.candles import UNIT, CandleSet, Columns
from trading.simulator.generator import DAY_MS, MINUTE_MS, ORIGIN_MS, GeneratedFeed
from trading.strategies import STRATEGIES

D = Decimal
REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "candles"
START_MS = ORIGIN_MS + 100 * DAY_MS
EVERY = tuple(STRATEGIES.values())

Row = tuple[str, str, str, str]


@lru_cache(maxsize=4)
def generated(days: int = 3, bar_minutes: int = 1, symbols: tuple[str, ...] = ("ETHUSDT", "SOLUSDT")) -> Tape:
    """Seeded days of a few symbols, merged to longer bars where asked."""
    feed = GeneratedFeed(7)
    series = {s: merge(feed.columns(s, START_MS, START_MS + days * DAY_MS), bar_minutes) for s in symbols}
    return make_tape(CandleSet(bar_ms=bar_minutes * MINUTE_MS, digest=f"generated-{days}", series=series))


def merge(minutes: Columns, size: int) -> Columns:
    merged = Columns(first_ms=minutes.first_ms, bar_ms=size * MINUTE_MS)
    for start in range(0, len(minutes) - size + 1, size):
        part = slice(start, start + size)
        merged.append(
            (
                minutes.open[start],
                max(minutes.high[part]),
                min(minutes.low[part]),
                minutes.close[start + size - 1],
                sum(minutes.volume[part]),
            )
        )
    return merged


def written(bar_minutes: int = 1, **series: Sequence[Row]) -> Tape:
    """Rows of (open, high, low, close)."""
    columns = {}
    for symbol, rows in series.items():
        columns[symbol] = Columns(first_ms=START_MS, bar_ms=bar_minutes * MINUTE_MS)
        for row in rows:
            o, h, low, c = (int(D(cell) * UNIT) for cell in row)
            columns[symbol].append((o, h, low, c, 10_000 * UNIT))
    return make_tape(CandleSet(bar_ms=bar_minutes * MINUTE_MS, digest="written", series=columns))


def flat(price: str, count: int) -> list[Row]:
    return [(price, price, price, price)] * count


def plan(profile: str = "MICRO", **changes: Any) -> Plan:
    limits = changes.pop("limits", None) or load_profiles()[profile]
    wanted: dict[str, Any] = {
        "limits": limits,
        "strategies": EVERY,
        "balance": limits.reference_capital,
        "exposure": load_exposure(),
        "global_limits": SHIPPED,
    }
    return Plan(**(wanted | changes))


def real_set(name: str) -> Path:
    folder = REAL / name
    if not folder.is_dir():
        pytest.skip(f"the candle set {name} is not here")
    return folder
