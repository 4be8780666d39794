ACTIONS = frozenset({"alerts.acknowledge"})
