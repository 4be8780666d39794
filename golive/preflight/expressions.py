"""Which metrics alert rules and dashboards name, and which ones exist."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from prometheus_client import REGISTRY

from golive.metrics import TRUTHS

METRIC_MODULES = (
    "controlplane.alerts.metrics",
    "trading.metrics",
    "trading.venue_metrics",
    "risk.metrics",
    "risk.stress_metrics",
    "golive.metrics",
)
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}
# Made by the scraper itself.
BUILT_IN = frozenset({"up", "ALERTS", "scrape_duration_seconds"})
KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right"}
KEYWORDS |= {"bool", "offset", "inf", "nan", "start", "end"}
_STRINGS = re.compile(r"\"[^\"]*\"|'[^']*'")
# Label matchers, ranges, and the label lists of groupings and matchings.
_NOT_NAMES = re.compile(
    r"\{[^}]*\}|\[[^\]]*\]"
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w.$])[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()")


class UnreadableExpressions(Exception):
    """A rules or dashboard file is missing or not what it should be."""


def list_named_metrics(expression: str) -> set[str]:
    """The metric names of a PromQL expression."""
    bare = _NOT_NAMES.sub(" ", _STRINGS.sub("", expression))
    names = {match.group(0) for match in _NAME.finditer(bare)}
    return {name for name in names if name.lower() not in KEYWORDS}


def list_known_metrics() -> set[str]:
    """Every sample name that this code can expose, used or not."""
    for module in METRIC_MODULES:
        import_module(module)
    known = set(TRUTHS) | set(BUILT_IN)
    for family in REGISTRY.collect():
        known |= {f"{family.name}{suffix}" for suffix in SUFFIXES.get(family.type, ("",))}
    return known


def read_rules(path: Path | None = None) -> list[Mapping[str, Any]]:
    """The rules of config/prometheus/rules.yml; raises UnreadableExpressions."""
    path = path or settings.CONFIG_DIR / "prometheus" / "rules.yml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [rule for group in content["groups"] for rule in group["rules"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UnreadableExpressions(f"{path}: {error}") from error


def list_dashboard_expressions(path: Path | None = None) -> list[str]:
    """The expressions of the Grafana dashboard; raises UnreadableExpressions."""
    path = path or settings.CONFIG_DIR / "grafana" / "risk_resilience.json"
    try:
        return list(_find_expressions(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        raise UnreadableExpressions(f"{path}: {error}") from error


def _find_expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "expr" and isinstance(value, str):
                yield value
            elif key == "query" and isinstance(value, str) and value.startswith("label_values("):
                yield value.removeprefix("label_values(").split(",")[0]
            else:
                yield from _find_expressions(value)
    elif isinstance(node, list):
        for item in node:
            yield from _find_expressions(item)


def list_unknown_metrics() -> dict[str, list[str]]:
    """Names that no code exposes, by the file that uses them; raises UnreadableExpressions."""
    known = list_known_metrics()
    used = {
        "rules.yml": [str(rule["expr"]) for rule in read_rules()],
        "risk_resilience.json": list_dashboard_expressions(),
    }
    unknown = {
        name: sorted({metric for text in texts for metric in list_named_metrics(text)} - known)
        for name, texts in used.items()
    }
    return {name: metrics for name, metrics in unknown.items() if metrics}
