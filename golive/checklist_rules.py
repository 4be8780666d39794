"""From config/checklist.yaml to the lines of the pre-launch checklist."""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from controlplane.yaml_file import YamlMap, load_yaml
from golive.core.values import CheckName

SIGNATURE = "signature"
# What a machine measures besides a check of the pre-flight.
MEASURES = frozenset(
    {
        "code_version",
        "stop_inactive",
        "global_risk",
        "run_passed",
        "config_valid",
        "profile_loaded",
        "nothing_live",
        "safety_keys",
        "limits_in_force",
        "checks_documented",
        "demo_trades",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRule:
    """One line; `measure` is a check, one of MEASURES, or a person's signature."""

    name: str
    group: str
    text: str
    measure: str

    @property
    def is_signed(self) -> bool:
        return self.measure == SIGNATURE


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistRules:
    """`signature_age` is wall time."""

    signature_age: timedelta
    lines: tuple[LineRule, ...]


def get_checklist_path() -> Path:
    return Path(settings.CONFIG_DIR) / "checklist.yaml"


@lru_cache(maxsize=4)
def get_checklist_rules(path: Path | None = None) -> ChecklistRules:
    """The rules as this process first read them; raises YamlError."""
    return load_checklist_rules(path or get_checklist_path())


def load_checklist_rules(path: Path) -> ChecklistRules:
    """Read the file; raises YamlError for anything unknown or missing."""
    file = load_yaml(path)
    file.require_keys(("signature_days", "lines"))
    days = file.whole("signature_days")
    if days < 1:
        raise file.error("signature_days", f"must be above 0, found {days}")
    section = file.section("lines")
    if not section:
        raise file.error("lines", "a checklist without lines would be met by nothing")
    return ChecklistRules(
        signature_age=timedelta(days=days), lines=tuple(_read_line(section, name) for name in section)
    )


def _read_line(section: YamlMap, name: str) -> LineRule:
    part = section.section(name)
    part.require_keys(("group", "text", "measure"))
    measure = part.text("measure")
    if measure not in {SIGNATURE, *MEASURES, *CheckName}:
        known = ", ".join(sorted({SIGNATURE, *MEASURES, *CheckName}))
        raise part.error("measure", f"nothing measures {measure!r}; known: {known}")
    return LineRule(name=name, group=part.text("group"), text=part.text("text"), measure=measure)
