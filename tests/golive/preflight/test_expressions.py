import pytest

from golive.preflight.expressions import list_known_metrics, list_named_metrics, list_unknown_metrics


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ('sum by (a, b) (rate(x_total{c="d{e}", f=~"g"}[5m])) / on (a) group_left y', {"x_total", "y"}),
        ("max(ess_state) == 2 and absent(z) or vector(1)", {"ess_state", "z"}),
        ("histogram_quantile(0.95, sum by (le) (rate(w_bucket[$__rate_interval])))", {"w_bucket"}),
        ("a:b:rate5m offset 5m > bool 3e5", {"a:b:rate5m"}),
        ("age_seconds < Inf unless ignoring(x) other_metric", {"age_seconds", "other_metric"}),
    ],
)
def test_the_metrics_of_an_expression_are_found(expression, names):
    assert list_named_metrics(expression) == names


def test_the_names_of_the_public_interface_are_known():
    assert {
        "risk_gate_decisions_total",
        "ess_triggers_total",
        "exchange_failover_events_total",
        "stress_scenario_executions_total",
        "risk_gate_decision_seconds_bucket",
        "ess_state",
        "ess_stop_seconds_count",
        "global_risk_level",
        "risk_headroom_ratio",
        "exchange_health",
        "reconciliation_age_seconds",
        "reconciliation_mismatches_total",
        "orders_total",
        "preflight_check_status",
        "golive_phase",
        "alert_delivery_seconds_sum",
        "audit_last_checkpoint_age_seconds",
    } <= list_known_metrics()


def test_our_own_rules_and_dashboard_name_only_what_exists():
    assert list_unknown_metrics() == {}
