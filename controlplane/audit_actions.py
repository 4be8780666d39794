ACTIONS = frozenset(
    {
        "desk.position_close",
        "desk.seed",
    }
)
