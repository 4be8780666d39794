"""The pages of facts show a number as a person would write it."""

import re

import pytest
from django.contrib import admin
from django.db.models import DecimalField
from django.test import Client
from django.urls import reverse

from risk.models import Decision, LimitSet
from tests import factories
from tests.faces.test_api_orders import PATH, body
from trading.models import MarketPrice, Position, Trade, VenueSetting

TRAILING = re.compile(r">\s*-?\d+\.\d*0\s*<")


@pytest.fixture
def client_(desk):
    factories.TradeFactory(venue_account=desk)
    client = Client()
    client.force_login(factories.UserFactory())
    return client


def page(client, row, view="change"):
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{view}"
    answer = client.get(reverse(name, args=[row.pk] if view == "change" else []))
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("model", [Position, Trade, MarketPrice, LimitSet, VenueSetting])
def test_a_page_has_no_trailing_zeros(client_, model):
    assert TRAILING.findall(page(client_, model.objects.first())) == []


def test_a_decision_shows_the_three_quantities(client_, api):
    api.post(PATH, body(quantity="30.000"))
    text = page(client_, Decision.objects.get())
    assert TRAILING.findall(text) == []
    for label in ("Requested quantity", "Max quantity", "Override id"):
        assert label in text


def test_every_field_is_still_on_its_page(client_):
    row = Trade.objects.first()
    text = page(client_, row).lower()
    for field in row._meta.fields:
        if field.name != "id":
            assert field.verbose_name.lower() in text, field.name


def test_every_page_of_money_formats_it():
    """A new kind of fact with decimal numbers is shown by FactAdmin."""
    for model, page_ in admin.site._registry.items():
        if model._meta.app_label in {"trading", "risk"}:
            numbers = [field for field in model._meta.fields if isinstance(field, DecimalField)]
            assert not numbers or hasattr(page_, "_columns"), model._meta.label


def test_the_settings_of_a_venue_show_how_far_a_stop_may_be(client_):
    row = VenueSetting.objects.first()
    VenueSetting.objects.update(max_stop_ratio="0.12500000")
    text = page(client_, row, "changelist")
    assert "max stop ratio" in text.lower()
    assert "0.125<" in text
