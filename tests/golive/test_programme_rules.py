"""config/programme.yaml: what is refused, and that every number is in the digest."""

from pathlib import Path

import pytest

from controlplane.yaml_file import YamlError
from golive.core.guards import GuardName
from golive.programme_rules import (
    get_programme_rules,
    get_programme_rules_path,
    load_programme_rules,
)


@pytest.fixture
def text() -> str:
    return get_programme_rules_path().read_text(encoding="utf-8")


def load(folder: Path, text: str):
    path = folder / "programme.yaml"
    path.write_text(text, encoding="utf-8")
    return load_programme_rules(path)


def test_every_guard_has_its_rule():
    assert set(get_programme_rules().guards) == set(GuardName)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("min_minutes: 10", "min_minutes: -1", "at least 0"),
        ("entry: [environment, rung]", "entry: [environment, luck]", "unknown condition 'luck'"),
        ("entry: [environment, rung]", "entry: [environment]", "asked for nowhere: rung"),
        ("    exit: [live_entry]\n", "", "missing"),
        ("marks_minutes: [0, 15", "marks_minutes: [15, 15", "rise from 0"),
        ("90, 120]", "90, 100]", "last mark"),
        ("max_hours: 24", "max_hours: 1", "before the last mark"),
        ("min_symbols: 2", "min_symbols: 0", "at least 1"),
        ("increase_percent: 10", "increase_percent: 101", "from 0 to 100"),
        ("highest: SMALL", "highest: LARGE", "expected one of MICRO, SMALL"),
        ("rung_days: 28", "rung_days: 27", "at least 28"),
        ("limit: 30, fail: 0", "limit: -1, fail: 0", "at least 0"),
        ("inconclusive: -1", "inconclusive: -2", "at least -1"),
        ("evidence:", "evidences:", "unknown key"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, before, after, complaint):
    assert before in text
    with pytest.raises(YamlError) as caught:
        load(tmp_path, text.replace(before, after, 1))
    assert complaint in caught.value.message
    assert "programme.yaml" in caught.value.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("min_minutes: 10", "min_minutes: 11"),
        ("exit: [live_entry]", "exit: [live_entry, observed]"),
        ("max_hours: 24", "max_hours: 23"),
        ("preflight_age_minutes: 30", "preflight_age_minutes: 29"),
        ("trade_age_hours: 168", "trade_age_hours: 167"),
        ("min_symbols: 2", "min_symbols: 3"),
        ("evaluation_age_hours: 24", "evaluation_age_hours: 23"),
        ("approve_within_hours: 24", "approve_within_hours: 23"),
        ("activate_within_hours: 4", "activate_within_hours: 3"),
        ("impact_hours: 168", "impact_hours: 167"),
        ("impact_decisions: 500", "impact_decisions: 499"),
        ("window_days: 30", "window_days: 31"),
        ("increase_percent: 10", "increase_percent: 9"),
        ("highest: SMALL", "highest: MICRO"),
        ("rung_days: 28", "rung_days: 29"),
        ("limit: 0.8", "limit: 0.7"),
        ("fail: 5", "fail: 4"),
        ("inconclusive: 30", "inconclusive: 29"),
        ("error: 3", "error: 2"),
        ("min_samples: 10", "min_samples: 11"),
        ("max_age_seconds: 60", "max_age_seconds: 59"),
    ],
)
def test_every_number_is_in_the_digest(tmp_path, text, before, after):
    assert before in text
    changed = load(tmp_path, text.replace(before, after, 1))
    assert changed.digest != get_programme_rules().digest
    is_guard = before.split(":")[0] in {
        "limit",
        "fail",
        "inconclusive",
        "error",
        "min_samples",
        "max_age_seconds",
    }
    assert (changed.guards_digest != get_programme_rules().guards_digest) is is_guard


def test_a_guard_cannot_be_left_out(tmp_path, text):
    start = text.index("  # How much worse")
    end = text.index("\nevidence:")
    with pytest.raises(YamlError, match="slippage: missing"):
        load(tmp_path, text[:start] + text[end:])
