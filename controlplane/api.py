"""The HTTP interface: mounts the apps' routers under one version, one authentication, one error map."""

from typing import Any

import orjson
from django.http import HttpRequest
from ninja import NinjaAPI, Query, Router, Schema
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from controlplane.approvals.core import TokenScope
from controlplane.approvals.http import ActorRequest, authorise
from controlplane.audit import selectors as audit
from controlplane.audit.models import AuditEvent, Checkpoint
from controlplane.auth import BearerToken
from controlplane.idempotency import answer_once
from controlplane.intake import request_order
from controlplane.problems import Problem, WrongContentType, map_errors
from controlplane.rate_limits import OrderThrottle, TokenThrottle, is_never_held_up
from controlplane.wire import Moment, Page, PageQuery, make_page
from golive.api import router as golive_router
from golive.rollback_api import router as rollback_router
from risk.api import router as risk_router
from risk.schemas import OrderIntentIn, OrderIntentOut, order_intent_out
from trading.api import router as trading_router
from trading.selectors import get_clocks

DESCRIPTION = """Facts, judgements and permissions of the desk.

Money, prices and quantities are text. Times are RFC 3339 in UTC. Refusals are `application/problem+json`
with a stable `code`. Lists are pages: give `next` back as `after`. A mutation may carry `Idempotency-Key`:
the same key with the same request gets its first answer again. A token that asks too often gets 429 with
`Retry-After`; what removes risk (an emergency stop, a rollback, a reduce-only order) is never too often.
"""
JSON = "application/json"


class JsonParser(Parser):
    """Strict JSON in UTF-8: no NaN, no half characters, and labelled as JSON (or not at all).

    A stop is read whatever its label says.
    """

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type not in {JSON, ""} and not is_never_held_up(request):
            raise WrongContentType(
                f"Content-Type: expected {JSON}, found {(request.content_type or '')[:100]!r}"
            )
        return orjson.loads(request.body)


class OrjsonRenderer(BaseRenderer):
    media_type = JSON

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data)


class DeskAPI(NinjaAPI):
    """NinjaAPI whose operations are named by their function and say how they refuse."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        refusal = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for methods in schema["paths"].values():
            for operation in methods.values():
                operation["responses"]["default"] = {"description": "Refused", "content": refusal}
        return schema


api = DeskAPI(
    title="Quantum Trader Control Plane",
    version="1",
    description=DESCRIPTION,
    urls_namespace="api-1",
    auth=BearerToken(),
    renderer=OrjsonRenderer(),
    parser=JsonParser(),
    throttle=TokenThrottle("API_RATE_LIMIT"),
)
api.add_decorator(answer_once, mode="view")
map_errors(api)

audit_router = Router(tags=["audit"])


class AuditEventOut(Schema):
    """One link of the chain; `body` is the text exactly as hashed (see the stand-alone verifier)."""

    seq: int
    occurred_at: Moment
    action: str
    actor: str
    actor_kind: str
    subject_type: str
    subject_id: str
    reason: str
    correlation_id: str
    environment: str
    body: str
    prev_hash: str
    hash: str


@audit_router.get("/audit", response=Page[AuditEventOut])
def list_audit_events(request: ActorRequest, page: Query[PageQuery]) -> dict[str, Any]:
    """The events after a sequence number, oldest first."""
    authorise(request, TokenScope.READ)
    rows = audit.list_events(after=page.after, limit=page.limit + 1)
    return make_page(rows, limit=page.limit, as_item=AuditEventOut.from_orm, key=_seq)


class CheckpointOut(Schema):
    """A signed head; `body` is the text exactly as signed, to be kept by somebody else."""

    id: int
    seq: int
    hash: str
    at: Moment
    reason: str
    body: str
    digest: str
    signature: str


@audit_router.get("/audit/checkpoints", response=Page[CheckpointOut])
def list_audit_checkpoints(request: ActorRequest, page: Query[PageQuery]) -> dict[str, Any]:
    """The signed checkpoints after an id, oldest first."""
    authorise(request, TokenScope.READ)
    rows = audit.list_checkpoints(after=page.after, limit=page.limit + 1)
    return make_page(rows, limit=page.limit, as_item=CheckpointOut.from_orm, key=_pk)


def _pk(row: Checkpoint) -> int:
    return row.pk


def _seq(row: AuditEvent) -> int:
    return row.seq


intake_router = Router(tags=["orders"])


@intake_router.post(
    "/order-intents",
    response=OrderIntentOut,
    exclude_none=True,
    throttle=OrderThrottle("API_ORDER_RATE_LIMIT"),
)
def create_order_intent(request: ActorRequest, body: OrderIntentIn) -> OrderIntentOut:
    """Judge an order and, with `execute`, have it sent. A known `client_ref` gets its first answer."""
    actor = authorise(request, TokenScope.INTENTS)
    answer = request_order(wish=body, actor=actor, clocks=get_clocks())
    return order_intent_out(answer.intent, answer.decision, answer.order)


for router in (trading_router, risk_router, intake_router, golive_router, rollback_router, audit_router):
    api.add_router("", router)
