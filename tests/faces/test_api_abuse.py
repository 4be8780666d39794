"""Whatever is sent, the answer is a problem with a stable code, and nothing fails or is written."""

import json

import pytest
from django.test import Client

from risk.models import StopEvent
from tests.faces.conftest import TOKEN
from tests.faces.test_api_facts import problem
from tests.faces.test_api_orders import PATH, body
from trading.models import OrderIntent

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace", "head"])
def test_another_method_says_which_ones_there_are(api, desk, method):
    answer = getattr(api.client, method)(f"/api/v1{PATH}", headers=BEARER)
    assert answer.status_code == 405
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Allow"] == "POST"
    if method != "head":
        problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/v1/", "/api/v2/accounts/x", "/api/v1/accounts", "/api/v1/accounts/a/b/c", "/api/%00"],
)
def test_an_address_that_is_none(api, path):
    problem(api.client.get(path, headers=BEARER), 404, "not_found")


def test_a_host_that_is_not_ours_is_refused_as_a_problem(api, desk):
    answer = Client(headers={"host": "evil.example"}).get("/api/v1/accounts/paper-main", headers=BEARER)
    problem(answer, 400, "malformed_request")


def test_outside_the_interface_pages_stay_pages(db):
    assert "problem" not in Client().get("/admin/nothing-here/", follow=True)["Content-Type"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_another_content_type_is_refused_by_name(api, desk, kind):
    answer = api.client.post(f"/api/v1{PATH}", json.dumps(body()), content_type=kind, headers=BEARER)
    assert problem(answer, 415, "unsupported_content_type")["detail"].startswith("Content-Type: ")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", ""])
def test_json_may_name_its_letters_or_nothing(api, desk, kind):
    answer = api.client.post(f"/api/v1{PATH}", json.dumps(body()), content_type=kind, headers=BEARER)
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_stop_is_read_whatever_its_label_says(api, desk, kind):
    answer = api.client.post("/api/v1/emergency-stop", '{"scope": "all"}', content_type=kind, headers=BEARER)
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("reason", ["x" * 5000, "nul\x00here", "\x00", " ", None])
def test_a_stop_is_not_refused_for_its_reason(api, desk, reason):
    assert api.post("/emergency-stop", {"scope": "all", "reason": reason}).status_code == 200
    assert 0 < len(StopEvent.objects.get().reason) <= 500


@pytest.mark.parametrize(
    "text",
    [
        '{"scope": "all", "reason": NaN}',
        '{"scope": "all", "reason": "\\ud800"}',
        b'{"scope": "all", "reason": "\xff"}',
        '{"scope": "all",}',
        '{"scope": "all"} x',
        "\ufeff{}",
        '{"scope": "all"}'.encode("utf-16"),
        '{"a":' * 5000,
    ],
)
def test_what_is_not_strict_json_is_told_so(api, desk, text):
    problem(api.post("/emergency-stop", text), 400, "malformed_body")
    assert not StopEvent.objects.exists()


@pytest.mark.parametrize(
    "number",
    [
        "1_000",
        "١٢",
        "1e9999",
        "1e-9999",
        "0x10",
        "1,5",
        " 1",
        "1 ",
        "1\n",
        "",
        "9" * 41,
        "0." + "1" * 41,
        "NaN",
        "sNaN",
        "-Infinity",
        "1\x00",
        10**30,
        1e300,
        -0.0,
        None,
        [],
        {},
    ],
)
@pytest.mark.parametrize("field", ["quantity", "stop_loss"])
def test_a_number_of_another_form_names_its_field(api, desk, field, number):
    if (field, number) == ("stop_loss", None):
        number = "none"
    answer = problem(api.post(PATH, body(**{field: number})), 422, "invalid_input")
    assert answer["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "number", ["1e400", "1E+999", "9" * 40, "0." + "0" * 39 + "1", "-1", "-0", 10**18, 2**64 - 1]
)
def test_a_number_that_no_order_can_have_names_its_field(api, desk, number):
    intents = OrderIntent.objects.count()
    answer = problem(api.post(PATH, body(quantity=number)), 422, "invalid_input")
    assert answer["detail"].startswith("quantity: ")
    assert len(answer["detail"]) < 300
    assert OrderIntent.objects.count() == intents


@pytest.mark.parametrize("number", ["3e1", "30.000", "+30", 30])
def test_the_same_number_in_another_form_is_that_number(api, desk, number):
    answer = api.post(PATH, body(quantity=number))
    assert (answer.status_code, answer.json()["requested_quantity"]) == (200, "30")


@pytest.mark.parametrize(
    "at",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-06-01T25:00:00Z",
        "2025-06-01T00:00:00",
        "2025-06-01",
        "now",
        "",
        "1748736000",
        1748736000,
        1e308,
        True,
        "2025-06-01T00:00:00Z\x00",
        "2025-06-01T00:00:00+99:99",
    ],
)
def test_a_time_that_is_none_or_of_another_age_names_its_field(api, desk, at):
    answer = problem(api.post(PATH, body(signal_at=at)), 422, "invalid_input")
    assert answer["errors"][0]["field"] == "signal_at"


