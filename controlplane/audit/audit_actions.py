ACTIONS = frozenset(
    {
        "audit.sealed",
        "audit.exported",
    }
)
