"""`Idempotency-Key`: the same mutation sent again gets its first answer."""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError

from controlplane.approvals import services
from controlplane.approvals.core import hash_token
from controlplane.approvals.services import AnswerInProgress
from controlplane.errors import DomainError, InvalidInput
from controlplane.problems import problem_of
from controlplane.rate_limits import NEVER_HELD_UP

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 128

Operation = Callable[..., HttpResponse]


def answer_once(run: Operation) -> Operation:
    """Wrap an API operation so that a request with a key is carried out once."""

    @wraps(run)
    def wrapped(request: HttpRequest, **values: Any) -> HttpResponse:
        key = request.headers.get(HEADER)
        if request.method in {"GET", "HEAD"} or key is None:
            return run(request, **values)
        try:
            return _answer(request, key, lambda: run(request, **values))
        except DomainError as refusal:
            return problem_of(refusal)

    return wrapped


def _answer(request: HttpRequest, key: str, run: Callable[[], HttpResponse]) -> HttpResponse:
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidInput(f"{HEADER}: expected 1 to {MAX_KEY} printable characters")
    raw = request.headers.get("Authorization", "").partition(" ")[2].strip()
    if not services.is_living_token(raw):
        return run()
    try:
        digest = _digest_request(request)
    except (RequestDataTooBig, UnreadablePostError):
        return run()
    try:
        claim = services.claim_answer(owner=hash_token(raw), key=key, request_digest=digest)
    except AnswerInProgress:
        if request.resolver_match and request.resolver_match.url_name in NEVER_HELD_UP:
            return run()
        raise
    if claim.status is not None:
        stored = HttpResponse(claim.body, status=claim.status, content_type=claim.content_type)
        stored[REPLAYED] = "true"
        return stored
    return _carry_out(claim.pk, run)


def _carry_out(claim_id: int, run: Callable[[], HttpResponse]) -> HttpResponse:
    """Keep the answer of what was done; whatever was refused changed nothing and may be tried again."""
    done = False
    try:
        response = run()
        if response.status_code < 300:
            services.store_answer(
                claim_id=claim_id,
                status=response.status_code,
                content_type=response.headers["Content-Type"],
                body=response.content.decode(),
            )
            done = True
        return response
    finally:
        if not done:
            services.release_answer(claim_id=claim_id)


def _digest_request(request: HttpRequest) -> str:
    head = f"{request.method} {request.get_full_path()}\n".encode()
    return hashlib.sha256(head + request.body).hexdigest()
