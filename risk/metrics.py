"""Metrics of judgement. Labels come from closed sets: codes, rows of ours, sources, scopes."""

from prometheus_client import Counter, Gauge, Histogram

DECISIONS = Counter(
    "risk_gate_decisions",
    "Decisions of the risk gate",
    ["decision", "reason", "account", "venue", "strategy"],
)
DECISION_SECONDS = Histogram(
    "risk_gate_decision_seconds",
    "From reading the facts to the stored decision",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
STOP_TRIGGERS = Counter("ess_triggers", "Trips of the emergency stop", ["source"])
STOP_STATE = Gauge(
    "ess_state",
    "Trading state of a scope: 0 ACTIVE, 1 REDUCING, 2 HALTED",
    ["scope"],
    multiprocess_mode="mostrecent",
)
STOP_SECONDS = Histogram(
    "ess_stop_seconds",
    "From the trip to the venues' confirmation",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
)
DRILLS = Counter("ess_drills", "Rehearsed stops", ["success"])
DRILL_SECONDS = Histogram(
    "ess_drill_seconds",
    "Of a rehearsed stop: from the trip to the venues' confirmation",
    buckets=(0.5, 1, 2, 5, 10, 30, 60),
)
GLOBAL_RISK = Gauge(
    "global_risk_level",
    "Global risk: 0 OK, 1 WARNING, 2 CRITICAL",
    multiprocess_mode="mostrecent",
)
GLOBAL_RISK_MEASURE = Gauge(
    "global_risk_measure",
    "What global risk is judged by, as last measured: seconds, ratios, times or counts; NaN is unknown",
    ["account", "measure"],
    multiprocess_mode="mostrecent",
)

# A strategy that is not assigned on the account could be named anything.
UNASSIGNED = "unassigned"
