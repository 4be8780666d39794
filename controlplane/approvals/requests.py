"""Requests: ask, withdraw, expire, and the checks and the swap that every change goes through.

Everything is re-checked by the database's clock with the row locked, and the state moves by
compare-and-swap; a refusal is audited after its rollback.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from controlplane.approvals import eligibility, selectors
from controlplane.approvals.core import (
    MIN_REASON,
    OPEN_STATES,
    TRANSITIONS,
    Actor,
    ActorKind,
    Mode,
    RequestState,
)
from controlplane.approvals.eligibility import DigestMismatch, RequestExpired
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApiToken, ApprovalRequest
from controlplane.approvals.second_factor import StepUpRequired, keeping_codes, spend_code
from controlplane.audit import services as audit
from controlplane.audit.canonical import canonical_text, digest_of
from controlplane.errors import Conflict, InvalidInput, NotPermitted, Unavailable

if TYPE_CHECKING:
    from django.contrib.auth.models import User

DIGEST_DOMAIN = "approval-request-v1"
SUBJECT = "request"


class StateChanged(Conflict):
    """The request is not in the state that this needs (any more)."""

    code = "state_changed"


class ModeNotChosen(Unavailable):
    """The first start has not taken place."""

    code = "mode_not_chosen"


class ModeChanged(Conflict):
    """The desk approves in another mode than when this was asked."""

    code = "mode_changed"


class ReasonTooShort(InvalidInput):
    """The reason says nothing."""

    code = "reason_too_short"


def require_reason(reason: str) -> str:
    """The trimmed reason; raises ReasonTooShort under fifteen characters."""
    said = reason.strip()
    if len(said) < MIN_REASON:
        raise ReasonTooShort(f"reason: at least {MIN_REASON} characters are needed")
    return said


def compute_digest(request: ApprovalRequest, kind: RequestKind) -> str:
    """The digest of what is stored, under the rules of the kind and in the environment as they are now."""
    return digest_of(
        DIGEST_DOMAIN,
        {
            "request": request.pk,
            "kind": request.kind,
            "environment": settings.TRADING_ENVIRONMENT,
            "subject": request.subject,
            "mode": request.mode,
            "policy": kind.policy,
            "required_approvals": request.required_approvals,
            "proposer": request.proposer_name,
            "approve_by": request.approve_by,
            "execute_by": request.execute_by,
        },
    )


def open_request(
    *, kind: str, subject: Mapping[str, object], reason: str, actor: Actor, otp: str | None = None
) -> ApprovalRequest:
    """Ask. People and tokens need a requester's role; in solo mode the asking itself takes a code."""
    with asking(kind=kind, subject=subject, reason=reason, actor=actor):
        said = require_reason(reason)
        with keeping_codes():
            return _open(KINDS.get(kind), subject, said, actor, otp)


def open_within(
    *, kind: str, subject: Mapping[str, object], reason: str, actor: Actor, otp: str | None = None
) -> ApprovalRequest:
    """Ask in the caller's transaction and inside its `audited_attempt`: for what it holds locked."""
    return _open(KINDS.get(kind), subject, require_reason(reason), actor, otp)


def asking(
    *, kind: str, subject: Mapping[str, object], reason: str, actor: Actor
) -> AbstractContextManager[None]:
    """What is refused within is remembered as a denied request of this kind."""
    return audit.audited_attempt(
        action="approvals.request_open",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=kind,
        reason=reason,
        detail={"subject": dict(subject)},
    )


def _open(
    kind: RequestKind, subject: Mapping[str, object], reason: str, actor: Actor, otp: str | None
) -> ApprovalRequest:
    mode = require_mode()
    proposer = _find_proposer(actor)
    eligibility.require_requester(actor, proposer, kind, mode)
    row = _make_row(kind, subject, reason, actor, proposer, mode)
    if mode is Mode.SOLO and actor.kind is ActorKind.TOKEN:
        raise StepUpRequired("otp: a desk of one person asks with its second factor, not with a token")
    if mode is Mode.SOLO and proposer is not None:
        spend_code(user=proposer, code=otp, action="request", digest=row.digest)
    row.save(force_insert=True)
    row.refresh_from_db()
    audit.record(
        action="approvals.request_open",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=row.pk,
        reason=reason,
        detail=facts_of(row) | {"subject": row.subject, "approve_by": row.approve_by},
    )
    return row


def _make_row(
    kind: RequestKind,
    subject: Mapping[str, object],
    reason: str,
    actor: Actor,
    proposer: "User | None",
    mode: Mode,
) -> ApprovalRequest:
    approve_by = selectors.get_database_time() + kind.wait_in(mode) + kind.approval_ttl
    row = ApprovalRequest(
        id=uuid4(),
        kind=kind.name,
        subject_text=canonical_text(subject),
        proposer=proposer,
        proposer_name=actor.audit_name,
        reason=reason,
        mode=mode.value,
        required_approvals=kind.quorum_in(mode),
        approve_by=approve_by,
        execute_by=approve_by + kind.execution_ttl,
    )
    row.digest = compute_digest(row, kind)
    return row


