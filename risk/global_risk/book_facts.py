"""What one account holds and waits for, and what global risk measures of it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from risk.core import portfolio, statistics
from risk.core.global_risk import GlobalRiskLimits
from risk.core.measures import is_priced
from risk.core.portfolio import Exposure
from risk.core.values import Limits
from risk.global_risk.correlations import list_correlations
from risk.global_risk.returns import floor_to_hour, list_returns, list_spans
from risk.snapshot import load_book
from trading import selectors
from trading.models import Account, EquitySample, VenueAccount

ZERO = Decimal(0)
PLACES = 8
HOURS_OF_A_DAY = 24

# What the book of an account that holds nothing and waits for nothing measures.
NOTHING: Mapping[str, Decimal] = dict.fromkeys(
    ("leverage", "concentration_ratio", "bet_ratio", "var_ratio", "es_ratio", "maintenance_ratio"), ZERO
)


def measure_account_book(
    account: Account, limits: Limits | None, equity: EquitySample | None, risk: GlobalRiskLimits, at: datetime
) -> dict[str, Any]:
    """The fields of AccountFacts that are about the whole book; what is unknown is left out.

    `equity` is the primary venue's newest sample, as the gate sizes by it; `at` is market time.
    """
    positions, pending = load_book(account.pk)
    items: tuple[portfolio.Item, ...] = (*positions, *pending)
    found: dict[str, Any] = {
        "is_flat": not items,
        "leverage_limit": None if limits is None else limits.max_leverage,
    }
    returns = _list_fresh_returns(account, items, risk, at)
    found["volatility_ratio"] = _measure_regime(returns, {item.symbol for item in items}, risk)
    if not items:
        return {**found, **NOTHING}
    found["maintenance_ratio"] = _measure_maintenance(account)
    if limits is None or not all(is_priced(item.mark, item.mark_at, at, limits) for item in items):
        return found
    exposures, base = portfolio.measure_exposures(items), _equity_for_risk(limits, equity)
    if exposures is None or base is None:
        return found
    return {
        **found,
        **_measure_sizes(exposures, base, limits, at),
        **_measure_loss(exposures, base, returns, risk),
    }


def _equity_for_risk(limits: Limits, equity: EquitySample | None) -> Decimal | None:
    """E_r = min(E, W, C), USDT; None where it is unknown or not above zero."""
    if equity is None:
        return None
    base = min(equity.equity, equity.wallet, limits.reference_capital)
    return base if base > 0 else None


def _measure_sizes(
    exposures: tuple[Exposure, ...], base: Decimal, limits: Limits, at: datetime
) -> dict[str, Decimal]:
    known = list_correlations(frozenset(item.symbol for item in exposures), at)
    return {
        "leverage": _ratio(portfolio.sum_gross(exposures) / base),
        "concentration_ratio": _ratio(portfolio.measure_concentration(exposures, base)),
        "bet_ratio": _ratio(portfolio.measure_bet(exposures, known, limits.bet_correlation) / base),
    }


def _measure_loss(
    exposures: tuple[Exposure, ...],
    base: Decimal,
    returns: Mapping[str, Mapping[datetime, float]],
    risk: GlobalRiskLimits,
) -> dict[str, Any]:
    loss = portfolio.measure_loss(
        exposures,
        returns,
        confidence=float(risk.confidence),
        samples=risk.samples,
        parametric_samples=risk.parametric_samples,
        periods=HOURS_OF_A_DAY,
    )
    if loss is None:
        return {}
    return {
        "var_ratio": _ratio(loss.value_at_risk / base),
        "es_ratio": _ratio(loss.expected_shortfall / base),
        "loss_method": loss.method,
    }


def _list_fresh_returns(
    account: Account, items: tuple[portfolio.Item, ...], risk: GlobalRiskLimits, at: datetime
) -> dict[str, Mapping[datetime, float]]:
    """Hourly returns of what is held or, with nothing held, of what is traded; old ones left out."""
    symbols = {item.symbol for item in items} or set(selectors.list_symbols(account))
    oldest = floor_to_hour(at) - risk.max_candle_age
    spans = list_spans(symbols, at)
    return {symbol: list_returns(span) for symbol, span in spans.items() if span.closed_at >= oldest}


def _measure_regime(
    returns: Mapping[str, Mapping[datetime, float]], held: set[str], risk: GlobalRiskLimits
) -> Decimal | None:
    """The highest regime ratio of the symbols; of held ones every single one must be known."""
    ratios = [
        statistics.regime_ratio(list(returns.get(symbol, {}).values()), risk.short_hours)
        for symbol in held or returns
    ]
    known = [ratio for ratio in ratios if ratio is not None]
    if not known or (held and len(known) < len(ratios)):
        return None
    return _ratio(Decimal(max(known)))


def _measure_maintenance(account: Account) -> Decimal | None:
    """Maintenance margin / equity at the venue where it is highest; None where one is unknown."""
    shares = [_share(place) for place in selectors.list_venue_accounts(account)]
    known = [share for share in shares if share is not None]
    return _ratio(max(known)) if known and len(known) == len(shares) else None


def _share(place: VenueAccount) -> Decimal | None:
    """A venue that was never read and where nothing is held needs no margin."""
    sample = selectors.latest_equity(place)
    if sample is None:
        return None if selectors.list_open_positions(place).exists() else ZERO
    if sample.maintenance_margin == 0:
        return ZERO
    return sample.maintenance_margin / sample.equity if sample.equity > 0 else None


def _ratio(value: Decimal) -> Decimal:
    return round(value, PLACES)
