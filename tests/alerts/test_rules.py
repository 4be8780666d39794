"""config/alerts.yaml: what is shipped, and what is refused."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from controlplane.alerts.rules import load_alert_rules
from controlplane.yaml_file import YamlError

SHIPPED = Path(settings.CONFIG_DIR) / "alerts.yaml"


def test_the_longest_beginning_names_the_owner(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_text(
        SHIPPED.read_text().replace("  alert_channel: admin", "  alert: ann\n  alert_channel: bo")
    )
    rules = load_alert_rules(path)
    assert rules.owner_of("alert_channel_failed") == "bo"
    assert rules.owner_of("alert_other") == "ann"
    assert rules.owner_of("emergency_stop") == "operator"


def test_zero_seconds_is_never(tmp_path):
    path = tmp_path / "alerts.yaml"
    path.write_text(SHIPPED.read_text().replace("warning: 3600", "warning: 0"))
    assert load_alert_rules(path).escalate_after == {"critical": timedelta(seconds=300)}


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("  default: operator\n", "", r"alerts.yaml:\d+: owners.default: missing"),
        ("every_seconds: 300", "every_seconds: 0", r"reminders.every_seconds: must be at least 1"),
        ("critical: 300", "fatal: 300", r"escalate_after_seconds.fatal: unknown key"),
        ("channel_failing_seconds: 60", "channel_failing_seconds: -1", r"channel_failing_seconds: must be"),
    ],
)
def test_anything_else_is_refused(tmp_path, before, after, complaint):
    path = tmp_path / "alerts.yaml"
    assert before in SHIPPED.read_text()
    path.write_text(SHIPPED.read_text().replace(before, after))
    with pytest.raises(YamlError, match=complaint):
        load_alert_rules(path)
