from controlplane.audit.streams import Stream

STREAMS = (
    Stream(
        name="decisions",
        table="risk_decision",
        columns=(
            "id",
            "intent_id",
            "account_id",
            "allowed",
            "reason",
            "breaches",
            "outcomes",
            "inputs",
            "max_quantity",
            "account_version",
            "limit_set_digest",
            "code_version",
            "market_at",
            "decided_at",
            "requested_quantity",
            "quantity",
            "override_id",
        ),
    ),
)

GUARDS = (
    ("risk_stopevent", "risk_stop_facts"),
    ("risk_stopevent", "risk_stop_ends"),
    ("risk_stopevent", "risk_stop_stays"),
    ("risk_stopevent", "append_only_truncate"),
    ("trading_tradingstate", "risk_state_holds"),
    ("risk_override", "risk_override_as_asked"),
    ("risk_override", "risk_override_stays"),
    ("risk_override", "append_only_truncate"),
    ("risk_drill", "append_only_rows"),
    ("risk_drill", "append_only_truncate"),
    ("risk_rearmcheck", "append_only_rows"),
    ("risk_rearmcheck", "append_only_truncate"),
    ("risk_limitset", "append_only_rows"),
    ("risk_limitset", "append_only_truncate"),
    ("risk_exposurelimits", "append_only_rows"),
    ("risk_exposurelimits", "append_only_truncate"),
)
