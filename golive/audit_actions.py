ACTIONS = frozenset(
    {
        "golive.permit_bootstrap",
        "golive.permit_end",
        "golive.preflight",
    }
)
