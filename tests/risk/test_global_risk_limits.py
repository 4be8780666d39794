"""The thresholds of global risk: what ships, and what their file may not say."""

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.yaml_file import YamlError
from risk.core.global_risk import SHIPPED
from risk.global_risk.limits import (
    get_global_risk_limits,
    get_global_risk_path,
    load_global_risk_limits,
    with_digest,
)


@pytest.fixture
def change(tmp_path):
    """The shipped file with one text replaced by another."""

    def write(old: str, new: str) -> Path:
        text = get_global_risk_path().read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        path = tmp_path / "global_risk.yaml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    return write


def test_what_ships_is_what_judges_by_default():
    shipped = load_global_risk_limits(get_global_risk_path())
    assert replace(shipped, digest="") == SHIPPED
    assert get_global_risk_limits() == shipped


def test_the_digest_names_every_number(change):
    shipped = load_global_risk_limits(get_global_risk_path())
    other = load_global_risk_limits(change("confidence_percent: 99", "confidence_percent: 98"))
    assert shipped == with_digest(SHIPPED)
    assert len({shipped.digest, other.digest, ""}) == 3


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("volatility_times:", "volatility:", "volatility: unknown key"),
        ("  volatility_times: {warning: 2, critical: 4}\n", "", "volatility_times: missing"),
        ("thresholds:", "threshold:", "threshold: unknown key"),
        ("{warning: 90, critical: 180}", "{warning: 90}", "data_age_seconds.critical: missing"),
        ("{warning: 90, critical: 180}", "{warning: 90, critical: 60}", "must not be below warning"),
        ("{warning: 90, critical: 180}", "{warning: 0, critical: 60}", "must be above 0"),
        ("{warning: 90, critical: 180}", "{warning: 90, critical: 180, worse: 1}", "worse: unknown key"),
        ("{warning: 90, critical: 180}", "90", "expected a mapping"),
        ("confidence_percent: 99", "confidence_percent: 0.99", "from 50 to below 100"),
        ("confidence_percent: 99", "confidence_percent: 100", "from 50 to below 100"),
        ("historical_samples: 200", "historical_samples: 0", "must be above 0"),
        ("historical_samples: 200", "historical_samples: 2.5", "expected a whole number"),
        ("unknown_order_age_seconds: 15", "unknown_order_age_seconds: -1", "must be above 0"),
    ],
)
def test_anything_unknown_missing_or_out_of_order_is_refused(change, old, new, complaint):
    path = change(old, new)
    with pytest.raises(YamlError, match=complaint) as refusal:
        load_global_risk_limits(path)
    assert str(path) in str(refusal.value)
