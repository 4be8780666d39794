"""Every operation asks for its scope, and a token that has ended opens nothing."""

import pytest
from django.db.models.functions import Now

from controlplane.api import api as desk_api
from controlplane.approvals.core import TokenScope
from tests.faces.conftest import ApiClient
from tests.faces.test_api_facts import problem
from tests.faces.test_api_orders import body

PATHS = desk_api.get_openapi_schema(path_prefix="/api/v1/")["paths"]
OPERATIONS = {
    operation["operationId"]: (method, path)
    for path, methods in PATHS.items()
    for method, operation in methods.items()
}
WRITES = {
    "create_order_intent": (TokenScope.INTENTS, body()),
    "roll_back": (TokenScope.STOP, {}),
    "trip_emergency_stop": (TokenScope.STOP, {"scope": "all"}),
    "request_rearm": (
        TokenScope.STOP,
        {"scope": "all", "reason": "looked at it all", "root_cause": "a test"},
    ),
    "start_preflight": (TokenScope.PREFLIGHT, {}),
    "request_golive": (TokenScope.GOLIVE, {"account": "nobody", "reason": "asked by an outside program"}),
}


def ask(api, name):
    method, path = OPERATIONS[name]
    path = path.removeprefix("/api/v1").replace("{name}", "paper-main")
    for parameter in ("event_id", "run_id", "decision_id"):
        path = path.replace(f"{{{parameter}}}", "1")
    path = path.replace("{request_id}", "00000000-0000-4000-8000-000000000000")
    return api.get(path) if method == "get" else api.post(path, WRITES[name][1])


def test_every_operation_that_writes_is_known_here():
    assert {name for name, (method, _) in OPERATIONS.items() if method != "get"} == set(WRITES)


@pytest.mark.parametrize("scope", TokenScope)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_takes_its_own_scope_and_no_other(api, desk, token, name, scope):
    type(token).objects.update(scopes=[scope.value])
    answer = ask(api, name)
    wanted = WRITES[name][0] if name in WRITES else TokenScope.READ
    if scope is wanted:
        assert answer.status_code in {200, 202, 404}, answer.content
    else:
        problem(answer, 403, "scope_missing")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_token_without_a_scope_opens_nothing(api, desk, token, name):
    type(token).objects.update(scopes=["approve", "", "*"])
    problem(ask(api, name), 403, "scope_missing")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_token_that_was_revoked_opens_nothing(api, desk, token, name):
    type(token).objects.update(revoked_at=Now())
    problem(ask(api, name), 401, "token_invalid")


@pytest.mark.parametrize("name", OPERATIONS)
def test_nobody_opens_nothing(desk, name):
    problem(ask(ApiClient(token=None), name), 401, "token_missing")


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "bearer\tx", "Token a-token-for-tests"]
)
def test_what_is_no_bearer_token(client, desk, value):
    answer = client.get("/api/v1/risk/state", headers={"Authorization": value})
    problem(answer, 401, "token_missing")
    assert answer["WWW-Authenticate"] == "Bearer"
