"""The alert rules speak of metrics that exist, and each is shown to fire and to resolve."""

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

import controlplane.alerts.metrics
import golive.metrics
import risk.metrics
import risk.stress_metrics
import trading.metrics
import trading.venue_metrics

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "config" / "prometheus"
SEVERITIES = {"warning", "critical"}

# The names and labels that others may build upon; they never change.
STABLE = {
    "risk_gate_decisions_total": {"decision", "reason", "account", "venue", "strategy"},
    "ess_triggers_total": {"source"},
    "exchange_failover_events_total": {"primary", "selected"},
    "stress_scenario_executions_total": {"scenario", "success"},
    "risk_gate_decision_seconds": set(),
    "ess_state": {"scope"},
    "ess_stop_seconds": set(),
    "global_risk_level": set(),
    "risk_headroom_ratio": {"account", "limit"},
    "exchange_health": {"venue"},
    "reconciliation_age_seconds": {"account"},
    "reconciliation_mismatches_total": {"account", "kind"},
    "orders_total": {"account", "venue", "outcome"},
    "preflight_check_status": {"check"},
    "golive_phase": {"account", "phase"},
    "alert_delivery_seconds": set(),
    "audit_last_checkpoint_age_seconds": set(),
}
MODULES: tuple[ModuleType, ...] = (
    controlplane.alerts.metrics,
    golive.metrics,
    risk.metrics,
    risk.stress_metrics,
    trading.metrics,
    trading.venue_metrics,
)
# What Prometheus itself adds.
SCRAPED = {"up": set[str]()}
TARGET_LABELS = {"job", "instance"}

_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w$.])([a-zA-Z_:][\w:]*)\b(?!\s*\()")


def declared_metrics() -> dict[str, set[str]]:
    """Name as exposed -> labels, of every metric that the code declares."""
    found = {name: set(truth.labels) for name, truth in golive.metrics.TRUTHS.items()}
    for module in MODULES:
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                suffix = "_total" if metric._type == "counter" else ""
                found[f"{metric._name}{suffix}"] = set(metric._labelnames)
    return found


def _split(expr: str) -> tuple[str, list[tuple[str, str]], set[str]]:
    """The expression without texts, selectors and groupings; the selectors; the labels grouped by."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)
    grouped = {label.strip() for match in _GROUPING.findall(bare) for label in match.split(",")}
    bare = _GROUPING.sub(" ", bare)
    selectors = _SELECTOR.findall(bare)
    bare = re.sub(r"\{[^}]*\}", " ", bare)
    return re.sub(r"\[[^\]]*\]", " ", bare), selectors, grouped - {""}


def base_name(name: str, known: dict[str, set[str]]) -> str:
    """A histogram's series belong to the histogram."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return base if base in known else name


def list_faults(expr: str, known: dict[str, set[str]]) -> Iterator[str]:
    """What the expression asks for that nothing exposes."""
    bare, selectors, grouped = _split(expr)
    names = {name for name in _NAME.findall(bare) if name.lower() not in _WORDS}
    bases = {base_name(name, known) for name in names}
    if not names:
        yield f"no metric in {expr}"
    yield from (f"unknown metric {name}" for name in sorted(bases - known.keys()))
    everywhere = TARGET_LABELS | {"le"}
    for name, matchers in selectors:
        labels = known.get(base_name(name, known), set()) | everywhere
        yield from (f"{name} has no label {label}" for label in set(_MATCHER.findall(matchers)) - labels)
    labels = everywhere.union(*(known.get(base, set()) for base in bases))
    yield from (f"no label {label} in {expr}" for label in sorted(grouped - labels))


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in load("rules.yml")["groups"] for rule in group["rules"]]


def run_promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not on the PATH (apt-get install --no-install-recommends prometheus)")
    done = subprocess.run([program, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def readme_anchors() -> set[str]:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_stable_names_and_labels_are_what_the_code_declares():
    declared = declared_metrics()
    assert {name: declared.get(name) for name in STABLE} == STABLE


def test_an_expression_with_a_name_or_label_that_nothing_exposes_is_found():
    known = {"orders_total": {"account"}, "wait_seconds": set[str]()}
    assert not list(list_faults('sum by (account) (rate(orders_total{account=~"a|b"}[5m])) > 1', known))
    assert not list(list_faults("histogram_quantile(0.9, rate(wait_seconds_bucket[5m])) < Inf", known))
    assert list(list_faults("orders == 1", known)) == ["unknown metric orders"]
    assert list(list_faults('orders_total{venue="x"}', known)) == ["orders_total has no label venue"]
    assert len(list(list_faults("sum by (venue) (orders_total)", known))) == 1
    assert len(list(list_faults("1 > 0", known))) == 1


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_metrics_that_are_exposed(rule):
    assert not list(list_faults(rule["expr"], declared_metrics() | SCRAPED))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_says_how_bad_what_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "README.md"
    assert anchor in readme_anchors()


def test_alert_names_are_unique():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_every_rule_is_shown_silent_then_firing_then_silent():
    shown: dict[str, set[str]] = defaultdict(set)
    for case in load("rules_test.yml")["tests"]:
        story: dict[str, str] = defaultdict(str)
        for step in case["alert_rule_test"]:
            story[step["alertname"]] += "1" if step["exp_alerts"] else "0"
        for alert, steps in story.items():
            shown[alert].add(steps)
    assert shown.keys() == {rule["alert"] for rule in rules()}
    assert [alert for alert, stories in shown.items() if not any("010" in story for story in stories)] == []


def test_promtool_accepts_the_configuration_and_the_rules():
    run_promtool("check", "config", "prometheus.yml")
    run_promtool("check", "rules", "rules.yml")


def test_promtool_sees_every_rule_fire_and_resolve():
    run_promtool("test", "rules", "rules_test.yml")
