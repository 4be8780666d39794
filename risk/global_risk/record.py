"""An assessment as it is stored: complete enough to be judged again, readable enough to be shown.

Plain JSON: ages in seconds, ratios as texts. {"accounts": facts by account, "limits": thresholds with
their digest, "findings": each with code, level, account, venue, measured, limit, text, "measures": by
account and name}.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

from risk.core.global_risk import AccountFacts, Assessment, GlobalRiskLimits, Threshold, list_measures

AGES = frozenset({"price_age", "balance_age", "reconciliation_age", "answer_age"})
AS_THEY_ARE = frozenset(
    {"account", "venue", "is_reconciled", "is_flat", "loss_method", "unknown_orders", "errors"}
)
DURATIONS = frozenset({"unknown_order_age", "error_window", "max_candle_age"})
COUNTS = frozenset({"samples", "parametric_samples", "short_hours"})


def as_inputs(
    accounts: tuple[AccountFacts, ...], limits: GlobalRiskLimits, found: Assessment
) -> dict[str, Any]:
    return {
        "accounts": {facts.account: _plain(asdict(facts)) for facts in accounts},
        "limits": _plain(asdict(limits)),
        "findings": [_plain(asdict(finding)) for finding in found.findings],
        "measures": {facts.account: _plain(list_measures(facts, limits)) for facts in accounts},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, Decimal) else value


def read_inputs(inputs: Mapping[str, Any]) -> tuple[tuple[AccountFacts, ...], GlobalRiskLimits]:
    """What `as_inputs` wrote: `assess` of it gives the stored level again. Raises KeyError."""
    accounts = tuple(read_facts(data) for data in inputs["accounts"].values())
    return accounts, _read_limits(inputs["limits"])


def describe(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What faces show: the findings, and every account's measures by name; None is unknown."""
    measures = {
        account: {name: None if value is None else Decimal(value) for name, value in values.items()}
        for account, values in inputs.get("measures", {}).items()
    }
    return {"findings": list(inputs.get("findings", [])), "measures": measures}


def read_facts(data: Mapping[str, Any]) -> AccountFacts:
    """One account's facts; what is not there is unknown."""
    known = {field.name for field in fields(AccountFacts)} & data.keys()
    return AccountFacts(**{name: _read_fact(name, data[name]) for name in known})


def _read_fact(name: str, value: Any) -> Any:
    if value is None or name in AS_THEY_ARE:
        return value
    return timedelta(seconds=value) if name in AGES else Decimal(value)


def _read_limits(data: Mapping[str, Any]) -> GlobalRiskLimits:
    return GlobalRiskLimits(
        **{field.name: _read_limit(field.name, data[field.name]) for field in fields(GlobalRiskLimits)}
    )


def _read_limit(name: str, value: Any) -> Any:
    if name in DURATIONS:
        return timedelta(seconds=value)
    if isinstance(value, Mapping):
        return Threshold(warning=Decimal(value["warning"]), critical=Decimal(value["critical"]))
    return value if name in COUNTS or name == "digest" else Decimal(value)
