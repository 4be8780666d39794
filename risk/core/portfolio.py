"""What a whole book measures without any order: size, concentration, the largest bet, loss of a day.

N_s is RISK.md's worst-case notional per underlying across venues, every pending entry filled. USDT;
ratios are of E_r, equity for risk. No book measures 0.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from risk.core import statistics
from risk.core.values import CorrelationFacts, PendingFacts, PositionFacts
from trading.core.values import Side

ZERO = Decimal(0)
Item = PositionFacts | PendingFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One underlying: USDT >= 0 that it would be long, and short, if that side's entries fill."""

    symbol: str
    long: Decimal
    short: Decimal

    @property
    def notional(self) -> Decimal:
        """N_s."""
        return max(self.long, self.short)

    @property
    def signed(self) -> Decimal:
        """N_s with its sign: negative where the short side is the larger one."""
        return self.long if self.long >= self.short else -self.short


@dataclass(frozen=True, slots=True, kw_only=True)
class LossMeasures:
    """Loss of one day at the stated confidence, USDT >= 0, and how it was found."""

    value_at_risk: Decimal
    expected_shortfall: Decimal
    method: str


def measure_exposures(items: Iterable[Item]) -> tuple[Exposure, ...] | None:
    """Each underlying's exposure, sorted by symbol; None where a price is missing."""
    places: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        if item.mark is None:
            return None
        places.setdefault((item.symbol, item.venue), []).append(item)
    found: dict[str, Exposure] = {}
    for (symbol, _), together in sorted(places.items()):
        here, so_far = _expose(symbol, together), found.get(symbol)
        found[symbol] = here if so_far is None else _join(so_far, here)
    return tuple(found.values())


def _join(one: Exposure, other: Exposure) -> Exposure:
    """The same underlying at two venues; what one venue is long does not pay for another's short."""
    return Exposure(symbol=one.symbol, long=one.long + other.long, short=one.short + other.short)


def _expose(symbol: str, items: list[Item]) -> Exposure:
    """One symbol at one venue, counted at the highest of mark and order prices."""
    price = max(max(item.mark or ZERO, _order_price(item)) for item in items)
    held = sum((item.quantity for item in items if isinstance(item, PositionFacts)), ZERO)
    buys, sells = (
        sum((item.quantity for item in items if isinstance(item, PendingFacts) and item.side is side), ZERO)
        for side in (Side.BUY, Side.SELL)
    )
    return Exposure(symbol=symbol, long=max(ZERO, held + buys) * price, short=max(ZERO, sells - held) * price)


def _order_price(item: Item) -> Decimal:
    return (item.price or ZERO) if isinstance(item, PendingFacts) else ZERO


def sum_gross(exposures: Iterable[Exposure]) -> Decimal:
    """Sum of N_s, USDT."""
    return sum((item.notional for item in exposures), ZERO)


def measure_concentration(exposures: tuple[Exposure, ...], equity_for_risk: Decimal) -> Decimal:
    """Herfindahl index of the N_s x min(1, gross / E_r), a ratio in [0, 1].

    The index alone calls every single small position 1. Scaled, it is the mean position's share of
    E_r, each weighted by its own size: 0.3 is a book like one position of 30 % of E_r.
    """
    index = Decimal(statistics.herfindahl(float(item.notional) for item in exposures))
    return index * min(Decimal(1), sum_gross(exposures) / equity_for_risk)


def measure_bet(
    exposures: tuple[Exposure, ...], correlations: tuple[CorrelationFacts, ...], threshold: Decimal
) -> Decimal:
    """The largest bet, USDT: max(sum long, sum short) of N_s over a component of |correlation| > threshold.

    As RISK.md's correlation bet, of notional instead of R: what one move of a market would hit at once
    if no stop held. An unknown correlation counts as 1.
    """
    sizes = {item.symbol: item for item in exposures}
    sides = (
        max(sum((sizes[s].long for s in bet), ZERO), sum((sizes[s].short for s in bet), ZERO))
        for bet in find_bets(sizes, correlations, threshold)
    )
    return max(sides, default=ZERO)


def find_bets(
    symbols: Iterable[str], correlations: Iterable[CorrelationFacts], threshold: Decimal
) -> list[frozenset[str]]:
    """The connected components of |correlation| > threshold; a pair that is not listed is connected."""
    apart = {frozenset((item.first, item.second)) for item in correlations if abs(item.value) <= threshold}
    bets: list[frozenset[str]] = []
    for symbol in sorted(symbols):
        joined = [bet for bet in bets if any(frozenset((symbol, other)) not in apart for other in bet)]
        bets = [bet for bet in bets if bet not in joined]
        bets.append(frozenset({symbol}).union(*joined))
    return bets


def measure_loss(
    exposures: tuple[Exposure, ...],
    returns: Mapping[str, Mapping[datetime, float]],
    *,
    confidence: float,
    samples: int,
    parametric_samples: int,
    periods: int,
) -> LossMeasures | None:
    """Value at risk and expected shortfall of `periods` periods of `returns`, without any stop.

    Historical with `samples` common periods or more, parametric with `parametric_samples` (of the
    larger of realised and recent volatility), None with fewer. Both are scaled by sqrt(periods).
    """
    pnl = statistics.portfolio_pnl({item.symbol: float(item.signed) for item in exposures}, returns)
    if len(pnl) >= samples:
        return _read_loss(pnl, confidence, periods)
    return _estimate_loss(pnl, confidence, periods) if len(pnl) >= parametric_samples else None


def _read_loss(pnl: list[float], confidence: float, periods: int) -> LossMeasures | None:
    losses = [-value for value in pnl]
    var = statistics.value_at_risk_historical(losses, confidence, periods)
    shortfall = statistics.expected_shortfall_historical(losses, confidence, periods)
    return _loss(var, shortfall, "historical")


def _estimate_loss(pnl: list[float], confidence: float, periods: int) -> LossMeasures | None:
    sigma = max(statistics.realised_volatility(pnl) or 0.0, statistics.ewma_volatility(pnl) or 0.0)
    var = statistics.value_at_risk_parametric(sigma, confidence, periods)
    return _loss(var, statistics.expected_shortfall_parametric(sigma, confidence, periods), "parametric")


def _loss(value_at_risk: float | None, shortfall: float | None, method: str) -> LossMeasures | None:
    """A gain in the tail is no loss: both are at least 0."""
    if value_at_risk is None or shortfall is None:
        return None
    return LossMeasures(
        value_at_risk=max(ZERO, Decimal(value_at_risk)),
        expected_shortfall=max(ZERO, Decimal(shortfall)),
        method=method,
    )
