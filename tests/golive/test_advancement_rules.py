"""config/advancement.yaml: what is unknown, missing or out of order is refused, naming file, line and key."""

from decimal import Decimal

import pytest

from controlplane.yaml_file import YamlError
from golive.advancement_rules import get_advancement_path, load_advancement_rules

TEXT = get_advancement_path().read_text(encoding="utf-8")


def load(tmp_path, text):
    path = tmp_path / "advancement.yaml"
    path.write_text(text, encoding="utf-8")
    return load_advancement_rules(path)


def test_the_file_says_what_the_rules_page_says():
    rules = load_advancement_rules(get_advancement_path())
    assert {name: (rung.days, rung.trades, rung.proves_mean) for name, rung in rules.rungs.items()} == {
        "SMALL": (14, 20, False),
        "MEDIUM": (28, 60, False),
        "LARGE": (90, 150, True),
    }
    assert (rules.min_uptime, rules.min_profit_factor) == (Decimal("0.9"), Decimal("1.1"))
    assert (rules.drawdown_share, rules.week_loss_share) == (Decimal("0.5"), Decimal("0.5"))
    assert (rules.max_unprotected.seconds, rules.paper_days) == (30, 14)
    assert "manual" not in rules.loss_stops
    assert "capital_loss" in rules.loss_stops


CHANGES = (
    ("uptime_percent: 90", "uptime_percent: 91"),
    ("unprotected_seconds: 30", "unprotected_seconds: 31"),
    ("profit_factor: 1.1", "profit_factor: 1.2"),
    ("week_loss_share_percent: 50", "week_loss_share_percent: 49"),
    ("drawdown_share_percent: 50", "drawdown_share_percent: 49"),
    ("global_risk_ok_percent: 95", "global_risk_ok_percent: 96"),
    ("slippage_percentile: 95", "slippage_percentile: 96"),
    ("confidence_percent: 90", "confidence_percent: 95"),
    ("days: 14, trades: 20", "days: 15, trades: 20"),
    ("trades: 60, proves_mean: false", "trades: 60, proves_mean: true"),
    ("paper_days: 14", "paper_days: 15"),
)


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_every_number_is_in_the_digest(tmp_path, old, new):
    assert old in TEXT
    changed = load(tmp_path, TEXT.replace(old, new))
    assert changed.digest != load(tmp_path, TEXT).digest


REFUSED = (
    ("uptime_percent: 90", "uptime: 90", "unknown key"),
    ("uptime_percent: 90", "uptime_percent: 101", "must be a share"),
    ("confidence_percent: 90", "confidence_percent: 100", "must be a share"),
    ("uptime_percent: 90", "uptime_percent: 0", "must be above 0"),
    ("paper_days: 14", "paper_days: 0", "must be above 0"),
    ("days: 28", "days: 13", "must not be below"),
    ("trades: 150", "trades: 59", "must not be below"),
    ("loss: [capital_loss, ", "loss: [", "in neither list: capital_loss"),
    ("loss: [", "loss: [manual, ", "in both lists: manual"),
    ("loss: [", "loss: [weather, ", "unknown source"),
    ("demotion:\n  paper_days: 14\n", "", "demotion: missing"),
)


@pytest.mark.parametrize(("old", "new", "complaint"), REFUSED)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, old, new, complaint):
    assert old in TEXT
    with pytest.raises(YamlError) as refusal:
        load(tmp_path, TEXT.replace(old, new, 1))
    assert "advancement.yaml" in refusal.value.message
    assert complaint in refusal.value.message
