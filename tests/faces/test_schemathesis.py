"""Whatever the served description allows to be sent is answered as it says, and never by a failure.

FUZZ_EXAMPLES=500 looks longer. Each operation is asked as a full token, as one that reads, and as nobody.
"""

import os

import pytest
import schemathesis
from django.core.cache import caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from controlplane.approvals.core import Actor, ActorKind, Role, TokenScope
from controlplane.intake import request_order
from controlplane.rate_limits import CACHE
from controlplane.wsgi import application
from golive.services import start_preflight
from risk.schemas import OrderIntentIn
from risk.services import trip_emergency_stop
from tests import factories
from tests.faces.test_api_orders import body as body_of_order
from trading.selectors import get_clocks

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NOBODY = {401, 404, 405}
REFUSALS = {400, 404, 405, 409, 413, 415, 422}
# What a desk has, so that half of the examples get beyond "there is none of that name".
KNOWN = {"account": "paper-main", "strategy": "reversion", "symbol": "XRPUSDT", "scope": "all"}
IDS = {"name": KNOWN["account"]}

schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application)


@schema.hook
def map_path_parameters(context, path_parameters):
    for name, value in (path_parameters or {}).items():
        if name in IDS and len(str(value)) % 2:
            path_parameters[name] = IDS[name]
    return path_parameters


@schema.hook
def map_body(context, body):
    if isinstance(body, dict) and len(str(body)) % 2:
        body |= {key: value for key, value in KNOWN.items() if key in body}
        if "type" in body:
            body["type"] = "market" if body.get("price") is None else "limit"
    return body


@pytest.fixture
def tokens(db):
    """Values of a token of every scope, of one that only reads, and none."""
    factories.make_desk()
    make_rows()
    factories.ApiTokenFactory(name="whole", raw="whole-token")
    factories.ApiTokenFactory(name="reader", raw="reader-token", scopes=[TokenScope.READ.value])
    caches[CACHE].clear()
    # A test's transaction does not survive the closing of its connection.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield {"whole": "whole-token", "reader": "reader-token"}
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def make_rows():
    """One row of everything that is asked for by its number."""
    clocks = get_clocks()
    wish = OrderIntentIn(**body_of_order())
    actor = Actor(name="ann", kind=ActorKind.PERSON, roles=frozenset(Role))
    IDS["decision_id"] = request_order(wish=wish, actor=actor, clocks=clocks).decision.pk
    IDS["event_id"] = trip_emergency_stop(scope="symbol:BTCUSDT", actor=actor, clocks=clocks).pk
    IDS["run_id"] = start_preflight(purpose="rearm", account="", actor="ann").pk


def ask(case, token):
    """Send the case; some leave the token out on purpose, and are answered like whoever has none."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = case.call_and_validate(headers=headers, checks=CHECKS)
    if token is not None and "Authorization" not in answer.request.headers:
        assert answer.status_code in NOBODY
        return 403 if token == "reader-token" else 404
    return answer.status_code


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_its_description(case, tokens):
    assert ask(case, None) in NOBODY
    assert ask(case, tokens["reader"]) in {200, 403} | REFUSALS
    assert ask(case, tokens["whole"]) in {200, 202} | REFUSALS
