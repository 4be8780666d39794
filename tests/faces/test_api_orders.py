"""The door for outside programs: judged once, sent by a worker, never by the web."""

import json
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from controlplane.approvals.core import Role, TokenScope
from controlplane.approvals.models import Designation
from risk.models import Decision
from tests.faces.test_api_facts import problem
from trading.models import Order, OrderIntent

PATH = "/order-intents"


def body(**changes):
    """An order that is allowed on the desk of `make_desk`."""
    order = {
        "account": "paper-main",
        "strategy": "reversion",
        "symbol": "XRPUSDT",
        "side": "buy",
        "type": "market",
        "quantity": "30",
        "stop_loss": "1.94",
        "take_profit": "2.10",
        "client_ref": "bot-1",
        "execute": False,
    }
    return {key: value for key, value in (order | changes).items() if value is not ...}


def test_a_good_order_is_allowed_and_nothing_is_sent(api, desk):
    answer = api.post(PATH, body())
    assert answer.status_code == 200, answer.content
    given = answer.json()
    assert (given["decision"], given["breaches"]) == ("allowed", [])
    assert given["decision_id"] == Decision.objects.get().pk
    assert given["intent_id"] == str(OrderIntent.objects.get(client_ref="bot-1").pk)
    assert "order" not in given
    assert isinstance(given["max_quantity"], str)


def test_an_order_to_be_executed_is_queued_and_not_sent_by_the_web(api, desk):
    orders = Order.objects.count()
    given = api.post(PATH, body(execute=True)).json()
    assert given["order"] == {"state": "queued"}
    assert Order.objects.count() == orders
    assert OrderIntent.objects.get(client_ref="bot-1").execute


def test_a_blocked_order_names_every_breach_and_what_would_be_allowed(api, desk):
    given = api.post(PATH, body(quantity="500", stop_loss="1.5", execute=True)).json()
    assert given["decision"] == "blocked"
    codes = [breach["code"] for breach in given["breaches"]]
    assert "POSITION_NOTIONAL" in codes
    assert "STOP_LOSS_OUTSIDE_BAND" in codes
    for breach in given["breaches"]:
        assert breach.keys() == {"code", "measured", "limit", "text"}
    assert "order" not in given


def test_the_same_client_ref_gets_the_first_answer(api, desk):
    first = api.post(PATH, body()).json()
    desk.account.permits.update(active=False)
    assert api.post(PATH, body()).json() == first
    assert Decision.objects.count() == 1


def test_the_same_client_ref_with_another_body_is_a_conflict(api, desk):
    api.post(PATH, body())
    problem(api.post(PATH, body(quantity="29")), 409, "client_ref_reused")
    problem(api.post(PATH, body(execute=True)), 409, "client_ref_reused")


def test_the_same_number_written_otherwise_is_the_same_body(api, desk):
    first = api.post(PATH, body()).json()
    assert api.post(PATH, body(quantity="30.00", stop_loss="1.940")).json() == first


def test_a_lapsed_order_says_so(api, desk):
    api.post(PATH, body(execute=True))
    OrderIntent.objects.filter(client_ref="bot-1").update(state="lapsed")
    assert api.post(PATH, body(execute=True)).json()["order"] == {"state": "lapsed"}


def test_a_signal_too_old_is_blocked_and_one_left_out_is_now(api, desk):
    old = (timezone.now() - timedelta(days=1)).isoformat()
    given = api.post(PATH, body(signal_at=old)).json()
    assert [breach["code"] for breach in given["breaches"]] == ["SIGNAL_STALE"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"quantity": 0.5}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": "NaN"}, "quantity"),
        ({"quantity": "Infinity"}, "quantity"),
        ({"quantity": "ten"}, "quantity"),
        ({"quantity": ...}, "quantity"),
        ({"side": "long"}, "side"),
        ({"type": "stop"}, "type"),
        ({"symbol": "btc/usdt"}, "symbol"),
        ({"account": "../x"}, "account"),
        ({"client_ref": ""}, "client_ref"),
        ({"client_ref": "x" * 65}, "client_ref"),
        ({"client_ref": "two words"}, "client_ref"),
        ({"signal_at": "2025-06-01T00:00:00"}, "signal_at"),
        ({"execute": ...}, "execute"),
        ({"leverage": 10}, "leverage"),
    ],
)
def test_a_wrong_value_names_its_field_and_registers_nothing(api, desk, changes, field):
    intents = OrderIntent.objects.count()
    answer = problem(api.post(PATH, body(**changes)), 422, "invalid_input")
    assert answer["errors"][0]["field"] == field
    assert OrderIntent.objects.count() == intents


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"quantity": "0"}, "quantity: "),
        ({"quantity": "-1"}, "quantity: "),
        ({"quantity": "1e400"}, "quantity: "),
        ({"quantity": "0.00000000001"}, "quantity: "),
        ({"stop_loss": "-5"}, "stop_loss: "),
        ({"type": "limit"}, "price: "),
        ({"price": "2"}, "price: "),
    ],
)
def test_a_value_that_no_order_can_have_is_refused_by_name(api, desk, changes, start):
    intents = OrderIntent.objects.count()
    answer = problem(api.post(PATH, body(**changes)), 422, "invalid_input")
    assert answer["detail"].startswith(start)
    assert OrderIntent.objects.count() == intents


@pytest.mark.parametrize("text", ["{", "not json", '{"account": }', "\x00", "[" * 100_000])
def test_a_body_that_is_not_json_is_told_so(api, desk, text):
    problem(api.post(PATH, text), 400, "malformed_body")


def test_no_body_at_all_is_told_so(api, desk):
    problem(api.post(PATH, ""), 422, "invalid_input")


def test_a_body_that_is_no_object_is_told_so(api, desk):
    problem(api.post(PATH, [1, 2]), 422, "invalid_input")


def test_a_body_that_is_not_text_is_told_so(api, desk):
    problem(api.post(PATH, b"\xff\xfe{"), 400, "malformed_body")


def test_a_body_that_is_too_large_is_told_so(api, desk):
    problem(api.post(PATH, json.dumps({"x": "y" * 3_000_000})), 413, "body_too_large")


def test_an_unknown_account_is_not_found(api, desk):
    problem(api.post(PATH, body(account="nobody")), 404, "account_not_found")


def test_asking_takes_the_scope_and_a_designation(api, desk, token):
    Designation.objects.filter(user=token.user).update(valid_to=Now())
    problem(api.post(PATH, body()), 403, "not_designated")
    Designation.objects.create(user=token.user, role=Role.REQUESTER.value, designated_by="x")
    type(token).objects.update(scopes=[TokenScope.READ.value])
    problem(api.post(PATH, body()), 403, "scope_missing")


def test_another_method_is_refused(api, desk):
    assert api.get(PATH).status_code == 405
