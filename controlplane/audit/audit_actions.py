ACTIONS = frozenset(
    {
        "audit.checkpoint",
        "audit.export",
        "audit.seal",
        "audit.segment_close",
        "audit.segment_detach",
    }
)
