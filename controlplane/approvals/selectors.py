"""Reads: who somebody is here, and which tokens exist."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
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


def actor_of_token(token: ApiToken) -> Actor:
    return Actor(
        name=token.name,
        kind=ActorKind.TOKEN,
        roles=list_roles(token.user),
        scopes=_known_scopes(token.scopes),
    )


def _known_scopes(names: Iterable[str]) -> frozenset[TokenScope]:
    known = {scope.value for scope in TokenScope}
    return frozenset(TokenScope(name) for name in names if name in known)


def list_tokens() -> QuerySet[ApiToken]:
    return ApiToken.objects.select_related("user").order_by("name", "id")
