"""A request and a person as plain JSON, for commands, pages and the API."""

from typing import TYPE_CHECKING, Any

from controlplane.approvals.core import OPEN_STATES, Mode
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import ApprovalRequest, Vote
from controlplane.approvals.requests import required_of
from controlplane.approvals.selectors import list_roles
from controlplane.approvals.voting import list_counting

if TYPE_CHECKING:
    from django.contrib.auth.models import User

OPEN = frozenset(state.value for state in OPEN_STATES)


def describe_request(row: ApprovalRequest) -> dict[str, Any]:
    """Everything that its digest covers, what was said of it so far, and what its effect will ask for."""
    votes = row.votes.select_related("approver").order_by("id")
    kind = KINDS.get(row.kind)
    return {
        "id": str(row.pk),
        "kind": row.kind,
        "title": kind.title,
        "state": row.state,
        "subject": row.subject,
        "digest": row.digest,
        "mode": row.mode,
        "approval": Mode(row.mode).words,
        "proposer": row.proposer_name,
        "reason": row.reason,
        "required_approvals": required_of(row, kind),
        "counting": len(list_counting(row, kind)) if row.state in OPEN else None,
        "is_carried_out_at_once": kind.effect is not None,
        "proposed_at": row.proposed_at.isoformat(),
        "opens_at": (row.proposed_at + kind.wait_in(Mode(row.mode))).isoformat(),
        "approve_by": row.approve_by.isoformat(),
        "execute_by": row.execute_by.isoformat(),
        "votes": [describe_vote(vote) for vote in votes],
        "conditions": kind.describe(row) if kind.describe is not None and row.state in OPEN else [],
    }


def describe_vote(vote: Vote) -> dict[str, str]:
    return {
        "approver": vote.approver.get_username(),
        "decision": vote.decision,
        "reason": vote.reason,
        "decided_at": vote.decided_at.isoformat(),
    }


def describe_person(user: "User") -> dict[str, Any]:
    return {
        "name": user.get_username(),
        "roles": sorted(role.value for role in list_roles(user)),
        "is_active": user.is_active,
        "has_second_factor": hasattr(user, "second_factor"),
    }
