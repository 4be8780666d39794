"""People who leave: one person takes a role or everything away, as that only removes rights.

What the person approved before counts no more, not even after coming back (eligibility.counts).
"""

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from controlplane.approvals import selectors, services
from controlplane.approvals.core import STOPPING_ROLES, Actor, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.models import ApiToken, ApprovalMode, Designation
from controlplane.approvals.requests import require_reason
from controlplane.audit import services as audit
from controlplane.errors import Conflict, NotFound

STANDING = Q(valid_to__isnull=True) | Q(valid_to__gt=Now())


class NobodyCouldStop(Conflict):
    """Whoever leaves is the last who may stop the desk."""

    code = "nobody_could_stop"


def end_designation(*, name: str, role: Role, actor: Actor, reason: str) -> User:
    """Take a role from a person: one's own, or anybody's by whoever may stop the desk.

    Raises NotFound, NotDesignated and NobodyCouldStop; each refusal is audited.
    """
    with audit.audited_attempt(
        action="approvals.designation_end",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=name,
        reason=reason,
        detail={"role": role.value},
    ):
        said = require_reason(reason)
        with transaction.atomic():
            user = _find_leaver(name, actor)
            _end(_standing_of(user).filter(role=role.value), actor, said)
            _require_somebody_who_stops()
            return user


def deactivate_person(*, name: str, actor: Actor, reason: str) -> User:
    """Take everything from a person: sign-in, roles and tokens, at once. The name stays in all records."""
    with audit.audited_attempt(
        action="approvals.user_deactivate",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=name,
        reason=reason,
    ):
        said = require_reason(reason)
        with transaction.atomic():
            user = _find_leaver(name, actor)
            user.is_active = False
            user.save(update_fields=["is_active"])
            rows = _standing_of(user)
            if rows.exists():
                _end(rows, actor, said)
            for token in ApiToken.objects.filter(user=user, revoked_at__isnull=True):
                services.revoke_token(name=token.name, actor=actor, reason=said)
            _require_somebody_who_stops()
            audit.record(
                action="approvals.user_deactivate",
                actor=actor.audit_name,
                subject_type="user",
                subject_id=name,
                reason=said,
            )
            return user


def _find_leaver(name: str, actor: Actor) -> User:
    """The person, once the actor may; one leaver at a time, so that two do not leave as the last but one."""
    ApprovalMode.objects.select_for_update().first()
    require_person(actor)
    if actor.name != name:
        services.require_any_role(selectors.get_actor(actor.name), STOPPING_ROLES)
    return selectors.get_user(name)


def _standing_of(user: User) -> QuerySet[Designation]:
    return Designation.objects.filter(STANDING, user=user).select_related("user").order_by("role", "id")


def _end(rows: QuerySet[Designation], actor: Actor, reason: str) -> None:
    found = list(rows)
    if not found:
        raise NotFound("role: the person is not designated to it", code="designation_not_found")
    for row in found:
        services.end_designation(row=row, actor=actor, reason=reason)


def _require_somebody_who_stops() -> None:
    if not selectors.list_people(STOPPING_ROLES).exists():
        raise NobodyCouldStop("nobody would be left who may stop the desk; designate somebody first")
