"""Decisions are evidence that can be read; the reasons are a closed list."""

import pytest

from controlplane.approvals.core import TokenScope
from risk.core.reasons import DESCRIPTIONS, ReasonCode
from risk.models import Decision
from tests.faces.test_api_facts import problem
from tests.faces.test_api_orders import PATH, body

LIST = "/accounts/paper-main/decisions"


def test_a_decision_says_what_was_asked_and_what_each_rule_said(api, desk):
    given = api.post(PATH, body(quantity="500")).json()
    row = api.get(f"/decisions/{given['decision_id']}").json()
    assert (row["decision"], row["intent_id"]) == ("blocked", given["intent_id"])
    assert row["breaches"] == given["breaches"]
    assert row["reason"] == min((item["code"] for item in row["breaches"]), key=list(ReasonCode).index)
    assert (row["client_ref"], row["symbol"], row["requested_quantity"]) == ("bot-1", "XRPUSDT", "500")
    said = set(row["outcomes"].values())
    assert said == {"none"} | {item["code"] for item in row["breaches"]}


def test_decisions_come_newest_first_and_each_once(api, desk):
    for number in range(5):
        api.post(PATH, body(client_ref=f"bot-{number}"))
    seen, after = [], None
    while True:
        page = api.get(LIST, limit=2, **({"after": after} if after else {})).json()
        seen += [row["decision_id"] for row in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == list(Decision.objects.order_by("-id").values_list("id", flat=True))
    assert len(seen) == 5


def test_a_page_costs_the_same_however_many_there_are(api, desk, django_assert_max_num_queries):
    for number in range(6):
        api.post(PATH, body(client_ref=f"bot-{number}"))
    with django_assert_max_num_queries(4) as asked:
        api.get(LIST, limit=5)
    assert not [query for query in asked.captured_queries if "count(" in query["sql"].lower()]


def test_what_is_resized_says_both_quantities(api, desk):
    given = api.post(PATH, body(quantity="500", may_resize=True)).json()
    assert given["decision"] == "allowed", given
    assert given["requested_quantity"] == "500"
    assert 0 < float(given["quantity"]) < 500
    whole = api.post(PATH, body(quantity="500", client_ref="bot-2")).json()
    assert (whole["decision"], whole["quantity"]) == ("blocked", "500")


def test_may_resize_is_part_of_the_request(api, desk):
    api.post(PATH, body(quantity="30"))
    problem(api.post(PATH, body(quantity="30", may_resize=True)), 409, "client_ref_reused")


def test_the_reasons_are_the_closed_list_in_its_order(api):
    page = api.get("/risk/reason-codes").json()
    assert page["next"] is None
    assert [row["code"] for row in page["items"]] == [code.value for code in ReasonCode]
    assert [row["rank"] for row in page["items"]] == list(range(len(ReasonCode)))
    assert all(row["text"] == DESCRIPTIONS[ReasonCode(row["code"])] for row in page["items"])


def test_an_unknown_decision_is_not_found(api, desk):
    problem(api.get("/decisions/999"), 404, "decision_not_found")


@pytest.mark.parametrize("path", [LIST, "/decisions/1", "/risk/reason-codes"])
def test_reading_takes_the_scope(api, desk, token, path):
    type(token).objects.update(scopes=[TokenScope.INTENTS.value])
    problem(api.get(path), 403, "scope_missing")


def test_positions_and_prices_are_paged_by_venue_and_symbol(api, desk):
    first = api.get("/accounts/paper-main/prices", limit=2).json()
    assert [row["symbol"] for row in first["items"]] == ["BTCUSDT", "ETHUSDT"]
    assert first["next"] == "binanceusdm:ETHUSDT"
    rest = api.get("/accounts/paper-main/prices", limit=2, after=first["next"]).json()
    assert ([row["symbol"] for row in rest["items"]], rest["next"]) == (["XRPUSDT"], None)
    assert api.get("/accounts/paper-main/positions", after="binanceusdm:ETHUSDT").json()["items"] == []
