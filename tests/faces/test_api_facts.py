"""Facts over HTTP: shapes, pages, tokens and refusals."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from controlplane.approvals.core import TokenScope
from controlplane.audit.services import record
from tests import factories
from tests.faces.conftest import ApiClient


def problem(response, status, code):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    return body


def test_an_account_says_its_permit_equity_and_strategies(api, desk):
    factories.EquityFactory(
        venue_account=desk, equity=Decimal("1101.5000000000"), market_at=timezone.now() + timedelta(seconds=1)
    )
    body = api.get("/accounts/paper-main").json()
    assert body["permit"]["profile"] == "MICRO"
    assert body["strategies"][1] == {"strategy": "trend", "symbols": ["BTCUSDT", "ETHUSDT"], "enabled": True}
    assert body["venues"][0]["equity"] == "1101.5"
    assert body["venues"][0]["reconciliation_clean"] is True
    assert datetime.fromisoformat(body["now"]).tzinfo == UTC
    assert body["now"].endswith("Z")


def test_an_account_without_an_active_permit_says_null(api, desk):
    desk.account.permits.update(active=False)
    assert api.get("/accounts/paper-main").json()["permit"] is None


def test_a_position_carries_the_protections_that_rest_at_the_venue(api, desk):
    (position,) = api.get("/accounts/paper-main/positions").json()["items"]
    assert position["stop_loss"] == "2430"
    assert position["take_profit"] == "2620"
    assert position["stop_verified_at"] is not None
    assert position["unrealised_pnl"] == "0.3"


def test_a_position_without_a_stop_says_so(api, desk):
    desk.orders.filter(purpose="stop_loss").update(state="cancelled")
    (position,) = api.get("/accounts/paper-main/positions").json()["items"]
    assert position["stop_loss"] is None
    assert position["stop_verified_at"] is None


def test_orders_come_in_pages_that_hold_each_row_once(api, desk):
    for _ in range(4):
        factories.OrderFactory(intent__venue_account=desk)
    expected = list(desk.orders.order_by("-id").values_list("id", flat=True))
    seen, after = [], None
    while True:
        page = api.get("/accounts/paper-main/orders", limit=3, **({"after": after} if after else {})).json()
        seen += [row["id"] for row in page["items"]]
        after = page["next"]
        if after is None:
            break
        assert len(page["items"]) == 3
    assert seen == expected


def test_an_open_trade_has_no_result_yet(api, desk):
    factories.TradeFactory(venue_account=desk)
    factories.TradeFactory(venue_account=desk, closed_at=None, exit_price=None, net_pnl=None, closed_by="")
    opened, closed = api.get("/accounts/paper-main/trades").json()["items"]
    assert (opened["net_pnl"], opened["closed_at"]) == (None, None)
    assert closed["net_pnl"] == "0.54"


def test_prices_are_those_of_the_accounts_symbols(api, desk):
    factories.PriceFactory(symbol="DOGEUSDT")
    items = api.get("/accounts/paper-main/prices").json()["items"]
    assert [row["symbol"] for row in items] == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]


def test_audit_events_come_after_a_sequence_number(api, desk):

    with transaction.atomic():
        for reason in ("one", "two", "three"):
            record(
                action="approvals.sign_in",
                actor="somebody",
                subject_type="user",
                subject_id="x",
                reason=reason,
            )
    first = api.get("/audit", limit=2).json()
    rest = api.get("/audit", after=first["next"]).json()
    seqs = [row["seq"] for row in first["items"] + rest["items"]]
    assert seqs == sorted(seqs)
    assert [row["reason"] for row in first["items"] + rest["items"]][-3:] == ["one", "two", "three"]


def test_an_unknown_account_is_not_found(api):
    problem(api.get("/accounts/nobody"), 404, "account_not_found")


def test_an_unknown_address_is_a_problem_too(api):
    problem(api.get("/no-such-thing"), 404, "not_found")


def test_no_token_and_a_wrong_token_are_told_apart(db):
    missing = ApiClient(token=None).get("/accounts/x")
    problem(missing, 401, "token_missing")
    assert missing["WWW-Authenticate"] == "Bearer"
    problem(ApiClient(token="wrong").get("/accounts/x"), 401, "token_invalid")


def test_a_revoked_token_is_invalid(api, token):
    type(token).objects.filter(pk=token.pk).update(revoked_at=Now())
    problem(api.get("/accounts/x"), 401, "token_invalid")


def test_a_token_of_a_deactivated_user_is_invalid(api, token):
    token.user.is_active = False
    token.user.save()
    problem(api.get("/accounts/x"), 401, "token_invalid")


@pytest.mark.parametrize("path", ["", "/positions", "/orders", "/trades", "/prices"])
def test_reading_takes_the_scope_read(api, token, desk, path):
    type(token).objects.filter(pk=token.pk).update(scopes=[TokenScope.INTENTS.value])
    problem(api.get(f"/accounts/paper-main{path}"), 403, "scope_missing")


@pytest.mark.parametrize(("query", "field"), [({"limit": 0}, "limit"), ({"after": "x"}, "after")])
def test_a_wrong_query_names_its_field(api, desk, query, field):
    body = problem(api.get("/accounts/paper-main/orders", **query), 422, "invalid_input")
    assert body["errors"][0]["field"] == field
    assert body["detail"].startswith(f"{field}: ")
