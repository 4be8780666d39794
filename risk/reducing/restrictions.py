"""REDUCING and why: each cause is a row of its own, lifted by its own rule and never by another's.

A scope may only reduce while any cause stands. Where a person must acknowledge, the cause being over is
not enough (RISK.md part 2).
"""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.approvals.core import STOPPING_ROLES, Actor
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.requests import require_reason
from controlplane.approvals.services import require_any_role
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import Conflict, NotFound
from risk import models
from risk.core.consequences import RELEASE, Release
from risk.core.emergency_stop import Cause
from risk.stops.states import derive_state, lock_state
from trading.core.values import Clocks

ALERT = "reducing"


class AlreadyAcknowledged(Conflict):
    """A person has acknowledged this restriction, or it has ended."""

    code = "already_acknowledged"


class NotByOnePerson(Conflict):
    """This one takes the quorum, or a new promotion."""

    code = "not_by_one_person"


def list_restrictions(scope: str | None = None) -> QuerySet[models.Restriction]:
    """What stands, the oldest first; of one scope or of all."""
    rows = models.Restriction.objects.filter(lifted_at__isnull=True).order_by("since_at", "id")
    return rows if scope is None else rows.filter(scope=scope)


@transaction.atomic
def restrict(
    *,
    scope: str,
    cause: Cause,
    reason: str,
    actor: str,
    clocks: Clocks,
    evidence: dict[str, Any] | None = None,
    needs_acknowledgement: bool = False,
) -> models.Restriction:
    """Let the scope only reduce from this commit on; where the cause stands already, that row.

    Audited and told to people once for each beginning. `needs_acknowledgement` can be added later.
    """
    lock_state(scope)
    row, is_new = models.Restriction.objects.get_or_create(
        scope=scope,
        cause=cause.value,
        lifted_at__isnull=True,
        defaults={
            "reason": reason,
            "evidence": evidence or {},
            "needs_acknowledgement": needs_acknowledgement,
            "market_at": clocks.market_at,
        },
    )
    if not is_new:
        if needs_acknowledgement and not row.needs_acknowledgement:
            row.needs_acknowledgement = True
            row.save(update_fields=["needs_acknowledgement"])
        return row
    derive_state(scope=scope, reason=reason, source=cause.value)
    _tell(row, actor, clocks)
    return row


def note_again(
    *, row: models.Restriction, reason: str, evidence: dict[str, Any], actor: str, clocks: Clocks
) -> None:
    """The cause came again while it stands: what people said of the first time is not said of this one.

    The row is locked by the caller.
    """
    models.Restriction.objects.filter(pk=row.pk).update(
        reason=reason,
        evidence=evidence,
        market_at=clocks.market_at,
        acknowledged_at=None,
        acknowledged_by="",
    )
    row.refresh_from_db()
    derive_state(scope=row.scope, reason=reason, source=row.cause)
    _tell(row, actor, clocks)


def _tell(row: models.Restriction, actor: str, clocks: Clocks) -> None:
    raise_alert(
        code=f"{ALERT}_{row.cause}",
        severity="warning",
        scope=row.scope,
        text=f"{row.scope} may only reduce: {row.reason}",
        wall_at=clocks.wall_at,
    )
    record(
        action="risk.restrict",
        actor=actor,
        subject_type="scope",
        subject_id=row.scope,
        reason=row.reason,
        detail={
            "cause": row.cause,
            "needs_acknowledgement": row.needs_acknowledgement,
            "evidence": row.evidence,
        },
    )


@transaction.atomic
def lift(*, scope: str, cause: Cause, because: str, actor: str, clocks: Clocks) -> bool:
    """End the restriction where its cause is over; False where none stands or a person is still missing."""
    lock_state(scope)
    row = (
        models.Restriction.objects.select_for_update()
        .filter(scope=scope, cause=cause.value, lifted_at__isnull=True)
        .first()
    )
    if row is None or (row.needs_acknowledgement and row.acknowledged_at is None):
        return False
    models.Restriction.objects.filter(pk=row.pk).update(lifted_at=Now(), lifted_because=because)
    derive_state(scope=scope, reason=because, source=cause.value)
    resolve_alert(code=f"{ALERT}_{cause.value}", scope=scope, wall_at=clocks.wall_at)
    record(
        action="risk.lift",
        actor=actor,
        subject_type="scope",
        subject_id=scope,
        reason=because,
        detail={"cause": cause.value, "since_at": row.since_at},
    )
    return True


def acknowledge_restriction(*, restriction_id: int, reason: str, actor: Actor) -> models.Restriction:
    """One person says to have seen it; the cause must be over besides. Audited, denied or not.

    Raises NotFound, AlreadyAcknowledged, NotByOnePerson, NoPerson and NotDesignated.
    """
    with audited_attempt(
        action="risk.acknowledge",
        actor=actor.audit_name,
        subject_type="restriction",
        subject_id=restriction_id,
        reason=reason,
    ):
        require_person(actor)
        require_any_role(actor, STOPPING_ROLES)
        said = require_reason(reason)
        with transaction.atomic():
            return _acknowledge(restriction_id, said, actor)


def _acknowledge(restriction_id: int, reason: str, actor: Actor) -> models.Restriction:
    row = models.Restriction.objects.select_for_update().filter(pk=restriction_id).first()
    if row is None:
        raise NotFound(f"restriction: none has the number {restriction_id}")
    if row.lifted_at is not None or row.acknowledged_at is not None:
        raise AlreadyAcknowledged(f"restriction {restriction_id} was acknowledged or has ended")
    if (release := release_of(row)) is not Release.PERSON:
        raise NotByOnePerson(f"restriction {restriction_id} is acknowledged by the {release.value} only")
    return note_acknowledgement(row, reason, actor.audit_name)


def release_of(row: models.Restriction) -> Release:
    """Whose acknowledgement it takes."""
    return Release(row.evidence.get(RELEASE, Release.PERSON))


def note_acknowledgement(row: models.Restriction, reason: str, by: str) -> models.Restriction:
    """Keep the word of whoever may give it, with its audit event; the row is locked by the caller."""
    models.Restriction.objects.filter(pk=row.pk).update(acknowledged_at=Now(), acknowledged_by=by)
    row.refresh_from_db()
    record(
        action="risk.acknowledge",
        actor=by,
        subject_type="restriction",
        subject_id=row.pk,
        reason=reason,
        detail={"scope": row.scope, "cause": row.cause},
    )
    return row
