"""What interfaces and the wiring call: permits and their leases, pre-flight."""

from golive.activation import activate, request_activation
from golive.checklist import sign_line
from golive.config_file import ensure_config, load_config
from golive.demotion import demote_losers
from golive.drift import watch_drift
from golive.evaluation import evaluate_account
from golive.freeze import freeze_desk
from golive.handover import confirm_activation
from golive.hotfix import request_adoption
from golive.observing import observe_activations
from golive.permits import can_stop, end_permit, issue_paper_permit, renew_leases
from golive.programme import advance_programme, open_programme, withdraw_programme
from golive.rollback import roll_back
from golive.rollback_steps import resume_rollbacks
from golive.runs import run_preflight, start_preflight
from golive.uptime import record_uptime
from golive.validation_report import make_report

__all__ = [
    "activate",
    "advance_programme",
    "can_stop",
    "confirm_activation",
    "demote_losers",
    "end_permit",
    "ensure_config",
    "evaluate_account",
    "freeze_desk",
    "issue_paper_permit",
    "load_config",
    "make_report",
    "observe_activations",
    "open_programme",
    "record_uptime",
    "renew_leases",
    "request_activation",
    "request_adoption",
    "resume_rollbacks",
    "roll_back",
    "run_preflight",
    "sign_line",
    "start_preflight",
    "watch_drift",
    "withdraw_programme",
]
