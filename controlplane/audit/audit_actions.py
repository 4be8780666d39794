ACTIONS = frozenset(
    {
        "audit.seal",
        "audit.export",
    }
)
