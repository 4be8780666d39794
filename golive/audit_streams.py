from controlplane.audit.streams import EventRows, Stream

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

_APPEND_ONLY = tuple(
    (f"golive_{table}", trigger)
    for table in (
        "goliveconfig",
        "freeze",
        "observation",
        "guardtrip",
        "checklistsignature",
        "demotion",
        "evaluation",
        "uptimeslot",
        "validationreport",
    )
    for trigger in ("append_only_rows", "append_only_truncate")
)
GUARDS = (
    *_APPEND_ONLY,
    ("golive_activation", "golive_activation_latch"),
    ("golive_guardcount", "golive_count_stays"),
    ("golive_preflightcheck", "check_needs_open_run"),
    ("golive_preflightrun", "finished_run_stays"),
    ("golive_preflightrun", "finished_run_truncate"),
    ("golive_stressresult", "append_only_rows"),
    ("golive_stressresult", "append_only_truncate"),
    ("golive_hold", "append_only_truncate"),
    ("golive_hold", "golive_hold_latch"),
    ("golive_hold", "golive_hold_stays"),
    ("golive_rollback", "append_only_truncate"),
    ("golive_rollback", "golive_rollback_facts"),
    ("golive_rollback", "golive_rollback_stays"),
)

_ACCOUNT_OF = "SELECT a.name FROM golive_{} t JOIN trading_account a ON a.id = t.account_id"
EVENT_ROWS = (
    EventRows(action="golive.evaluate", subjects=_ACCOUNT_OF.format("evaluation")),
    EventRows(action="golive.activate", subjects=_ACCOUNT_OF.format("activation")),
)
