"""Statistics of returns and losses: when and how risky a book is, never how much money is booked.

Floats, therefore, and nothing here reaches a ledger. Losses are positive numbers and gains negative
(a loss is the negative of a profit), so that the tail of interest is always the right tail of losses,
which is the left tail of profits. A horizon is counted in periods of the series: hourly figures at a
horizon of 24 are of one day. `None` is unknown.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import NormalDist

HOUR = timedelta(hours=1)
# RISK.md part 1: fewer samples say nothing, and an unknown correlation counts as 1.
CORRELATION_SAMPLES = 200
# Weight of the past in each hour's variance: half of what counts is of the last 23 hours.
DECAY = 0.97

_NORMAL = NormalDist()


def log_returns(closes: Sequence[float]) -> list[float]:
    """ln(C_t / C_{t-1}), a ratio a period, signed; one fewer than there are closes, which are > 0."""
    return [math.log(later / earlier) for earlier, later in pairwise(closes)]


def step_returns(closes: Mapping[datetime, float], step: timedelta = HOUR) -> dict[datetime, float]:
    """Simple returns C_t / C_{t-step} - 1 by time, signed ratios; across a gap there is none."""
    return {
        at: close / closes[before] - 1
        for at, close in sorted(closes.items())
        if (before := at - step) in closes
    }


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson: sum((x - mx)(y - my)) / sqrt(sum((x - mx)^2) sum((y - my)^2)), in [-1, 1].

    None for fewer than two pairs and where one of the series does not move.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values cannot be paired with {len(y)}")
    if len(x) < 2:
        return None
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    scale = math.sqrt(math.fsum((a - mean_x) ** 2 for a in x) * math.fsum((b - mean_y) ** 2 for b in y))
    if scale == 0:
        return None
    together = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return max(-1.0, min(1.0, together / scale))


def shrink(value: float, samples: int) -> float:
    """(1 - k) r, drawn to 0 by k = min(1, var(r) / r^2) with var(r) = (1 - r^2)^2 / (n - 1).

    The estimate's own variance decides how much of it is noise (Schaefer and Strimmer 2005, for one
    pair and the identity as target): next to nothing of 0.84 in 720 samples, all of 0.03 in 200.
    """
    if samples < 2:
        return 0.0
    variance, square = (1 - value**2) ** 2 / (samples - 1), value**2
    return value * (1 - variance / square) if variance < square else 0.0


def pair_correlation(
    first: Mapping[datetime, float], second: Mapping[datetime, float]
) -> tuple[float | None, int]:
    """Shrunk correlation of two series of `step_returns` as log returns, and the hours they share.

    Unknown with fewer than CORRELATION_SAMPLES common hours (RISK.md part 1).
    """
    hours = sorted(first.keys() & second.keys())
    if len(hours) < CORRELATION_SAMPLES:
        return None, len(hours)
    found = correlation([math.log1p(first[at]) for at in hours], [math.log1p(second[at]) for at in hours])
    return (None if found is None else shrink(found, len(hours))), len(hours)


def realised_volatility(returns: Sequence[float]) -> float | None:
    """sqrt(mean(r^2)) a period, >= 0; the mean return is taken as 0. None without a return."""
    if not returns:
        return None
    return math.sqrt(math.fsum(value**2 for value in returns) / len(returns))


def ewma_volatility(returns: Sequence[float], decay: float = DECAY) -> float | None:
    """sqrt(s^2) a period with s^2 = d s^2 + (1 - d) r^2, oldest first, begun at the first r^2.

    RiskMetrics 1996; the mean return is taken as 0. None without a return.
    """
    if not returns:
        return None
    variance = returns[0] ** 2
    for value in returns[1:]:
        variance = decay * variance + (1 - decay) * value**2
    return math.sqrt(variance)


def regime_ratio(returns: Sequence[float], short: int) -> float | None:
    """Realised volatility of the last `short` returns over that of all of them: 1 is as always, 2 twice.

    None with fewer than 2 x `short` returns, or where nothing moved.
    """
    if len(returns) < 2 * short:
        return None
    now, always = realised_volatility(returns[-short:]), realised_volatility(returns)
    return now / always if now is not None and always else None


def portfolio_pnl(
    notionals: Mapping[str, float], returns: Mapping[str, Mapping[datetime, float]]
) -> list[float]:
    """Profit a period of today's book in the past: sum of signed notional (USDT) x simple return.

    USDT, losses negative, oldest first, of the times that every symbol has (`step_returns`).
    """
    series = [(notional, returns.get(symbol, {})) for symbol, notional in notionals.items()]
    if not series:
        return []
    times = set(series[0][1]).intersection(*(values.keys() for _, values in series[1:]))
    return [math.fsum(notional * values[at] for notional, values in series) for at in sorted(times)]


def value_at_risk_historical(losses: Sequence[float], confidence: float, horizon: float = 1) -> float | None:
    """The smallest loss that at least `confidence` of the losses do not exceed, x sqrt(horizon).

    The ceil(c n)-th smallest of n losses: numpy's quantile with method "inverted_cdf". Unit of the
    losses; positive is a loss, negative if even there is a gain. None without a loss to look at.
    """
    _require_confidence(confidence)
    if not losses:
        return None
    rank = math.ceil(round(confidence * len(losses), 9))
    return sorted(losses)[rank - 1] * math.sqrt(horizon)


def expected_shortfall_historical(
    losses: Sequence[float], confidence: float, horizon: float = 1
) -> float | None:
    """Mean of the worst 1 - `confidence` of the losses, x sqrt(horizon); never below the value at risk.

    Of n losses the n (1 - c) largest, the last of them by its fraction (Acerbi and Tasche 2002); of
    fewer than one the largest. Unit and sign as value at risk. None without a loss to look at.
    """
    _require_confidence(confidence)
    if not losses:
        return None
    share = max(1.0, round((1 - confidence) * len(losses), 9))
    whole, worst = int(share), sorted(losses, reverse=True)
    total = math.fsum(worst[:whole])
    if share > whole:
        total += (share - whole) * worst[whole]
    return total / share * math.sqrt(horizon)


def value_at_risk_parametric(sigma: float, confidence: float, horizon: float = 1) -> float:
    """z_c sigma sqrt(horizon): the loss of a normal profit of mean 0, in the unit of sigma, >= 0.

    `sigma` is of one period and the horizon is counted in periods: a daily sigma is for one day.
    """
    _require_confidence(confidence)
    return _NORMAL.inv_cdf(confidence) * sigma * math.sqrt(horizon)


def expected_shortfall_parametric(sigma: float, confidence: float, horizon: float = 1) -> float:
    """sigma sqrt(horizon) phi(z_c) / (1 - c): the mean loss beyond the value at risk, >= 0."""
    _require_confidence(confidence)
    density = _NORMAL.pdf(_NORMAL.inv_cdf(confidence))
    return sigma * math.sqrt(horizon) * density / (1 - confidence)


def herfindahl(weights: Iterable[float]) -> float:
    """sum(w^2) / sum(w)^2 of weights >= 0: 1/n for n equal ones, 1 for a single one, 0 for none."""
    values = [abs(weight) for weight in weights]
    total = math.fsum(values)
    return math.fsum((value / total) ** 2 for value in values) if total > 0 else 0.0


def _require_confidence(confidence: float) -> None:
    if not 0.5 <= confidence < 1:
        raise ValueError(f"a confidence is in [0.5, 1), found {confidence}")
