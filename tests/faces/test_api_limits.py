"""A token that asks too often waits; what removes risk never does."""

import pytest
from django.core.cache import caches

from controlplane.api import api as desk_api
from controlplane.rate_limits import CACHE, NEVER_HELD_UP
from risk.models import Decision
from tests import factories
from tests.faces.conftest import ApiClient
from tests.faces.test_api_facts import problem
from tests.faces.test_api_orders import PATH, body


@pytest.fixture(autouse=True)
def tight(settings):
    caches[CACHE].clear()
    settings.API_RATE_LIMIT = settings.API_ORDER_RATE_LIMIT = (2, 60)
    yield
    caches[CACHE].clear()


def exhaust(api, path="/accounts/paper-main"):
    for _ in range(2):
        assert api.get(path).status_code == 200


def test_one_too_many_is_told_when_to_come_back(api, desk):
    exhaust(api)
    answer = api.get("/accounts/paper-main")
    problem(answer, 429, "rate_limited")
    assert 1 <= int(answer["Retry-After"]) <= 30


def test_each_token_has_its_own_limit(api, desk):
    factories.ApiTokenFactory(name="other", raw="other-token")
    exhaust(api)
    assert ApiClient(token="other-token").get("/accounts/paper-main").status_code == 200


def test_orders_are_counted_apart_and_judged_no_more_when_too_many(api, desk):
    exhaust(api)
    for number in range(2):
        assert api.post(PATH, body(client_ref=f"bot-{number}")).status_code == 200
    problem(api.post(PATH, body(client_ref="bot-3")), 429, "rate_limited")
    assert Decision.objects.count() == 2


def test_a_limited_request_may_be_repeated_with_its_key(api, desk, settings):
    for number in range(2):
        api.post(PATH, body(client_ref=f"bot-{number}"))
    problem(api.post(PATH, body(), Idempotency_Key="k"), 429, "rate_limited")
    caches[CACHE].clear()
    assert api.post(PATH, body(), Idempotency_Key="k").status_code == 200


def test_a_stop_is_never_too_often(api, desk):
    exhaust(api)
    for _ in range(5):
        assert api.post("/emergency-stop", {"scope": "all"}).status_code == 200
    problem(api.get("/accounts/paper-main"), 429, "rate_limited")


def test_an_order_that_only_reduces_is_never_too_often(api, desk):
    reducing = {
        "symbol": "ETHUSDT",
        "side": "sell",
        "reduce_only": True,
        "stop_loss": ...,
        "take_profit": ...,
    }
    for number in range(5):
        answer = api.post(PATH, body(client_ref=f"out-{number}", quantity="0.01", **reducing))
        assert answer.status_code == 200, answer.content
    problem(api.post(PATH, body(client_ref="in")), 429, "rate_limited")


@pytest.mark.parametrize(
    "text", ['{"reduce_only": 1}', "[true]", "{", b"\xff", "[" * 100_000, "x" * 3_000_000]
)
def test_only_a_readable_reducing_order_is_exempt(api, desk, text):
    for number in range(2):
        api.post(PATH, body(client_ref=f"bot-{number}"))
    problem(api.post(PATH, text), 429, "rate_limited")


def test_it_works_with_redis_down(api, desk, no_redis):
    exhaust(api)
    problem(api.get("/accounts/paper-main"), 429, "rate_limited")


def test_every_operation_has_a_limit_and_what_removes_risk_is_exempt_by_name():
    names = set()
    for router in desk_api._get_bound_routers():
        for view in router.path_operations.values():
            for operation in view.operations:
                assert operation.throttle_objects, operation.path
                names.add(operation.view_func.__name__)
    assert names >= NEVER_HELD_UP
    assert {name for name in names if name.startswith(("trip_", "roll_back", "rollback"))} <= NEVER_HELD_UP
