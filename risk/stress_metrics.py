from prometheus_client import Counter

STRESS_SCENARIO_EXECUTIONS_TOTAL = Counter(
    "stress_scenario_executions_total",
    "Runs of a stress scenario that came to a verdict.",
    ("scenario", "success"),
)
