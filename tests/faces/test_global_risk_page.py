"""What faces show of global risk: the findings with their numbers, and the day as a bar."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from controlplane.dashboard.page import gather_page
from risk.core.global_risk import UNITS, MeasureName
from risk.global_risk.assessment import assess_global_risk
from risk.global_risk.page import show_day, show_measures, tell_gravest
from risk.models import GlobalRisk
from tests import factories
from trading.models import MarketPrice
from trading.selectors import get_clocks


def open_page(admin_client, row) -> str:
    page = admin_client.get(reverse("admin:risk_globalrisk_change", args=[row.pk]))
    assert page.status_code == 200
    return page.content.decode()


def test_the_interface_answers_findings_and_measures(api, desk):
    GlobalRisk.objects.all().delete()
    # The desk holds a position of which no hourly prices are stored.
    assess_global_risk(clocks=get_clocks())
    answer = api.get("/risk/state").json()["global_risk"]
    codes = {finding["code"] for finding in answer["findings"]}
    assert codes == {"value_at_risk", "expected_shortfall", "volatility"}
    first = answer["findings"][0]
    assert first.keys() == {"code", "level", "account", "venue", "measured", "limit", "text"}
    assert (first["level"], first["account"], first["measured"]) == ("CRITICAL", "paper-main", "unknown")
    measures = answer["measures"]["paper-main"]
    assert set(measures) == {name.value for name in MeasureName}
    assert measures["value_at_risk"] is None
    # 0.03 ETH at 2,500 of an equity of 1,100, as text.
    assert measures["leverage"].startswith("0.068181")


def test_a_row_without_findings_is_answered_without(api, desk):
    answer = api.get("/risk/state").json()["global_risk"]
    assert (answer["level"], answer["findings"], answer["measures"]) == ("OK", [], {})


def test_the_page_shows_findings_measures_and_the_day(admin_client, desk):
    GlobalRisk.objects.all().delete()
    row = assess_global_risk(clocks=get_clocks())
    text = open_page(admin_client, row)
    assert "value at risk of a day unknown" in text
    assert "6.818 %" in text or "0.06818 x" in text
    assert "not checked" in text


def test_an_early_row_has_a_page_too(admin_client, desk):
    text = open_page(admin_client, GlobalRisk.objects.get())
    assert "every measure is within its bounds" in text
    assert "no account was measured" in text


def test_what_was_measured_is_never_markup(desk):
    row = GlobalRisk.objects.get()
    row.inputs = {"measures": {"<b>x</b>": {"leverage": "1"}}}
    assert "<b>x</b>" not in show_measures(row)
    assert "&lt;b&gt;x&lt;/b&gt;" in show_measures(row)


def test_the_day_is_shared_out_among_levels_and_what_nobody_checked(db):
    now = timezone.now()
    for level, begin, end in (("OK", 30, 12), ("WARNING", 12, 9), ("CRITICAL", 6, 0)):
        factories.GlobalRiskFactory(
            level=level, since_at=now - timedelta(hours=begin), checked_at=now - timedelta(hours=end)
        )
    shown = show_day(GlobalRisk.objects.latest("pk"))
    assert "OK 50.0%, WARNING 12.5%, CRITICAL 25.0%, not checked 12.5%" in shown
    assert shown.count("<span") == 4


def test_the_first_page_tells_the_gravest_finding_with_its_number(desk):
    GlobalRisk.objects.all().delete()
    MarketPrice.objects.update(read_at=timezone.now() - timedelta(seconds=200))
    assess_global_risk(clocks=get_clocks())
    (trouble,) = [item for item in gather_page().troubles if item.text.startswith("Global risk")]
    assert trouble.text == "Global risk is CRITICAL"
    assert trouble.detail.startswith(
        "paper-main at binanceusdm: prices older than 180 s (measured 200 s), and "
    )


@pytest.mark.django_db
def test_one_finding_has_no_more_and_an_early_row_has_its_reasons():
    finding = {"account": "lost", "venue": "", "text": "prices unknown", "measured": "unknown"}
    row = GlobalRisk(level="CRITICAL", reasons=["a", "b"], inputs={"findings": [finding]})
    assert tell_gravest(row) == "lost: prices unknown (measured unknown)"
    assert tell_gravest(GlobalRisk(level="CRITICAL", reasons=["a", "b"], inputs={})) == "a; b"


def test_every_measure_has_a_unit():
    assert set(UNITS) == set(MeasureName)
    assert set(UNITS.values()) == {"s", "ratio", "times", "count"}
