ACTIONS = frozenset({"alerts.acknowledge", "alerts.escalate"})
