"""Votes: approve, reject, take back; and the execution of what was approved.

The approval that completes the quorum carries the kind's effect out, all in one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from controlplane.approvals import eligibility, selectors
from controlplane.approvals.core import Actor, RequestState, VoteDecision
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.kinds import RequestKind
from controlplane.approvals.models import ApprovalRequest, Vote
from controlplane.approvals.requests import (
    SUBJECT,
    StateChanged,
    expire_requests,
    facts_of,
    lock_request,
    move,
    require_reason,
    required_of,
)
from controlplane.approvals.second_factor import keeping_codes, spend_code
from controlplane.audit import services as audit
from controlplane.errors import Conflict, NotPermitted

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class AlreadyVoted(Conflict):
    """This person said this of this request before."""

    code = "already_voted"


class QuorumLost(NotPermitted):
    """Fewer eligible people stand behind the request than it takes."""

    code = "quorum_lost"


def vote_on_request(
    *,
    request_id: UUID,
    decision: VoteDecision,
    otp: str | None,
    reason: str,
    actor: Actor,
    digest: str | None = None,
    kind: str | None = None,
) -> ApprovalRequest:
    """One person's word. `digest` and `kind`, where given, are what was shown, and must be the request's.

    The approval that completes the quorum carries the kind's effect out, all in one transaction.
    """
    with audit.audited_attempt(
        action="approvals.vote",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=request_id,
        reason=reason,
        detail={"decision": decision.value, "digest": digest or ""},
    ):
        require_person(actor)
        said = require_reason(reason)
        expire_requests(request_id=request_id)
        with keeping_codes():
            row, found = lock_request(request_id, digest, kind)
            step_up_at = _step_up(row, found, decision, otp, actor)
            with transaction.atomic():
                return _vote(row, found, decision, said, actor, step_up_at)


def _step_up(
    row: ApprovalRequest, kind: RequestKind, decision: VoteDecision, otp: str | None, actor: Actor
) -> datetime:
    """Whether the person may say this, and the code for it; returns when."""
    person = selectors.get_user(actor.name)
    eligibility.require_voter(person, row, kind, decision, selectors.get_database_time())
    _require_first_vote(row, person, decision)
    return spend_code(user=person, code=otp, action=f"vote.{decision.value}", digest=row.digest)


def _vote(
    row: ApprovalRequest,
    kind: RequestKind,
    decision: VoteDecision,
    reason: str,
    actor: Actor,
    step_up_at: datetime,
) -> ApprovalRequest:
    Vote.objects.create(
        request=row,
        proposer=row.proposer,
        mode=row.mode,
        approver=selectors.get_user(actor.name),
        decision=decision.value,
        digest=row.digest,
        reason=reason,
        step_up_at=step_up_at,
    )
    if decision is VoteDecision.REJECT:
        move(row, RequestState.REJECTED)
    elif decision is VoteDecision.REVOKE and row.state == RequestState.APPROVED:
        move(row, RequestState.PROPOSED)
    executed = decision is VoteDecision.APPROVE and _take_quorum(row, kind, actor)
    audit.record(
        action="approvals.vote",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=row.pk,
        reason=reason,
        detail=facts_of(row) | {"decision": decision.value},
    )
    if executed:
        _record_execution(row, actor)
    return row


def _require_first_vote(row: ApprovalRequest, person: "User", decision: VoteDecision) -> None:
    if decision is VoteDecision.APPROVE and row.state != RequestState.PROPOSED:
        raise StateChanged(f"the request is {row.state}")
    said = set(row.votes.filter(approver=person, digest=row.digest).values_list("decision", flat=True))
    if decision.value in said or (decision is VoteDecision.APPROVE and said):
        raise AlreadyVoted(f"{person.get_username()} has voted on this request")
    if decision is VoteDecision.REVOKE and VoteDecision.APPROVE.value not in said:
        raise StateChanged("there is no approval of yours to take back")


def _take_quorum(row: ApprovalRequest, kind: RequestKind, actor: Actor) -> bool:
    """Move to approved once enough stand behind it, and carry the effect out; whether that was done."""
    if len(list_counting(row, kind)) < required_of(row, kind):
        return False
    move(row, RequestState.APPROVED)
    if kind.effect is None:
        return False
    kind.effect(row, actor)
    move(row, RequestState.EXECUTED)
    return True


def list_counting(row: ApprovalRequest, kind: RequestKind) -> list[Vote]:
    """The approvals that count at this moment, one for each person who stands behind the digest."""
    now = selectors.get_database_time()
    people = {vote.approver_id: vote for vote in selectors.list_standing_approvals(row)}
    return [vote for vote in people.values() if eligibility.counts(vote, row, kind, now)]


@contextmanager
def executing_request(
    *, request_id: UUID, kind: str, actor: Actor, otp: str | None, digest: str | None = None
) -> Iterator[ApprovalRequest]:
    """Take an approved request for execution, only once; the caller makes the change within.

    For kinds without an effect. The caller stands inside `audited_attempt` and `keeping_codes`: what is
    refused within undoes the execution and the change, and the code stays spent.
    Raises QuorumLost if the approvals no longer hold, and NotDesignated for whoever may neither ask nor
    approve.
    """
    require_person(actor)
    row, found = lock_request(request_id, digest, kind)
    if row.state != RequestState.APPROVED:
        raise StateChanged(f"the request is {row.state}, not approved")
    person = selectors.get_user(actor.name)
    eligibility.require_executor(person, found)
    if len(list_counting(row, found)) < required_of(row, found):
        raise QuorumLost("too few of those who approved may still approve")
    spend_code(user=person, code=otp, action="execute", digest=row.digest)
    with transaction.atomic():
        move(row, RequestState.EXECUTED)
        _record_execution(row, actor)
        yield row


def _record_execution(row: ApprovalRequest, actor: Actor) -> None:
    audit.record(
        action="approvals.request_execute",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=row.pk,
        reason=row.reason,
        detail=facts_of(row),
    )
