"""The dashboard can be imported, and shows only what is exposed."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.test_prometheus_rules import base_name, declared_metrics, list_faults, run_promtool

PATH = Path(__file__).resolve().parent.parent / "config" / "grafana" / "risk_resilience.json"
BUILT_IN = {"__range", "__rate_interval", "__interval"}
ORIGINAL_PANELS = {
    "Gate decisions",
    "Top 5 reasons for blocking",
    "Emergency stop trips by source",
    "Emergency stop trips",
    "Failovers",
    "Failovers by primary",
    "Stress scenario runs",
    "Stress scenario success",
}
SHOWN = {
    "ess_state",
    "global_risk_level",
    "risk_headroom_ratio",
    "reconciliation_age_seconds",
    "risk_gate_decision_seconds",
    "exchange_health",
    "ess_stop_seconds",
    "alert_delivery_seconds",
    "audit_last_checkpoint_age_seconds",
    "preflight_check_status",
}


def load() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return loaded


def drawn() -> list[dict[str, Any]]:
    return [panel for panel in load()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    for panel in drawn():
        yield from (target["expr"] for target in panel["targets"])
    yield from (annotation["expr"] for annotation in load()["annotations"]["list"])
    for variable in load()["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            yield f"count by ({label}) ({metric})"


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_it_can_be_imported_anywhere():
    dashboard = load()
    assert dashboard["title"] == "Risk & Resilience"
    assert dashboard["uid"] == "risk-resilience"
    assert dashboard["id"] is None
    assert dashboard["refresh"] == "30s"
    assert dashboard["time"] == {"from": "now-6h", "to": "now"}
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == [
        "datasource",
        "account",
        "venue",
    ]
    assert set(re.findall(r'"uid": "([^"]*)"', PATH.read_text(encoding="utf-8"))) == {
        "risk-resilience",
        "${datasource}",
    }


def test_panel_ids_are_unique():
    ids = [panel["id"] for panel in load()["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_lie_on_the_grid_and_on_no_other_panel():
    panels = load()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        assert place["w"] > 0, panel["title"]
        assert place["h"] > 0, panel["title"]
        assert 0 <= place["x"] <= 24 - place["w"], panel["title"]
    overlaps = [
        (one["title"], other["title"])
        for one, other in combinations(panels, 2)
        if overlap(one["gridPos"], other["gridPos"])
    ]
    assert overlaps == []


def test_the_eight_original_panels_are_there():
    assert {panel["title"] for panel in drawn()} >= ORIGINAL_PANELS


@pytest.mark.parametrize("expr", list(expressions()))
def test_an_expression_asks_for_metrics_and_variables_that_exist(expr):
    names = {variable["name"] for variable in load()["templating"]["list"]}
    assert set(re.findall(r"\$(\w+)", expr)) <= names | BUILT_IN
    assert not list(list_faults(expr, declared_metrics()))


def test_prometheus_can_parse_every_expression(tmp_path):
    queries = [
        re.sub(r"\$(?:__range|__rate_interval|__interval)\b", "5m", expr).replace("$", "")
        for expr in expressions()
    ]
    rules = [{"record": "shown", "expr": expr, "labels": {"n": str(n)}} for n, expr in enumerate(queries)]
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    run_promtool("check", "rules", str(path))


def test_counters_are_shown_by_their_increase_and_never_raw():
    for expr in expressions():
        for name in re.findall(r"\w+_(?:total|bucket|count|sum)\b", expr):
            counted = re.findall(rf"(?:increase|rate)\({name}(?:\{{[^}}]*\}})?\[", expr)
            assert len(counted) == expr.count(name), expr


def test_what_a_person_on_duty_needs_is_shown():
    known = declared_metrics()
    names = {base_name(name, known) for expr in expressions() for name in re.findall(r"\w+", expr)}
    assert names >= SHOWN
