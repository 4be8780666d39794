"""From config/programme.yaml to the rules of the programme. Percentages live in the file only."""

from collections.abc import Mapping
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
from golive.core.guards import NO_LIMIT, GuardName, GuardRule
from golive.core.programme import CONDITIONS
from golive.core.programme_values import PhaseRules, ProgrammeRules
from golive.core.words import LADDER, Phase

DIGEST_DOMAIN = "programme-rules-v1"
GUARDS_DOMAIN = "guard-set-v1"
GUARD_KEYS = ("limit", "fail", "inconclusive", "error", "min_samples", "max_age_seconds")
# section -> key -> (field, unit of a duration; None is a count)
NUMBERS: Mapping[str, Mapping[str, tuple[str, timedelta | None]]] = {
    "evidence": {
        "preflight_age_minutes": ("preflight_age", timedelta(minutes=1)),
        "trade_age_hours": ("trade_age", timedelta(hours=1)),
        "min_symbols": ("min_symbols", None),
        "evaluation_age_hours": ("evaluation_age", timedelta(hours=1)),
    },
    "request": {
        "approve_within_hours": ("approval_ttl", timedelta(hours=1)),
        "activate_within_hours": ("execution_ttl", timedelta(hours=1)),
        "impact_hours": ("impact_window", timedelta(hours=1)),
        "impact_decisions": ("impact_decisions", None),
    },
}


def get_programme_rules_path() -> Path:
    return Path(settings.CONFIG_DIR) / "programme.yaml"


@lru_cache(maxsize=4)
def _read_once(path: Path) -> ProgrammeRules:
    return load_programme_rules(path)


def get_programme_rules() -> ProgrammeRules:
    """The rules as this process first read them; raises YamlError."""
    return _read_once(get_programme_rules_path())


def load_programme_rules(path: Path) -> ProgrammeRules:
    """Read the file; raises YamlError for anything unknown, missing or out of order."""
    file = load_yaml(path)
    file.require_keys(("phases", "observation", "guards", *NUMBERS, "cumulative", "solo"))
    found: dict[str, Any] = {"phases": _read_phases(file.section("phases"))}
    for name, keys in NUMBERS.items():
        found |= _read_numbers(file.section(name), keys)
    found |= _read_observation(file.section("observation"), found["phases"])
    found |= _read_cumulative(file.section("cumulative"))
    found |= _read_solo(file.section("solo"))
    found["guards"] = _read_guards(file.section("guards"))
    return with_digest(ProgrammeRules(digest="", guards_digest="", **found))


def with_digest(rules: ProgrammeRules) -> ProgrammeRules:
    """The same rules, named by the digest of every other field."""
    named = replace(rules, guards_digest=digest_of(GUARDS_DOMAIN, dict(rules.guards)))
    body = {field.name: getattr(named, field.name) for field in fields(named) if field.name != "digest"}
    return replace(named, digest=digest_of(DIGEST_DOMAIN, body))


def _read_phases(section: YamlMap) -> Mapping[Phase, PhaseRules]:
    """Every phase; every condition there is must be asked for somewhere."""
    section.require_keys(tuple(Phase))
    phases = {phase: _read_phase(section.section(phase)) for phase in Phase}
    asked = {name for phase in phases.values() for name in (*phase.entry, *phase.exit)}
    if unasked := sorted(CONDITIONS.keys() - asked):
        raise section.error("", f"asked for nowhere: {', '.join(unasked)}")
    return MappingProxyType(phases)


def _read_phase(section: YamlMap) -> PhaseRules:
    section.require_keys(("min_minutes", "entry", "exit"))
    return PhaseRules(
        min_duration=timedelta(minutes=_at_least(section, "min_minutes", 0)),
        entry=_read_names(section, "entry"),
        exit=_read_names(section, "exit"),
    )


def _read_names(section: YamlMap, key: str) -> tuple[str, ...]:
    names = section.texts(key)
    for name in names:
        if name not in CONDITIONS:
            raise section.error(key, f"unknown condition {name!r}; known: {', '.join(CONDITIONS)}")
    return names


def _read_numbers(section: YamlMap, keys: Mapping[str, tuple[str, timedelta | None]]) -> dict[str, Any]:
    section.require_keys(tuple(keys))
    found: dict[str, Any] = {}
    for key, (field, unit) in keys.items():
        number = _at_least(section, key, 1)
        found[field] = number if unit is None else number * unit
    return found


def _read_observation(section: YamlMap, phases: Mapping[Phase, PhaseRules]) -> dict[str, Any]:
    """The marks rise from 0; the last one is where the observation may end."""
    section.require_keys(("marks_minutes", "max_hours"))
    marks = section["marks_minutes"]
    whole = isinstance(marks, tuple) and all(type(mark) is int for mark in marks)
    if not whole or not marks or marks[0] != 0 or sorted(set(marks)) != list(marks):
        raise section.error("marks_minutes", "expected whole minutes that rise from 0")
    if timedelta(minutes=marks[-1]) != phases[Phase.OBSERVATION].min_duration:
        raise section.error("marks_minutes", "the last mark must be observation.min_minutes")
    longest = timedelta(hours=_at_least(section, "max_hours", 1))
    if longest < timedelta(minutes=marks[-1]):
        raise section.error("max_hours", "must not be before the last mark")
    return {"marks": marks, "max_observation": longest}


def _read_cumulative(section: YamlMap) -> dict[str, Any]:
    section.require_keys(("window_days", "increase_percent"))
    percent = section.number("increase_percent")
    if not 0 <= percent <= 100:
        raise section.error("increase_percent", f"must be from 0 to 100, found {percent}")
    window = timedelta(days=_at_least(section, "window_days", 1))
    return {"cumulative_window": window, "cumulative_ratio": percent / Decimal(100)}


def _read_solo(section: YamlMap) -> dict[str, Any]:
    section.require_keys(("highest", "rung_days"))
    highest = section.text("highest")
    if highest not in LADDER[:2]:
        raise section.error("highest", f"expected one of {', '.join(LADDER[:2])}, found {highest!r}")
    days = _at_least(section, "rung_days", 28)
    return {"solo_highest": highest, "solo_rung_every": timedelta(days=days)}


def _read_guards(section: YamlMap) -> Mapping[str, GuardRule]:
    """Every guard there is, none missing."""
    section.require_keys(tuple(GuardName))
    return MappingProxyType({name.value: _read_guard(section.section(name)) for name in GuardName})


def _read_guard(section: YamlMap) -> GuardRule:
    section.require_keys(GUARD_KEYS)
    limit = section.number("limit")
    if limit < 0:
        raise section.error("limit", f"must be at least 0, found {limit}")
    return GuardRule(
        limit=limit,
        fail_limit=_at_least(section, "fail", 0),
        inconclusive_limit=_at_least(section, "inconclusive", NO_LIMIT),
        error_limit=_at_least(section, "error", 0),
        min_samples=_at_least(section, "min_samples", 1),
        max_age=timedelta(seconds=_at_least(section, "max_age_seconds", 1)),
    )


def _at_least(section: YamlMap, key: str, least: int) -> int:
    number = section.whole(key)
    if number < least:
        raise section.error(key, f"must be at least {least}, found {number}")
    return number
