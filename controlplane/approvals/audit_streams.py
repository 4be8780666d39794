"""What keeps votes, requests and second factors as they were: append-only tables and their triggers.

They are not sealed: each is chained at once by the audit event of its own transaction.
"""

from controlplane.audit.streams import EventRows

STREAMS = ()
EVENT_ROWS = (
    EventRows(action="approvals.request_open", subjects="SELECT id::text FROM approvals_approvalrequest"),
    EventRows(action="approvals.vote", subjects="SELECT request_id::text FROM approvals_vote"),
)

_APPEND_ONLY = ("approvals_vote", "approvals_secondfactoruse", "approvals_credentialchange")
GUARDS = (
    *((table, name) for table in _APPEND_ONLY for name in ("append_only_rows", "append_only_truncate")),
    ("approvals_approvalrequest", "approvals_request"),
    ("approvals_approvalrequest", "approvals_request_stays"),
    ("approvals_approvalrequest", "append_only_truncate"),
    ("approvals_approvalmode", "approvals_mode"),
    ("approvals_approvalmode", "approvals_mode_stays"),
    ("approvals_approvalmode", "append_only_truncate"),
    ("approvals_designation", "approvals_designation"),
    ("approvals_designation", "approvals_designation_stays"),
    ("approvals_designation", "append_only_truncate"),
    ("approvals_vote", "approvals_vote_facts"),
    ("approvals_secondfactoruse", "approvals_use_time"),
    ("approvals_credentialchange", "approvals_change_time"),
    ("approvals_secondfactor", "approvals_credential"),
    ("approvals_designation", "approvals_credential"),
    ("auth_user", "approvals_credential"),
)
