"""The button that closes a position: who may, what a GET does, what a POST leaves to others to send."""

import pytest
from django.test import Client

from controlplane.approvals.core import STOPPING_ROLES, Role
from controlplane.audit.models import AuditEvent
from tests import factories
from tests.faces.crawl import digest_of_database
from trading.models import Order, OrderIntent, Position, TradingState

PAGE = "/admin/positions/"
CLOSE = "/admin/positions/paper-main/binanceusdm/ETHUSDT/close/"


# The button must work with Redis down.
pytestmark = pytest.mark.usefixtures("no_redis")


def sign_in(*roles: Role, **values) -> Client:
    client = Client(enforce_csrf_checks=values.pop("enforce_csrf_checks", False))
    client.force_login(factories.UserFactory(username="ann", roles=roles))
    return client


def ours():
    return OrderIntent.objects.filter(source="operator")


def test_each_position_has_its_button(desk):
    client = sign_in(Role.OPERATOR)
    for path in (PAGE, "/admin/"):
        assert CLOSE in client.get(path).content.decode()


def test_looking_closes_nothing(desk):
    client = sign_in(Role.OPERATOR)
    before = digest_of_database()
    text = client.get(CLOSE).content.decode()
    assert "sell 0.03 ETHUSDT" in text
    assert client.head(CLOSE).status_code == 200
    assert client.get(PAGE).status_code == 200
    assert digest_of_database() == before


@pytest.mark.parametrize("role", sorted(STOPPING_ROLES))
@pytest.mark.parametrize("state", ["ACTIVE", "REDUCING", "HALTED"])
def test_a_post_has_it_judged_and_leaves_it_to_be_sent(desk, role, state):
    TradingState.objects.update(state=state)
    answer = sign_in(role).post(CLOSE, {"reason": "enough of it"})
    intent = ours().get()
    assert answer.url == f"/admin/closings/{intent.pk}/"
    assert (intent.state, intent.quantity, intent.side, intent.reduce_only) == (
        "approved",
        Position.objects.get().quantity,
        "sell",
        True,
    )
    assert not Order.objects.filter(intent=intent).exists()
    assert AuditEvent.objects.get(action="desk.position_close").actor == "ann"


@pytest.mark.parametrize("roles", [(Role.AUDITOR,), (Role.REQUESTER,), ()])
def test_others_may_not(desk, roles):
    client = sign_in(*roles)
    assert client.post(CLOSE, {"reason": "enough of it"}).status_code == 403
    assert not ours().exists()
    assert AuditEvent.objects.filter(action="desk.position_close.denied", actor="ann").count() == 1
    assert CLOSE not in client.get(PAGE).content.decode()


def test_a_forged_post_closes_nothing(desk):
    client = sign_in(Role.OPERATOR, enforce_csrf_checks=True)
    assert client.post(CLOSE, {"reason": "enough of it"}).status_code == 403
    assert not ours().exists()


def test_it_takes_a_reason_and_something_that_is_held(desk):
    client = sign_in(Role.OPERATOR)
    assert client.post(CLOSE, {"reason": " "}).status_code == 422
    nothing = client.get(CLOSE.replace("ETHUSDT", "BTCUSDT"))
    assert (nothing.status_code, "Nothing is held" in nothing.content.decode()) == (404, True)
    assert client.post(CLOSE.replace("ETHUSDT", "BTCUSDT"), {"reason": "enough of it"}).status_code == 404
    assert client.delete(CLOSE).status_code == 405
    assert not ours().exists()


def test_the_page_says_what_became_of_it(desk):
    client = sign_in(Role.OPERATOR)
    where = client.post(CLOSE, {"reason": "enough of it"}).url
    text = client.get(where).content.decode()
    assert "Queued: ETHUSDT" in text
    assert 'hx-trigger="every 1s"' in text
    intent = ours().get()
    OrderIntent.objects.filter(pk=intent.pk).update(state="lapsed")
    assert "Not closed: ETHUSDT" in client.get(where).content.decode()
    OrderIntent.objects.filter(pk=intent.pk).update(state="done")
    factories.OrderFactory(intent=intent, purpose="exit", side="sell", reduce_only=True, state="filled")
    Position.objects.update(quantity=0, entry_price=None)
    assert "Closed: ETHUSDT" in client.get(where, headers={"HX-Request": "true"}).content.decode()
    assert "sell 0.03 ETHUSDT" in client.get(PAGE).content.decode()
    assert client.get("/admin/closings/00000000-0000-0000-0000-000000000000/").status_code == 404
