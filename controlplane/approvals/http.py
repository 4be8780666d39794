"""The actor of a request to the API."""

from django.http import HttpRequest

from controlplane.approvals.core import Actor, Role, TokenScope
from controlplane.approvals.services import require_any_role, require_scope


class ActorRequest(HttpRequest):
    """A request whose token was checked; `auth` is its actor."""

    auth: Actor


def authorise(request: ActorRequest, scope: TokenScope, roles: frozenset[Role] = frozenset()) -> Actor:
    """The request's actor, if its token is for this and it holds one of the roles (where any are given).

    Raises ScopeMissing and NotDesignated.
    """
    require_scope(request.auth, scope)
    if roles:
        require_any_role(request.auth, roles)
    return request.auth
