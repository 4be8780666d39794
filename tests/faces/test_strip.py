"""The strip on every page: what it says, what it costs, and that what is not known is never called well."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from controlplane.approvals.core import Role
from controlplane.dashboard.strip import gather_strip
from risk.models import GlobalRisk, StopEvent
from tests import factories
from trading.models import TradingState

STRIP = "/admin/strip/"


def sign_in(*roles: Role) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(username="ann", roles=roles))
    return client


def set_state(scope: str, state: str) -> None:
    TradingState.objects.filter(scope=scope).update(state=state, reason=f"{scope} was told to")


@pytest.fixture
def stop():
    return StopEvent.objects.create(
        scope="account:paper-main", source="manual", actor="ann", reason="x", market_at=timezone.now()
    )


def test_a_desk_in_order_is_active(desk):
    strip = gather_strip()
    assert (strip.state, strip.tone, strip.scope, strip.stopping) == ("ACTIVE", "good", "", "")
    assert (strip.risk, strip.risk_tone) == ("OK", "good")


@pytest.mark.parametrize(
    ("states", "state", "scope", "more"),
    [
        ({"symbol:ETHUSDT": "REDUCING"}, "REDUCING", "symbol:ETHUSDT", ""),
        ({"symbol:ETHUSDT": "HALTED", "all": "REDUCING"}, "HALTED", "symbol:ETHUSDT", "and 1 other scope"),
        (
            {"venue:binanceusdm": "HALTED", "all": "HALTED", "strategy:trend": "REDUCING"},
            "HALTED",
            "all",
            "and 2 other scopes",
        ),
    ],
)
def test_the_strictest_state_is_told_with_its_widest_scope(desk, states, state, scope, more):
    for name, value in states.items():
        set_state(name, value)
    strip = gather_strip()
    assert (strip.state, strip.scope, strip.more) == (state, scope, more)
    assert strip.reason == f"{scope} was told to"


@pytest.mark.parametrize("scope", ["all", "account:paper-main"])
def test_a_scope_without_a_state_is_halted(desk, scope):
    TradingState.objects.filter(scope=scope).delete()
    strip = gather_strip()
    assert (strip.state, strip.tone, strip.scope) == ("HALTED", "bad", scope)


def test_a_stop_whose_state_was_lost_is_halted(desk):
    StopEvent.objects.create(
        scope="symbol:LOSTUSDT", source="manual", actor="ann", reason="x", market_at=timezone.now()
    )
    assert gather_strip().scope == "symbol:LOSTUSDT"


def test_what_a_stop_still_waits_for_is_counted(desk, stop):
    assert gather_strip().stopping == "STOPPING: 1 step to go"
    for number, status in enumerate(("pending", "retrying", "done")):
        stop.steps.create(venue="v", account="a", action="cancel", subject=str(number), status=status)
    assert gather_strip().stopping == "STOPPING: 2 steps to go"
    StopEvent.objects.update(progress="STOPPED", stopped_at=timezone.now())
    assert gather_strip().stopping == ""


@pytest.mark.parametrize(
    ("level", "age", "risk", "tone"),
    [
        ("WARNING", 0, "WARNING", "warn"),
        ("CRITICAL", 0, "CRITICAL", "bad"),
        ("OK", 31, "OK, old", "bad"),
        (None, 0, "UNKNOWN", "unknown"),
    ],
)
def test_risk_is_told_with_its_age_and_an_old_one_is_not_well(desk, level, age, risk, tone):
    if level is None:
        GlobalRisk.objects.all().delete()
    else:
        GlobalRisk.objects.update(level=level, checked_at=timezone.now() - timedelta(seconds=age))
    strip = gather_strip()
    assert (strip.risk, strip.risk_tone) == (risk, tone)


def test_it_costs_one_statement(desk):
    with CaptureQueriesContext(
        connection,
    ) as asked:
        gather_strip()
    assert len(asked) == 1


@pytest.mark.parametrize(
    "path",
    [
        "",
        "stop/",
        "positions/",
        "restrictions/",
        "trading/order/",
        "risk/decision/",
        "auth/user/",
        "password_change/",
    ],
)
def test_it_is_on_every_page(desk, path):
    text = sign_in(Role.OPERATOR).get(f"/admin/{path}").content.decode()
    assert 'id="desk-strip"' in text
    assert 'role="status"' in text
    assert '<a class="desk-stop" href="/admin/stop/">' in text


def test_it_is_on_the_page_of_one_fact(desk):
    order = desk.orders.first()
    assert 'id="desk-strip"' in sign_in().get(f"/admin/trading/order/{order.pk}/change/").content.decode()


def test_the_button_is_for_those_who_may_stop(desk):
    assert "desk-stop" in sign_in(Role.ADMIN).get(STRIP).content.decode()
    client = Client()
    client.force_login(factories.UserFactory(username="eve", roles=(Role.AUDITOR,)))
    text = client.get(STRIP).content.decode()
    assert "ACTIVE" in text
    assert "desk-stop" not in text


def test_a_poll_after_the_session_has_ended_leads_to_the_sign_in(desk):
    answer = Client().get(STRIP)
    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/admin/login/")


def test_only_reading_is_offered(desk):
    assert sign_in(Role.ADMIN).post(STRIP).status_code == 405


def refuse(execute, sql, params, many, context):
    raise OperationalError("the database does not answer")


def refuse_states(execute, sql, params, many, context):
    if "trading_tradingstate" in sql:
        raise OperationalError("the database does not answer")
    return execute(sql, params, many, context)


@pytest.mark.parametrize("failure", [refuse, refuse_states])
def test_a_database_that_does_not_answer_is_unknown_and_never_well(desk, failure):
    client = sign_in(Role.OPERATOR)
    with connection.execute_wrapper(failure):
        answer = client.get(STRIP)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "desk-strip-unknown" in text
    assert "UNKNOWN" in text
    assert "desk-strip-good" not in text


def test_it_needs_no_redis(desk, no_redis):
    assert "ACTIVE" in sign_in(Role.OPERATOR).get(STRIP).content.decode()
