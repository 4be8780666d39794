"""From config/profiles.yaml to limits, and from limits to rows.

Percentages live in the file only; everywhere else they are ratios.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from controlplane.audit.canonical import digest_of
from controlplane.yaml_file import YamlMap, load_yaml
from risk import models
from risk.core.values import Limits

LADDER = ("MICRO", "SMALL", "MEDIUM", "LARGE")
DIGEST_DOMAIN = "limit-set-v1"

# key of the file -> field of Limits
PROFILE_MONEY = {
    "reference_capital_usd": "reference_capital",
    "max_position_usd": "max_position_notional",
    "max_gross_exposure_usd": "max_gross_exposure",
    "max_net_exposure_usd": "max_net_exposure",
}
PROFILE_PERCENT = {
    "risk_per_trade_percent": "max_trade_risk_ratio",
    "portfolio_risk_percent": "max_portfolio_risk_ratio",
    "daily_loss_percent": "max_daily_loss_ratio",
    "weekly_loss_percent": "max_weekly_loss_ratio",
    "margin_use_percent": "max_margin_ratio",
}
PROFILE_COUNT = {"max_positions": "max_positions", "max_trades_per_day": "max_trades_per_day"}
PROFILE_BAND = {
    "stop_loss_percent": ("min_stop_ratio", "max_stop_ratio"),
    "take_profit_percent": ("min_target_ratio", "max_target_ratio"),
}
COMMON_PERCENT = {
    "symbol_share_percent": "max_symbol_share_ratio",
    "price_collar_percent": "collar_ratio",
    "passive_price_collar_percent": "passive_collar_ratio",
    "bet_risk_percent": "max_bet_risk_ratio",
    "rolling_move_percent": "max_rolling_move_ratio",
    "price_divergence_percent": "max_divergence_ratio",
    "spread_percent": "max_spread_ratio",
    "funding_percent": "max_funding_ratio",
    "maintenance_margin_percent": "max_maintenance_ratio",
    "major_gap_percent": "major_gap_ratio",
    "other_gap_percent": "other_gap_ratio",
    "capital_loss_stop_percent": "max_capital_loss_ratio",
    "daily_drawdown_stop_percent": "max_daily_drawdown_ratio",
}
# These may be 0.
COMMON_COST = {
    "taker_fee_percent": "taker_fee_ratio",
    "major_slippage_percent": "major_slippage_ratio",
    "other_slippage_percent": "other_slippage_ratio",
}
# These may be above 100.
COMMON_MULTIPLE = {"depth_share_percent": "max_depth_share_ratio"}
COMMON_COUNT = {"orders_per_minute": "max_orders_per_minute", "repeated_entries": "max_repeats"}
COMMON_AGE = {
    "price_age_seconds": "max_price_age",
    "book_price_age_seconds": "max_book_price_age",
    "signal_age_seconds": "max_signal_age",
    "balance_age_seconds": "max_balance_age",
    "reconciliation_age_seconds": "max_reconciliation_age",
    "venue_setting_age_seconds": "max_setting_age",
    "global_risk_age_seconds": "max_global_risk_age",
    "repeat_window_seconds": "repeat_window",
    "funding_window_seconds": "funding_window",
    "delisting_window_seconds": "delisting_window",
}
CORRELATION = "bet_correlation"


def get_profiles_path() -> Path:
    return Path(settings.CONFIG_DIR) / "profiles.yaml"


def load_profiles(path: Path | None = None) -> dict[str, Limits]:
    """Read the ladder; raises YamlError for anything unknown, missing or unsafe."""
    file = load_yaml(path or get_profiles_path())
    file.require_keys(("profiles", "common"))
    common = _read_common(file.section("common"))
    profiles = file.section("profiles")
    profiles.require_keys(LADDER)
    return {name: _read_profile(name, profiles.section(name), common) for name in LADDER}


def _read_common(section: YamlMap) -> dict[str, Any]:
    section.require_keys(
        (*COMMON_PERCENT, *COMMON_COST, *COMMON_MULTIPLE, *COMMON_COUNT, *COMMON_AGE, CORRELATION)
    )
    return {
        CORRELATION: _correlation(section),
        **{field: _percent(section, key) for key, field in COMMON_PERCENT.items()},
        **{field: _percent(section, key, lowest=Decimal(0)) for key, field in COMMON_COST.items()},
        **{field: _positive(section, key) / 100 for key, field in COMMON_MULTIPLE.items()},
        **{field: _count(section, key) for key, field in COMMON_COUNT.items()},
        **{field: timedelta(seconds=_count(section, key)) for key, field in COMMON_AGE.items()},
    }


def _read_profile(name: str, section: YamlMap, common: Mapping[str, Any]) -> Limits:
    section.require_keys((*PROFILE_MONEY, "max_leverage", *PROFILE_PERCENT, *PROFILE_COUNT, *PROFILE_BAND))
    numbers: dict[str, Any] = {field: _positive(section, key) for key, field in PROFILE_MONEY.items()}
    numbers |= {field: _percent(section, key) for key, field in PROFILE_PERCENT.items()}
    numbers |= {field: _count(section, key) for key, field in PROFILE_COUNT.items()}
    numbers["max_leverage"] = Decimal(_count(section, "max_leverage"))
    for key, (least, most) in PROFILE_BAND.items():
        numbers[least], numbers[most] = _band(section, key)
    limits = Limits(digest="", profile=name, **common, **numbers)
    if limits.max_weekly_loss_ratio >= limits.capital_loss_stop_ratio:
        raise section.error(
            "weekly_loss_percent", "must be below the capital-loss stop, or the stop would come first"
        )
    return with_digest(limits)


def with_digest(limits: Limits) -> Limits:
    """The same limits, named by the digest of every other field."""
    numbers = {field.name: getattr(limits, field.name) for field in fields(limits) if field.name != "digest"}
    return replace(limits, digest=digest_of(DIGEST_DOMAIN, numbers))


def _positive(section: YamlMap, key: str, *, lowest: Decimal | None = None) -> Decimal:
    number = section.number(key)
    if number > 0 or (lowest is not None and number >= lowest):
        return number
    raise section.error(key, f"must be above 0, found {number}")


def _percent(section: YamlMap, key: str, *, lowest: Decimal | None = None) -> Decimal:
    number = _positive(section, key, lowest=lowest)
    if number > 100:
        raise section.error(key, f"must be at most 100, found {number}")
    return number / 100


def _correlation(section: YamlMap) -> Decimal:
    """A correlation of 1 or more is never exceeded: nothing would be one bet."""
    number = _positive(section, CORRELATION)
    if number >= 1:
        raise section.error(CORRELATION, f"must be below 1, found {number}")
    return number


def _count(section: YamlMap, key: str) -> int:
    number = section.whole(key)
    if number > 0:
        return number
    raise section.error(key, f"must be above 0, found {number}")


def _band(section: YamlMap, key: str) -> tuple[Decimal, Decimal]:
    band = section.section(key)
    band.require_keys(("min", "max"))
    least, most = _percent(band, "min"), _percent(band, "max")
    if least > most:
        raise band.error("min", "must not be above max")
    return least, most


def limits_of(row: models.LimitSet) -> Limits:
    """The frozen value of a stored set."""
    return Limits(**{field.name: getattr(row, field.name) for field in fields(Limits)})


@lru_cache(maxsize=256)
def _limits_by_digest(digest: str) -> Limits | None:
    row = models.LimitSet.objects.filter(digest=digest).first()
    if row is None:
        raise LookupError(digest)
    return limits_of(row)


def get_limits(digest: str) -> Limits | None:
    """The stored limits of that digest, or None. Sets never change, so a found one is kept."""
    try:
        return _limits_by_digest(digest)
    except LookupError:
        return None
