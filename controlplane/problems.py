"""The one error map: every refusal becomes application/problem+json with a stable code."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from pydantic import BaseModel

from controlplane.approvals.services import TokenInvalid
from controlplane.errors import Conflict, DomainError, InvalidInput, NotFound, NotPermitted, Unavailable

CONTENT_TYPE = "application/problem+json"


class TokenMissing(NotPermitted):
    """The request carries no bearer token."""

    code = "token_missing"


# The first class that a refusal belongs to decides.
STATUSES: Sequence[tuple[type[DomainError], int]] = (
    (TokenMissing, 401),
    (TokenInvalid, 401),
    (InvalidInput, 422),
    (NotFound, 404),
    (NotPermitted, 403),
    (Conflict, 409),
    (Unavailable, 503),
    (DomainError, 409),
)
TITLES = {
    400: "The request cannot be read",
    401: "Sign in",
    403: "Not permitted",
    404: "Not found",
    405: "Not possible here",
    409: "In conflict with the present state",
    413: "Too large",
    422: "A value is not usable",
    503: "Not available now",
}


class Problem(BaseModel):
    """RFC 9457. `code` is stable and for programs, `detail` is for people, `errors` name fields."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[dict[str, str]] | None = None


def make_problem(
    status: int, code: str, detail: str, errors: Sequence[Mapping[str, str]] = ()
) -> HttpResponse:
    problem = Problem(
        type="about:blank",
        title=TITLES.get(status, "Refused"),
        status=status,
        code=code,
        detail=detail,
        errors=[dict(error) for error in errors] or None,
    )
    response = HttpResponse(
        problem.model_dump_json(exclude_none=True), status=status, content_type=CONTENT_TYPE
    )
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def problem_of(refusal: DomainError) -> HttpResponse:
    status = next(status for kind, status in STATUSES if isinstance(refusal, kind))
    return make_problem(status, refusal.code, refusal.message)


def problem_of_validation(error: ValidationError) -> HttpResponse:
    errors = [{"field": _field_of(item), "message": _message_of(item)} for item in error.errors]
    first = errors[0]
    return make_problem(422, "invalid_input", f"{first['field']}: {first['message']}", errors)


def _field_of(item: Mapping[str, Any]) -> str:
    """The name as the sender wrote it: location kind and the operation's own parameter name are dropped."""
    parts = [str(part) for part in item["loc"]]
    return ".".join(parts[2:] or parts[1:] or parts)


def _message_of(item: Mapping[str, Any]) -> str:
    return str(item["msg"]).removeprefix("Value error, ")


def problem_of_http_error(error: HttpError) -> HttpResponse:
    """What the framework raises while it reads a body."""
    cause = error.__cause__
    if isinstance(cause, json.JSONDecodeError):
        where = f"line {cause.lineno}, column {cause.colno}"
        return make_problem(400, "malformed_body", f"body: not JSON: {cause.msg} ({where})")
    if error.status_code == 400:
        return make_problem(400, "malformed_body", "body: not JSON")
    return make_problem(error.status_code, "refused", str(error))


def not_found(request: HttpRequest, **_: Any) -> HttpResponse:
    return make_problem(404, "not_found", f"{request.path}: nothing is here")


def map_errors(api: NinjaAPI) -> None:
    """Tell the API how each kind of refusal is answered; a bug is not one and propagates."""
    handlers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        DomainError: lambda _, error: problem_of(error),
        ValidationError: lambda _, error: problem_of_validation(error),
        HttpError: lambda _, error: problem_of_http_error(error),
        Http404: lambda request, _: not_found(request),
        RequestDataTooBig: lambda *_: make_problem(
            413, "body_too_large", "body: larger than this server reads"
        ),
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