def require_mode() -> Mode:
    """How this desk approves; raises ModeNotChosen before the first start."""
    mode = selectors.find_mode()
    if mode is None:
        raise ModeNotChosen("no approval mode was chosen; `manage.py desk init` does that")
    return mode


def _find_proposer(actor: Actor) -> "User | None":
    """The person behind the actor: the person, or the user of the token; none for guard and system."""
    if actor.kind is ActorKind.PERSON:
        return selectors.get_user(actor.name)
    if actor.kind is ActorKind.TOKEN:
        living = ApiToken.objects.select_related("user").filter(name=actor.name, revoked_at__isnull=True)
        token = living.first()
        return None if token is None else token.user
    return None


def lock_request(
    request_id: UUID, digest: str | None, name: str | None = None
) -> tuple[ApprovalRequest, RequestKind]:
    """The open request, locked until the caller's commit, with its kind, digest, mode and time checked."""
    selectors.get_request(request_id)
    row = ApprovalRequest.objects.select_for_update().get(pk=request_id)
    kind = KINDS.get(row.kind)
    if name not in {None, kind.name}:
        raise DigestMismatch(f"request {request_id} is of kind {kind.name}")
    now = selectors.get_database_time()
    until = row.approve_by if row.state == RequestState.PROPOSED else row.execute_by
    if row.state == RequestState.EXPIRED or (row.state in OPEN_STATES and now > until):
        raise RequestExpired("the time for this request is over; ask anew")
    if row.state not in OPEN_STATES:
        raise StateChanged(f"the request is {row.state}")
    if row.mode != require_mode():
        raise ModeChanged(f"this was asked in {row.mode} mode; ask anew")
    if compute_digest(row, kind) != row.digest or digest not in {None, row.digest}:
        raise DigestMismatch("what is stored is not what was shown or asked; look again")
    return row, kind


def withdraw_request(*, request_id: UUID, reason: str, actor: Actor) -> ApprovalRequest:
    """Take one's own request back; raises NotPermitted for somebody else's."""
    with audit.audited_attempt(
        action="approvals.request_withdraw",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=request_id,
        reason=reason,
    ):
        said = require_reason(reason)
        with transaction.atomic():
            selectors.get_request(request_id)
            row = ApprovalRequest.objects.select_for_update().get(pk=request_id)
            if not _asked(row, actor):
                raise NotPermitted("only whoever asked may withdraw; others reject", code="not_proposer")
            move(row, RequestState.WITHDRAWN)
            audit.record(
                action="approvals.request_withdraw",
                actor=actor.audit_name,
                subject_type=SUBJECT,
                subject_id=row.pk,
                reason=said,
                detail=facts_of(row),
            )
            return row


def _asked(row: ApprovalRequest, actor: Actor) -> bool:
    """Whether this is whoever asked: the person, not the name, which can pass to another."""
    if row.proposer_id is None:
        return row.proposer_name == actor.audit_name
    proposer = _find_proposer(actor)
    return proposer is not None and proposer.pk == row.proposer_id


def required_of(row: ApprovalRequest, kind: RequestKind) -> int:
    """How many must stand behind it: what the row says, and never fewer than its kind takes."""
    return max(row.required_approvals, kind.quorum_in(Mode(row.mode)))


def expire_requests(*, request_id: UUID | None = None) -> int:
    """Close what is out of time by the database's clock; tidiness only, every use checks for itself."""
    late = Q(state="proposed", approve_by__lt=Now()) | Q(state="approved", execute_by__lt=Now())
    rows = ApprovalRequest.objects.filter(late)
    if request_id is not None:
        rows = rows.filter(pk=request_id)
    expired = 0
    for found in rows.values_list("pk", flat=True):
        with transaction.atomic():
            row = ApprovalRequest.objects.select_for_update().filter(late, pk=found).first()
            if row is None:
                continue
            move(row, RequestState.EXPIRED)
            audit.record(
                action="approvals.request_expire",
                actor="system:clock",
                subject_type=SUBJECT,
                subject_id=row.pk,
                detail=facts_of(row),
            )
            expired += 1
    return expired


def move(row: ApprovalRequest, to: RequestState) -> None:
    """Swap the state if row and version are still those that were read; raises StateChanged."""
    before = RequestState(row.state)
    if (before, to) not in TRANSITIONS:
        raise StateChanged(f"the request is {before.value}")
    approved = row.digest if to in {RequestState.APPROVED, RequestState.EXECUTED} else ""
    is_open = to in OPEN_STATES
    moved = ApprovalRequest.objects.filter(pk=row.pk, state=before.value, version=row.version).update(
        state=to.value,
        version=row.version + 1,
        approved_digest=approved,
        closed_at=None if is_open else Now(),
    )
    if moved != 1:
        raise StateChanged("somebody else changed the request meanwhile")
    row.refresh_from_db()


def facts_of(row: ApprovalRequest) -> dict[str, object]:
    return {
        "kind": row.kind,
        "digest": row.digest,
        "state": row.state,
        "mode": row.mode,
        "approval": Mode(row.mode).words,
    }
