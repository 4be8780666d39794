"""From config/emergency_stop.yaml to the rules of the stop. Percentages live in the file only."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from django.conf import settings

from controlplane.audit.canonical import digest_of
from controlplane.yaml_file import YamlMap, load_yaml
from risk.core.emergency_stop import PositionPolicy, StopPolicy, StopRules
from risk.limits import load_profiles

DIGEST_DOMAIN = "stop-rules-v1"
PERCENT = Decimal("0.01")

Reader = Callable[[YamlMap, str], Any]


def get_stop_rules_path() -> Path:
    return Path(settings.CONFIG_DIR) / "emergency_stop.yaml"


@lru_cache(maxsize=4)
def get_stop_rules(path: Path | None = None) -> StopRules:
    """The rules as this process first read them; raises YamlError."""
    return load_stop_rules(path or get_stop_rules_path())


def get_stop_policy(profile: str, rules: StopRules | None = None) -> StopPolicy:
    """The policy of a profile; of an unknown one the strictest of each."""
    policies = (rules or get_stop_rules()).policies
    if profile in policies:
        return policies[profile]
    order = list(PositionPolicy)
    return StopPolicy(
        positions=max((policy.positions for policy in policies.values()), key=order.index),
        cool_down=max(policy.cool_down for policy in policies.values()),
        reducing=max(policy.reducing for policy in policies.values()),
    )


def load_stop_rules(path: Path) -> StopRules:
    """Read the file; raises YamlError for anything unknown, missing or out of order."""
    file = load_yaml(path)
    file.require_keys((*SECTIONS, "profiles"))
    found: dict[str, Any] = {}
    for name, readers in SECTIONS.items():
        section = file.section(name)
        section.require_keys(readers)
        found |= {field: read(section, key) for key, (field, read) in readers.items()}
    if found["absent_trip"] <= found["absent_reducing"]:
        raise file.section("triggers").error("absent_trip_seconds", "must be above absent_reducing_seconds")
    if found["close_after"] <= found["protect_after"]:
        raise file.section("sweep").error("close_after_seconds", "must be above protect_after_seconds")
    rules = StopRules(digest="", policies=_read_policies(file.section("profiles")), **found)
    return with_digest(rules)


def with_digest(rules: StopRules) -> StopRules:
    """The same rules, named by the digest of every other field."""
    body = {field.name: getattr(rules, field.name) for field in fields(rules) if field.name != "digest"}
    body["policies"] = {
        name: {"positions": policy.positions, "cool_down": policy.cool_down, "reducing": policy.reducing}
        for name, policy in rules.policies.items()
    }
    return replace(rules, digest=digest_of(DIGEST_DOMAIN, body))


def _read_policies(section: YamlMap) -> MappingProxyType[str, StopPolicy]:
    """One policy for each profile of the ladder, none missing."""
    section.require_keys(tuple(load_profiles()))
    return MappingProxyType({name: _read_policy(section.section(name)) for name in section})


def _read_policy(section: YamlMap) -> StopPolicy:
    section.require_keys(("positions", "cool_down_minutes", "reducing_minutes"))
    text = section.text("positions")
    if text not in list(PositionPolicy):
        known = ", ".join(PositionPolicy)
        raise section.error("positions", f"expected one of {known}, found {text!r}")
    return StopPolicy(
        positions=PositionPolicy(text),
        cool_down=_minutes(section, "cool_down_minutes"),
        reducing=timedelta(minutes=_at_least(section, "reducing_minutes", 0)),
    )


def _at_least(section: YamlMap, key: str, least: int) -> int:
    number = section.whole(key)
    if number < least:
        raise section.error(key, f"must be at least {least}, found {number}")
    return number


def _count(section: YamlMap, key: str) -> int:
    return _at_least(section, key, 1)


def _seconds(section: YamlMap, key: str) -> timedelta:
    return timedelta(seconds=_count(section, key))


def _minutes(section: YamlMap, key: str) -> timedelta:
    return timedelta(minutes=_count(section, key))


def _hours(section: YamlMap, key: str) -> timedelta:
    return timedelta(hours=_count(section, key))


def _percent(section: YamlMap, key: str) -> Decimal:
    number = section.number(key)
    if not 0 < number <= 100:
        raise section.error(key, f"must be above 0 and at most 100, found {number}")
    return number * PERCENT


def _text(section: YamlMap, key: str) -> str:
    return section.text(key)


# section -> key of the file -> field of StopRules
SECTIONS: dict[str, dict[str, tuple[str, Reader]]] = {
    "triggers": {
        "consecutive_readings": ("readings", _count),
        "reading_interval_seconds": ("reading_interval", _seconds),
        "absent_reducing_seconds": ("absent_reducing", _seconds),
        "absent_trip_seconds": ("absent_trip", _seconds),
        "equity_difference_percent": ("equity_difference_ratio", _percent),
        "losing_run": ("max_losing_run", _count),
        "scratch_percent": ("scratch_ratio", _percent),
        "stale_data_seconds": ("stale_data", _seconds),
        "execution_errors": ("max_errors", _count),
        "execution_error_window_seconds": ("error_window", _seconds),
        "mismatch_seconds": ("mismatch", _seconds),
        "global_risk_seconds": ("global_risk", _seconds),
        "heartbeat_seconds": ("heartbeat", _seconds),
    },
    "sweep": {
        "protect_after_seconds": ("protect_after", _seconds),
        "close_after_seconds": ("close_after", _seconds),
        "growth_percent": ("growth_ratio", _percent),
    },
    "rearm": {"preflight_age_minutes": ("preflight_age", _minutes)},
    "drill": {
        "account": ("drill_account", _text),
        "every_hours": ("drill_every", _hours),
        "max_age_hours": ("drill_max_age", _hours),
    },
}
