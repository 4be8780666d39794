"""From config/global_risk.yaml to the thresholds of global risk. Percentages live in the file only."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from controlplane.audit.canonical import digest_of
from controlplane.yaml_file import YamlMap, load_yaml
from risk.core.global_risk import GlobalRiskLimits, Threshold

DIGEST_DOMAIN = "global-risk-limits-v1"
PERCENT = Decimal("0.01")
ONE = Decimal(1)

# key of the file -> field of GlobalRiskLimits, and what one of the file's units is there
THRESHOLDS = {
    "data_age_seconds": ("data_age", ONE),
    "venue_answer_age_seconds": ("answer_age", ONE),
    "drawdown_share_percent": ("drawdown", PERCENT),
    "leverage_share_percent": ("leverage", PERCENT),
    "concentration_percent": ("concentration", PERCENT),
    "correlated_bet_percent": ("bet", PERCENT),
    "value_at_risk_percent": ("value_at_risk", PERCENT),
    "expected_shortfall_percent": ("expected_shortfall", PERCENT),
    "volatility_times": ("volatility", ONE),
    "maintenance_margin_percent": ("maintenance", PERCENT),
    "unknown_orders": ("unknown_orders", ONE),
    "execution_errors": ("errors", ONE),
}


def get_global_risk_path() -> Path:
    return Path(settings.CONFIG_DIR) / "global_risk.yaml"


@lru_cache(maxsize=4)
def get_global_risk_limits(path: Path | None = None) -> GlobalRiskLimits:
    """The thresholds as this process first read them; raises YamlError."""
    return load_global_risk_limits(path or get_global_risk_path())


def load_global_risk_limits(path: Path) -> GlobalRiskLimits:
    """Read the file; raises YamlError for anything unknown, missing or out of order."""
    file = load_yaml(path)
    file.require_keys(("thresholds", "measurement"))
    section = file.section("thresholds")
    section.require_keys(THRESHOLDS)
    thresholds: dict[str, Any] = {
        field: _threshold(section, key, unit) for key, (field, unit) in THRESHOLDS.items()
    }
    limits = GlobalRiskLimits(digest="", **thresholds, **_read_measurement(file.section("measurement")))
    return with_digest(limits)


def with_digest(limits: GlobalRiskLimits) -> GlobalRiskLimits:
    """The same thresholds, named by the digest of every other field."""
    numbers = {field.name: getattr(limits, field.name) for field in fields(limits) if field.name != "digest"}
    return replace(limits, digest=digest_of(DIGEST_DOMAIN, numbers))


def _threshold(section: YamlMap, key: str, unit: Decimal) -> Threshold:
    pair = section.section(key)
    pair.require_keys(("warning", "critical"))
    warning, critical = pair.number("warning"), pair.number("critical")
    if warning <= 0:
        raise pair.error("warning", f"must be above 0, found {warning}")
    if critical < warning:
        raise pair.error("critical", f"must not be below warning, found {critical}")
    return Threshold(warning=warning * unit, critical=critical * unit)


def _read_measurement(section: YamlMap) -> dict[str, Any]:
    readers: dict[str, tuple[str, Callable[[YamlMap, str], Any]]] = {
        "unknown_order_age_seconds": ("unknown_order_age", _seconds),
        "execution_error_window_seconds": ("error_window", _seconds),
        "confidence_percent": ("confidence", _confidence),
        "historical_samples": ("samples", _count),
        "parametric_samples": ("parametric_samples", _count),
        "volatility_hours": ("short_hours", _count),
        "candle_age_hours": ("max_candle_age", _hours),
    }
    section.require_keys(readers)
    return {field: read(section, key) for key, (field, read) in readers.items()}


def _count(section: YamlMap, key: str) -> int:
    number = section.whole(key)
    if number <= 0:
        raise section.error(key, f"must be above 0, found {number}")
    return number


def _seconds(section: YamlMap, key: str) -> timedelta:
    return timedelta(seconds=_count(section, key))


def _hours(section: YamlMap, key: str) -> timedelta:
    return timedelta(hours=_count(section, key))


def _confidence(section: YamlMap, key: str) -> Decimal:
    number = section.number(key)
    if not 50 <= number < 100:
        raise section.error(key, f"must be from 50 to below 100, found {number}")
    return number * PERCENT