@pytest.mark.parametrize(
    "at", ["1970-01-01T00:00:00+14:00", "2199-12-31T23:59:59-12:00", "2025-06-01 12:00:00Z"]
)
def test_any_time_of_our_age_is_judged(api, desk, at):
    assert api.post(PATH, body(signal_at=at)).json()["decision"] == "blocked"


@pytest.mark.parametrize("field", ["account", "strategy", "symbol", "side", "type", "client_ref"])
@pytest.mark.parametrize("text", ["a\x00b", "\x00", "é" * 10, "a" * 100_000])
def test_a_text_of_another_form_names_its_field(api, desk, field, text):
    answer = problem(api.post(PATH, body(**{field: text})), 422, "invalid_input")
    assert answer["errors"][0]["field"] == field


def test_an_unknown_field_is_named_and_not_echoed_at_length(api, desk):
    answer = problem(api.post(PATH, body() | {"x" * 100_000: 1}), 422, "invalid_input")
    assert len(answer["detail"]) < 300


@pytest.mark.parametrize("scope", ["a\x00b", "\x00", "all\x00", "é", "account:", ":", "x" * 61, ""])
def test_a_scope_that_cannot_be(api, desk, scope):
    answer = api.post("/emergency-stop", {"scope": scope})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("scope: ")


@pytest.mark.parametrize("account", ["a\x00b", "../x", "x" * 41, 1, None])
def test_a_preflight_of_an_account_that_cannot_be(api, desk, account):
    answer = problem(api.post("/preflight-runs", {"account": account}), 422, "invalid_input")
    assert answer["errors"][0]["field"] == "account"


LISTS = ["positions", "orders", "trades", "prices", "decisions"]


@pytest.mark.parametrize("name", ["a%00b", "%00", "a%20b", "%ff", "é", "x" * 41, "a'--"])
@pytest.mark.parametrize("rest", ["", "/headroom", *(f"/{name}" for name in LISTS)])
def test_an_account_name_that_cannot_be(api, desk, name, rest):
    answer = problem(api.get(f"/accounts/{name}{rest}"), 422, "invalid_input")
    assert answer["errors"][0]["field"] == "name"


BAD_KEYS = ["x", "-1", "1.5", "", "9" * 30, str(2**63), "%00", "\x00", "1 OR 1=1", "nan"]


@pytest.mark.parametrize("after", BAD_KEYS)
@pytest.mark.parametrize("path", ["/audit", *(f"/accounts/paper-main/{name}" for name in LISTS)])
def test_garbage_after_which_a_page_should_start(api, desk, path, after):
    answer = problem(api.get(path, after=after), 422, "invalid_input")
    assert answer["errors"][0]["field"] == "after"


@pytest.mark.parametrize("limit", ["0", "-1", "201", "x", "1e2", "", "9" * 5000])
@pytest.mark.parametrize("path", ["/audit", *(f"/accounts/paper-main/{name}" for name in LISTS)])
def test_a_page_has_bounds(api, desk, path, limit):
    answer = problem(api.get(path, limit=limit), 422, "invalid_input")
    assert answer["errors"][0]["field"] == "limit"


@pytest.mark.parametrize("path", ["emergency-stop", "preflight-runs", "decisions"])
@pytest.mark.parametrize("number", ["0", "999", str(2**31), str(2**63), "9" * 40, "9" * 5000])
def test_a_number_that_nothing_has_is_not_found(api, desk, path, number):
    assert api.get(f"/{path}/{number}").json()["status"] == 404


def test_a_failure_inside_is_a_problem_that_tells_nothing_of_the_inside(api, desk, settings):
    settings.TRADING_ENVIRONMENT = None
    api.client.raise_request_exception = False
    answer = api.post("/emergency-stop", {"scope": "all"})
    assert "Traceback" not in problem(answer, 500, "internal_error")["detail"]
