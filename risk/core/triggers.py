"""When the stop trips by itself: from readings to a verdict (pure).

A reading counts only where it can be believed, and not sooner than the reading interval (market time)
after the one that counted before; so many breaches in a row latch. A reading that is absent neither
adds nor resets: what it hides is not known to be better.

How long readings have been absent is wall time, at any speed of the market: the question is whether
the machinery answers, and for that a paper market that runs sixty times as fast is as slow as a real one.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from risk.core.emergency_stop import StopRules
from trading.core.values import Prices

ZERO = Decimal(0)


class Verdict(StrEnum):
    """What follows from a reading for the scope that is watched."""

    NOTHING = "nothing"
    REDUCING = "reducing"
    TRIP = "trip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at a measure, in the unit of its threshold; None where it cannot be believed.

    `market_at` is market time.
    """

    value: Decimal | None
    market_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What is remembered between two readings.

    `breaches` in a row; `read_at` is the market time of the last reading that counted, `absent_since`
    the wall time since when none could be believed (None: the last one could).
    """

    breaches: int = 0
    read_at: datetime | None = None
    absent_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityView:
    """Equity of one venue account as two sources have it (USDT); None is not known, `detail` says why.

    `venue` is what the venue states, `own` our ledger's wallet and positions at freshly read marks.
    """

    venue: Decimal | None
    own: Decimal | None
    detail: str = ""


def advance(
    watch: WatchState,
    reading: Reading,
    threshold: Decimal | None,
    *,
    wall_at: datetime,
    began_at: datetime,
    rules: StopRules,
) -> tuple[WatchState, Verdict]:
    """Take one reading in; a value at the threshold breaches it, no threshold is never breached.

    `began_at` is the wall time when whoever watches began to: what nobody asked for was not absent.
    """
    if reading.value is None:
        after = note_presence(watch, is_present=False, wall_at=wall_at)
        return after, judge_absence(after, wall_at, began_at, rules)
    if not counts(watch, reading, rules):
        return note_presence(watch, is_present=True, wall_at=wall_at), Verdict.NOTHING
    is_breach = threshold is not None and reading.value >= threshold
    breaches = watch.breaches + 1 if is_breach else 0
    after = WatchState(breaches=breaches, read_at=reading.market_at)
    return after, Verdict.TRIP if breaches >= rules.readings else Verdict.NOTHING


def counts(watch: WatchState, reading: Reading, rules: StopRules) -> bool:
    """Whether the interval has gone by; a market clock that was set back begins anew."""
    if watch.read_at is None:
        return True
    passed = reading.market_at - watch.read_at
    return passed < timedelta(0) or passed >= rules.reading_interval


def note_presence(watch: WatchState, *, is_present: bool, wall_at: datetime) -> WatchState:
    """Absent since the first look at which nothing could be believed, until one that can be."""
    return replace(watch, absent_since=None if is_present else watch.absent_since or wall_at)


def judge_absence(watch: WatchState, wall_at: datetime, began_at: datetime, rules: StopRules) -> Verdict:
    """REDUCING, then TRIP, by how long no reading could be believed (wall time)."""
    if watch.absent_since is None:
        return Verdict.NOTHING
    absent = wall_at - max(watch.absent_since, began_at)
    if absent > rules.absent_trip:
        return Verdict.TRIP
    return Verdict.REDUCING if absent > rules.absent_reducing else Verdict.NOTHING


def believe_equity(view: EquityView, max_difference_ratio: Decimal) -> tuple[Decimal | None, str]:
    """The smaller of both equities (USDT) and "", or None and why neither is believed.

    One balance of zero, or one price that only one of both has, is not what an account is worth.
    """
    venue, own = view.venue, view.own
    if venue is None or own is None:
        return None, view.detail or "equity is not known"
    if not (venue.is_finite() and own.is_finite()):
        return None, f"the venue says {venue}, our book {own}"
    apart, larger = abs(venue - own), max(abs(venue), abs(own))
    if (venue > 0) != (own > 0) or apart > max_difference_ratio * larger:
        return None, f"the venue says {venue:.2f}, our book {own:.2f} USDT"
    return min(venue, own), ""


def capital_loss_ratio(base: Decimal, net_flow: Decimal, equity: Decimal) -> Decimal:
    """max(0, (B + F - E) / B), a ratio; B > 0, all in USDT (RISK.md part 1)."""
    return max(ZERO, (base + net_flow - equity) / base)


def is_sound(prices: Prices, max_divergence_ratio: Decimal) -> bool:
    """Whether a price can be used at all: finite, above zero, and the three as near as the gate asks.

    |mark - index| / index and |last - mark| / mark are at most the limit.
    """
    mark, last, index = prices.mark, prices.last, prices.index
    if not all(price.is_finite() and price > 0 for price in (mark, last, index)):
        return False
    limit = max_divergence_ratio
    return abs(mark - index) <= limit * index and abs(last - mark) <= limit * mark
