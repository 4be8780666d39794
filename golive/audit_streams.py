from controlplane.audit.streams import Stream

STREAMS = (
    Stream(
        name="preflight_checks",
        table="golive_preflightcheck",
        columns=(
            "id",
            "run_id",
            "name",
            "status",
            "reason",
            "text",
            "details",
            "seconds",
            "next_command",
            "is_counted",
            "definition_version",
        ),
    ),
)

GUARDS = tuple(
    (f"golive_{table}", trigger)
    for table in (
        "goliveconfig",
        "freeze",
        "observation",
        "guardtrip",
        "checklistsignature",
        "evaluation",
        "validationreport",
    )
    for trigger in ("append_only_rows", "append_only_truncate")
)
