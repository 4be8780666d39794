ACTIONS = frozenset(
    {
        "risk.limits_load",
        "risk.scope_register",
        "risk.stop_trip",
        "risk.stop_confirm",
    }
)
