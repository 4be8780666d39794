"""Acknowledgements that one person cannot give: of a second daily loss within 7 days, of a weekly loss."""

from datetime import timedelta

from django.db import transaction

from controlplane.approvals.core import Actor, Role
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.requests import open_request
from controlplane.approvals.selectors import list_open_requests
from controlplane.errors import Conflict, NotFound
from risk import models
from risk.core.consequences import Release
from risk.core.emergency_stop import Cause
from risk.reducing.restrictions import AlreadyAcknowledged, lift, note_acknowledgement, release_of
from trading.core.values import Clocks
from trading.models import Account

RELEASE_REQUEST = "risk.reducing_release"


class NotByQuorum(Conflict):
    """One person may acknowledge this one, or nobody but a promotion."""

    code = "not_by_quorum"


class ReleaseAsked(Conflict):
    """Such a request stands already."""

    code = "release_asked"


def request_release(*, restriction_id: int, reason: str, actor: Actor) -> ApprovalRequest:
    """Ask that the restriction be acknowledged by the quorum; its cause must be over besides.

    Raises NotFound, AlreadyAcknowledged, NotByQuorum, ReleaseAsked and what `open_request` raises.
    """
    row = _find(restriction_id)
    if find_release_request(row) is not None:
        raise ReleaseAsked(f"the release of restriction {row.pk} was asked already")
    subject = {
        "restriction": row.pk,
        "scope": row.scope,
        "cause": row.cause,
        "because": row.reason,
        "market_at": row.market_at,
    }
    return open_request(kind=RELEASE_REQUEST, subject=subject, reason=reason, actor=actor)


def find_release_request(row: models.Restriction) -> ApprovalRequest | None:
    """The open request for the release of this restriction."""
    rows = list_open_requests().filter(kind=RELEASE_REQUEST)
    return next((asked for asked in rows if asked.subject["restriction"] == row.pk), None)


def apply_release(request: ApprovalRequest, actor: Actor) -> None:
    """The effect of the approval, in the vote's transaction."""
    row = _find(request.subject["restriction"], lock=True)
    note_acknowledgement(row, request.reason, actor.audit_name)


def _find(restriction_id: int, *, lock: bool = False) -> models.Restriction:
    rows = models.Restriction.objects.select_for_update() if lock else models.Restriction.objects.all()
    row = rows.filter(pk=restriction_id).first()
    if row is None:
        raise NotFound(f"restriction: none has the number {restriction_id}")
    if row.lifted_at is not None or row.acknowledged_at is not None:
        raise AlreadyAcknowledged(f"restriction {restriction_id} was acknowledged or has ended")
    if release_of(row) is not Release.QUORUM:
        raise NotByQuorum(f"restriction {restriction_id} is not released by a quorum")
    return row


@transaction.atomic
def release_weekly_loss(*, account: Account, because: str, actor: str, clocks: Clocks) -> bool:
    """What a new promotion does with the weekly loss that stands: acknowledge and lift, in its transaction.

    False where none stands. It begins again within seconds while the weekly loss is still reached.
    """
    scope = f"account:{account.name}"
    rows = models.Restriction.objects.select_for_update().filter(
        scope=scope, cause=Cause.WEEKLY_LOSS.value, lifted_at__isnull=True
    )
    row = rows.first()
    if row is None:
        return False
    if row.acknowledged_at is None:
        note_acknowledgement(row, because, actor)
    return lift(scope=scope, cause=Cause.WEEKLY_LOSS, because=because, actor=actor, clocks=clocks)


def register_kind() -> None:
    KINDS.register(
        RequestKind(
            name=RELEASE_REQUEST,
            title="Release an account after a second daily loss",
            requester_roles=frozenset({Role.REQUESTER, Role.OPERATOR}),
            approver_roles=frozenset({Role.APPROVER}),
            quorum=1,
            approval_ttl=timedelta(hours=24),
            execution_ttl=timedelta(0),
            solo_allowed=True,
            effect=apply_release,
        )
    )
