"""config/emergency_stop.yaml: what is shipped, and what is refused."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from controlplane.yaml_file import YamlError
from risk.core.emergency_stop import PositionPolicy
from risk.limits import load_profiles
from risk.stops.rules import get_stop_policy, get_stop_rules_path, load_stop_rules


@pytest.fixture
def text() -> str:
    return get_stop_rules_path().read_text()


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "emergency_stop.yaml"
    path.write_text(text)
    return load_stop_rules(path)


def test_the_shipped_rules_are_those_of_the_page() -> None:
    rules = load_stop_rules(get_stop_rules_path())
    assert (rules.readings, rules.reading_interval) == (3, timedelta(seconds=1))
    assert (rules.absent_reducing, rules.absent_trip) == (timedelta(seconds=15), timedelta(seconds=60))
    assert (rules.protect_after, rules.close_after) == (timedelta(seconds=10), timedelta(seconds=30))
    assert (rules.max_losing_run, rules.scratch_ratio) == (5, Decimal("0.1"))
    assert rules.growth_ratio == Decimal("0.5")
    assert set(rules.policies) == set(load_profiles())


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (
            "losing_run: 5",
            "losing_run: 0",
            r"emergency_stop.yaml:\d+: triggers.losing_run: must be at least 1",
        ),
        ("losing_run: 5", "loosing_run: 5", r"triggers.loosing_run: unknown key"),
        ("absent_trip_seconds: 60", "absent_trip_seconds: 15", r"absent_trip_seconds: must be above"),
        ("close_after_seconds: 30", "close_after_seconds: 10", r"close_after_seconds: must be above"),
        ("growth_percent: 50", "growth_percent: 0", r"growth_percent: must be above 0"),
        ("MICRO: {positions: keep", "MICRO: {positions: hold", r"profiles.MICRO.positions: expected one of"),
        ("  MICRO: {", "  NANO: {", r"profiles.NANO: unknown key"),
        ("preflight_age_minutes: 15", "preflight_age_minutes: yes", r"rearm.preflight_age_minutes"),
    ],
)
def test_anything_else_is_refused_by_line_and_key(
    tmp_path: Path, text: str, before: str, after: str, complaint: str
) -> None:
    assert before in text
    with pytest.raises(YamlError, match=complaint):
        load(tmp_path, text.replace(before, after, 1))


def test_any_change_of_a_number_changes_the_digest(tmp_path: Path, text: str) -> None:
    shipped = load_stop_rules(get_stop_rules_path())
    for before, after in (
        ("losing_run: 5", "losing_run: 4"),
        ("LARGE: {positions: keep", "LARGE: {positions: reduce"),
    ):
        assert load(tmp_path, text.replace(before, after, 1)).digest != shipped.digest  # type: ignore[attr-defined]


def test_an_unknown_profile_gets_the_strictest_policy(tmp_path: Path, text: str) -> None:
    rules = load_stop_rules(get_stop_rules_path())
    found = get_stop_policy("UNHEARD_OF", rules)
    assert found.positions is PositionPolicy.KEEP
    assert found.cool_down == max(policy.cool_down for policy in rules.policies.values())
