ACTIONS = frozenset(
    {
        "desk.seed",
    }
)
