"""The one error map: every refusal becomes application/problem+json with a stable code."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, Throttled, ValidationError
from pydantic import BaseModel

from controlplane.approvals.services import TokenInvalid
from controlplane.errors import Conflict, DomainError, InvalidInput, NotFound, NotPermitted, Unavailable

CONTENT_TYPE = "application/problem+json"
API = "/api/"


class TokenMissing(NotPermitted):
    """The request carries no bearer token."""

    code = "token_missing"


class WrongContentType(InvalidInput):
    """The body is labelled as something else than JSON."""

    code = "unsupported_content_type"


LONGEST_FIELD = 100
# The first class that a refusal belongs to decides.
STATUSES: Sequence[tuple[type[DomainError], int]] = (
    (TokenMissing, 401),
    (TokenInvalid, 401),
    (WrongContentType, 415),
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
    415: "Not in a form that is read here",
    422: "A value is not usable",
    429: "Too often",
    500: "Failed here",
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
    # An unknown key of the body is the sender's text, of any length.
    return ".".join(parts[2:] or parts[1:] or parts)[:LONGEST_FIELD]


def _message_of(item: Mapping[str, Any]) -> str:
    return str(item["msg"]).removeprefix("Value error, ")


def problem_of_http_error(error: HttpError) -> HttpResponse:
    """What the framework raises while it reads a body."""
    cause = error.__cause__
    if isinstance(error, Throttled):
        return make_problem(429, "rate_limited", "token: asked too often; Retry-After says when to ask again")
    if isinstance(cause, DomainError):
        return problem_of(cause)
    if isinstance(cause, json.JSONDecodeError):
        where = f"line {cause.lineno}, column {cause.colno}"
        return make_problem(400, "malformed_body", f"body: not JSON: {cause.msg} ({where})")
    if error.status_code == 400:
        return make_problem(400, "malformed_body", "body: not JSON")
    return make_problem(error.status_code, "refused", str(error))


def not_found(request: HttpRequest, **_: Any) -> HttpResponse:
    return make_problem(404, "not_found", f"{request.path}: nothing is here")


CODES = {
    400: ("malformed_request", "the request cannot be read"),
    403: ("not_permitted", "refused before it was read"),
    404: ("not_found", "nothing is here"),
    405: ("method_not_allowed", "{method} is not possible here"),
    413: ("body_too_large", "body: larger than this server reads"),
    500: ("internal_error", "the server failed; nothing is known about the outcome"),
}


def problem_of_response(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The same refusal as a problem, for what never reached an operation (or failed in one)."""
    code, detail = CODES.get(response.status_code, ("refused", "refused"))
    problem = make_problem(
        response.status_code, code, f"{request.path}: {detail.format(method=request.method)}"
    )
    for header in ("Allow", "Retry-After"):
        if header in response.headers:
            problem[header] = response[header]
    return problem


def answer_with_problems(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: whatever the framework itself refuses under /api/ is a problem like all others."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if (
            response.status_code < 400
            or not request.path.startswith(API)
            or response.headers.get("Content-Type") == CONTENT_TYPE
        ):
            return response
        return problem_of_response(request, response)

    return answer


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
