"""Bearer token -> the request's actor."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from controlplane.approvals.core import Actor
from controlplane.approvals.services import check_token
from controlplane.problems import TokenMissing


class BearerToken(HttpBearer):
    """`Authorization: Bearer TOKEN`; raises TokenMissing or TokenInvalid."""

    def __call__(self, request: HttpRequest) -> Actor:
        scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != self.openapi_scheme or not raw.strip():
            raise TokenMissing("Authorization: expected Bearer and a token")
        return self.authenticate(request, raw.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        return check_token(token)
