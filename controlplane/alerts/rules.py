"""From config/alerts.yaml to who owns an alert, and when it is told again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from controlplane.yaml_file import YamlMap, load_yaml

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """Durations are wall time; a severity without one in `escalate_after` is never escalated."""

    owners: Mapping[str, str]
    escalate_after: Mapping[str, timedelta]
    remind_every: timedelta
    most_reminders: int
    channel_failing: timedelta

    def owner_of(self, code: str) -> str:
        """The owner by the longest beginning of the code that is named."""
        fitting = [name for name in self.owners if name != DEFAULT and code.startswith(name)]
        return self.owners[max(fitting, key=len, default=DEFAULT)]


@lru_cache(maxsize=4)
def get_alert_rules(path: Path | None = None) -> AlertRules:
    """The rules as this process first read them; raises YamlError."""
    return load_alert_rules(path or Path(settings.CONFIG_DIR) / "alerts.yaml")


def load_alert_rules(path: Path) -> AlertRules:
    """Read the file; raises YamlError for anything unknown or missing."""
    file = load_yaml(path)
    file.require_keys(("owners", "escalate_after_seconds", "reminders", "channel_failing_seconds"))
    owners, reminders = file.section("owners"), file.section("reminders")
    escalate = file.section("escalate_after_seconds")
    owners.require_keys((DEFAULT,), optional=tuple(owners))
    escalate.require_keys(("critical", "warning"))
    reminders.require_keys(("every_seconds", "most"))
    seconds = {severity: _at_least(escalate, severity, 0) for severity in escalate}
    return AlertRules(
        owners={code: owners.text(code) for code in owners},
        escalate_after={name: timedelta(seconds=number) for name, number in seconds.items() if number},
        remind_every=timedelta(seconds=_at_least(reminders, "every_seconds", 1)),
        most_reminders=_at_least(reminders, "most", 0),
        channel_failing=timedelta(seconds=_at_least(file, "channel_failing_seconds", 1)),
    )


def _at_least(section: YamlMap, key: str, least: int) -> int:
    number = section.whole(key)
    if number < least:
        raise section.error(key, f"must be at least {least}, found {number}")
    return number
