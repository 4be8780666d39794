"""Tokens of outside programs: whoever holds one asks as its person."""

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db import transaction

from controlplane.approvals import services
from controlplane.approvals.core import STOPPING_ROLES, Actor, Role, TokenScope
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.models import ApiToken
from controlplane.approvals.requests import require_reason
from controlplane.audit import services as audit
from controlplane.errors import NotPermitted


class TokenOfAnother(NotPermitted):
    """It would let an approver ask in somebody else's name, and then approve that."""

    code = "token_of_another"


def give_token(
    *, name: str, user: User, scopes: Iterable[TokenScope], actor: Actor, reason: str
) -> tuple[ApiToken, str]:
    """Make a token of one's own, or as an admin who does not approve one of another person's.

    Returned with its value, which is shown once.
    """
    with audit.audited_attempt(
        action="approvals.token_create",
        actor=actor.audit_name,
        subject_type="token",
        subject_id=name,
        reason=reason,
        detail={"user": user.get_username()},
    ):
        require_person(actor)
        said = require_reason(reason)
        if actor.name != user.get_username() and (
            Role.ADMIN not in actor.roles or Role.APPROVER in actor.roles
        ):
            raise TokenOfAnother("user: only an admin who is no approver makes a token of somebody else's")
        return services.create_token(name=name, user=user, scopes=scopes, actor=actor, reason=said)


def end_token(*, name: str, actor: Actor, reason: str) -> None:
    """End the living token of that name at once: one's own, or anybody's by whoever may stop the desk."""
    with audit.audited_attempt(
        action="approvals.token_revoke",
        actor=actor.audit_name,
        subject_type="token",
        subject_id=name,
        reason=reason,
    ):
        require_person(actor)
        said = require_reason(reason)
        with transaction.atomic():
            own = ApiToken.objects.filter(name=name, revoked_at=None, user__username=actor.name)
            if not own.exists():
                services.require_any_role(actor, STOPPING_ROLES)
            services.revoke_token(name=name, actor=actor, reason=said)
