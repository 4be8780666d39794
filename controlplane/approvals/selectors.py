"""Reads: who somebody is here, and which tokens exist."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from controlplane.approvals.core import Actor, ActorKind, Role, TokenScope
from controlplane.approvals.models import ApiToken, Designation
from controlplane.errors import NotFound

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
  t.last_used_at IS NULL OR t.last_used_at < statement_timestamp() - %s::interval,
  ARRAY(SELECT d.role FROM approvals_designation d WHERE d.user_id = t.user_id
    AND d.valid_from <= statement_timestamp() AND (d.valid_to IS NULL OR d.valid_to > statement_timestamp()))
FROM approvals_apitoken t JOIN auth_user u ON u.id = t.user_id
WHERE t.token_sha256 = %s AND t.revoked_at IS NULL AND u.is_active
"""


def find_token(token_sha256: str, *, use_is_old_after: timedelta) -> FoundToken | None:
    """The living token of that hash, with the designations of its user that are valid now."""
    with connection.cursor() as cursor:
        cursor.execute(BY_HASH, [f"{use_is_old_after.total_seconds()} seconds", token_sha256])
        row = cursor.fetchone()
    if row is None:
        return None
    token_id, name, scopes, is_use_old, roles = row
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
