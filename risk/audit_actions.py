ACTIONS = frozenset(
    {
        "risk.exposure_load",
        "risk.limits_load",
        "risk.override_end",
        "risk.override_start",
        "risk.scope_register",
        "risk.stop_trip",
        "risk.stop_confirm",
        "risk.throttle",
        "risk.throttle_reenable",
    }
)
