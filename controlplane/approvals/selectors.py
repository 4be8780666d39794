"""Reads: who somebody is here, which tokens exist, what was asked and who approved."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Max, Min, Q, QuerySet
from django.db.models.functions import Now

from controlplane.approvals.core import OPEN_STATES, Actor, ActorKind, Mode, Role, TokenScope, VoteDecision
from controlplane.approvals.models import (
    ApiToken,
    ApprovalMode,
    ApprovalRequest,
    CredentialChange,
    Designation,
    SecondFactor,
    Vote,
)
from controlplane.errors import NotFound
from controlplane.native import read_first

if TYPE_CHECKING:
    from django.contrib.auth.models import User

VALID_NOW = Q(valid_from__lte=Now()) & (Q(valid_to__isnull=True) | Q(valid_to__gt=Now()))


def list_roles(user: "User") -> frozenset[Role]:
    """The designations of the user that are valid now; none for a deactivated user."""
    if not user.is_active:
        return frozenset()
    rows = Designation.objects.filter(VALID_NOW, user_id=user.pk).values_list("role", flat=True)
    return frozenset(Role(role) for role in rows)


def get_user(name: str) -> "User":
    """Raises NotFound for an unknown or deactivated user."""
    user = get_user_model().objects.filter(username=name, is_active=True).first()
    if user is None:
        raise NotFound(f"user: no active user named {name!r}", code="user_not_found")
    return user


def find_user(name: str) -> "User | None":
    """The user of that name, deactivated or not."""
    return get_user_model().objects.filter(username=name).first()


def actor_of_user(user: "User") -> Actor:
    return Actor(name=user.get_username(), kind=ActorKind.PERSON, roles=list_roles(user))


def get_actor(name: str) -> Actor:
    """The person of that name as an actor; raises NotFound."""
    return actor_of_user(get_user(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundToken:
    """A living token's actor; `is_use_old`: its last use was noted too long ago."""

    id: int
    actor: Actor
    is_use_old: bool


# One statement, because every request to the API begins with it.
BY_HASH = """
SELECT t.id, t.name, t.scopes,
  t.last_used_at IS NULL OR t.last_used_at < statement_timestamp() - %(use_is_old_after)s,
  ARRAY(SELECT d.role FROM approvals_designation d WHERE d.user_id = t.user_id
    AND d.valid_from <= statement_timestamp() AND (d.valid_to IS NULL OR d.valid_to > statement_timestamp()))
FROM approvals_apitoken t JOIN auth_user u ON u.id = t.user_id
WHERE t.token_sha256 = %(token_sha256)s AND t.revoked_at IS NULL AND u.is_active
"""


def find_token(token_sha256: str, *, use_is_old_after: timedelta) -> FoundToken | None:
    """The living token of that hash, with the designations of its user that are valid now."""
    rows = read_first(BY_HASH, {"token_sha256": token_sha256, "use_is_old_after": use_is_old_after})
    if not rows:
        return None
    token_id, name, scopes, is_use_old, roles = rows[0]
    actor = Actor(
        name=name,
        kind=ActorKind.TOKEN,
        roles=frozenset(Role(role) for role in roles),
        scopes=_known_scopes(json.loads(scopes) if isinstance(scopes, str) else scopes),
    )
    return FoundToken(id=token_id, actor=actor, is_use_old=is_use_old)


def _known_scopes(names: Iterable[str]) -> frozenset[TokenScope]:
    known = {scope.value for scope in TokenScope}
    return frozenset(TokenScope(name) for name in names if name in known)


def list_tokens() -> QuerySet[ApiToken]:
    return ApiToken.objects.select_related("user").order_by("name", "id")


def get_database_time() -> datetime:
    """The database's clock: approvals, expiry and second factors know no other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at


def find_mode() -> Mode | None:
    """How this desk approves; None before the first start."""
    name = ApprovalMode.objects.values_list("mode", flat=True).first()
    return None if name is None else Mode(name)


def list_people(roles: Iterable[Role]) -> "QuerySet[User]":
    """The active people who hold one of the roles now."""
    holders = Designation.objects.filter(VALID_NOW, role__in=[role.value for role in roles])
    return get_user_model().objects.filter(is_active=True, pk__in=holders.values("user_id")).distinct()


def latest_change(user: "User", roles: Iterable[Role]) -> datetime | None:
    """When what lets the user vote in these roles last changed: designation, factor, password, account."""
    names = [role.value for role in roles]
    of_person = Q(what="designation", role__in=names) | ~Q(what="designation")
    times = [
        CredentialChange.objects.filter(of_person, user_id=user.pk).aggregate(at=Max("changed_at"))["at"],
        Designation.objects.filter(VALID_NOW, user=user, role__in=names).aggregate(at=Min("valid_from"))[
            "at"
        ],
        SecondFactor.objects.filter(user=user).aggregate(at=Max("enrolled_at"))["at"],
    ]
    return max((at for at in times if at is not None), default=None)


def list_open_requests() -> QuerySet[ApprovalRequest]:
    """What waits for an approval or for its execution, the oldest first."""
    return (
        ApprovalRequest.objects.filter(state__in=[state.value for state in OPEN_STATES])
        .select_related("proposer")
        .order_by("proposed_at", "id")
    )


def get_request(request_id: UUID) -> ApprovalRequest:
    """Raises NotFound."""
    row = ApprovalRequest.objects.select_related("proposer").filter(pk=request_id).first()
    if row is None:
        raise NotFound(f"request: none has the id {request_id}", code="request_not_found")
    return row


def list_standing_approvals(request: ApprovalRequest) -> list[Vote]:
    """The approvals of this digest that were not taken back."""
    votes = list(request.votes.filter(digest=request.digest).select_related("approver").order_by("id"))
    taken_back = {vote.approver_id for vote in votes if vote.decision != VoteDecision.APPROVE}
    return [vote for vote in votes if vote.approver_id not in taken_back]


def list_users() -> "QuerySet[User]":
    """Everybody, the deactivated too."""
    return get_user_model().objects.select_related("second_factor").order_by("username")
