"""Searches by identifier: found exactly, by the index of each, and nothing else is."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests import factories
from trading import models

pytestmark = pytest.mark.django_db


@pytest.fixture
def orders(db):
    place = factories.make_desk()
    return factories.OrderFactory.create_batch(
        3, venue_account=place, intent__account=place.account, intent__venue_account=place
    )


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def found(client: Client, page: str, text: str) -> list[object]:
    answer = client.get(f"/admin/{page}/", {"q": text})
    assert answer.status_code == 200
    return [row.pk for row in answer.context["cl"].result_list]


def test_an_order_is_found_by_either_of_its_ids(admin, orders):
    order = orders[1]
    models.Order.objects.filter(pk=order.pk).update(venue_order_id="v-77")
    assert found(admin, "trading/order", order.client_order_id) == [order.pk]
    assert found(admin, "trading/order", " v-77 ") == [order.pk]
    assert found(admin, "trading/order", "v-7") == []


def test_a_word_where_a_number_is_looked_for_finds_nothing(admin, orders):
    assert found(admin, "risk/decision", "not-a-number") == []
    assert found(admin, "audit/seal", "not-a-number") == []
