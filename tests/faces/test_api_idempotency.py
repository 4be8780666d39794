"""A mutation sent twice with one key is carried out once."""

import pytest

from controlplane.approvals.models import IdempotentAnswer
from risk.models import StopEvent
from tests.faces.conftest import ApiClient
from tests.faces.test_api_facts import problem
from tests.faces.test_api_orders import PATH, body
from trading.models import OrderIntent

KEY = {"Idempotency_Key": "k-1"}


def test_the_first_answer_is_given_again(api, desk):
    first = api.post(PATH, body(), **KEY)
    again = api.post(PATH, body(), **KEY)
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert OrderIntent.objects.filter(client_ref="bot-1").count() == 1


def test_a_key_with_another_request_is_a_conflict(api, desk):
    api.post(PATH, body(), **KEY)
    problem(api.post(PATH, body(client_ref="bot-2"), **KEY), 409, "idempotency_key_reused")
    assert not OrderIntent.objects.filter(client_ref="bot-2").exists()


def test_a_request_in_progress_is_not_carried_out_twice(api, desk):
    api.post(PATH, body(), **KEY)
    IdempotentAnswer.objects.update(status=None)
    problem(api.post(PATH, body(), **KEY), 409, "idempotency_in_progress")


def test_a_stop_is_never_held_up_by_its_own_unfinished_repetition(api, desk):
    IdempotentAnswer.objects.all().delete()
    api.post("/emergency-stop", {"scope": "all"}, **KEY)
    IdempotentAnswer.objects.update(status=None)
    assert api.post("/emergency-stop", {"scope": "all"}, **KEY).status_code == 200
    assert StopEvent.objects.count() == 1


def test_a_refused_request_may_be_tried_again(api, desk):
    problem(api.post(PATH, body(account="nobody"), **KEY), 404, "account_not_found")
    assert api.post(PATH, body(), **KEY).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 129, "tab\there"])
def test_a_key_of_the_wrong_form_is_refused(api, desk, key):
    problem(api.post(PATH, body(), Idempotency_Key=key), 422, "invalid_input")


def test_a_wrong_token_leaves_no_trace(desk):
    problem(ApiClient(token="wrong").post(PATH, body(), **KEY), 401, "token_invalid")
    problem(ApiClient(token=None).post(PATH, body(), **KEY), 401, "token_missing")
    assert not IdempotentAnswer.objects.exists()


def test_the_keys_of_two_tokens_are_different_keys(api, desk):
    from tests import factories

    factories.ApiTokenFactory(name="other", raw="other-token")
    api.post(PATH, body(), **KEY)
    second = ApiClient(token="other-token").post(PATH, body(client_ref="bot-2"), **KEY)
    assert second.status_code == 200
    assert OrderIntent.objects.filter(client_ref="bot-2").exists()
