import pytest

from golive.preflight.check_exchange_connectivity import measure
from tests.golive.preflight.conftest import GOLIVE, reasons
from trading.models import VenueSetting
from trading.venues import close_gateways

FUTURES = "/fapi/v1/"


def test_every_item_of_the_primary_is_measured(desk):
    found = measure(GOLIVE)
    assert found.findings == ()
    assert found.details["warnings"] == ["no_failover_candidate"]
    items = found.details["paper-main@binanceusdm"]
    assert set(items) == {
        "reachable",
        "skew_ms",
        "instruments",
        "balance",
        "permissions",
        "position_mode",
        "margin_mode",
        "environment",
        "order_path",
    }
    assert items["permissions"]["can_withdraw"] is False
    assert items["order_path"]["outcome"] == "accepted"
    assert desk.venue_orders("BTCUSDT") == []


def test_a_venue_that_is_down_is_refused_and_the_rest_is_not_asked(desk, settings, free_port):
    settings.SIMULATED_VENUES = {"binanceusdm": f"http://127.0.0.1:{free_port}"}
    close_gateways()
    found = measure(GOLIVE)
    assert reasons(found) == ["refused"]
    assert found.details["paper-main@binanceusdm"]["balance"]["cause"] == "reachable"


def test_a_wrong_key_is_told_apart_from_an_unreachable_venue(desk, monkeypatch):
    monkeypatch.setenv("BINANCE_API_KEY", "not-the-key-of-the-tests")
    close_gateways()
    found = measure(GOLIVE)
    assert set(reasons(found)) == {"auth"}
    assert "reachable" not in {finding.text.split()[1].rstrip(":") for finding in found.findings}
    assert found.findings[0].next.startswith("env | grep")


def test_missing_keys_are_found_before_anything_is_asked(desk, monkeypatch):
    monkeypatch.delenv("BINANCE_API_KEY")
    close_gateways()
    found = measure(GOLIVE)
    assert reasons(found) == ["auth"]
    assert "BINANCE_API_KEY" in found.findings[0].text


def test_a_venue_whose_clock_is_away_is_found(desk):
    desk.fault("drift", milliseconds=5000, times=1_000_000)
    assert "clock" in reasons(measure(GOLIVE))


@pytest.mark.parametrize(
    ("switch", "reason"), [("dual_side", "hedge_mode"), ("multi_assets", "multi_asset_mode")]
)
def test_an_account_in_the_wrong_mode_is_found(desk, switch, reason):
    setattr(desk.venue.engine.state, switch, True)
    assert reason in reasons(measure(GOLIVE))


def test_a_symbol_that_is_no_longer_isolated_is_found(desk):
    VenueSetting.objects.create(
        venue_account=desk.place,
        symbol="ETHUSDT",
        leverage=2,
        margin_mode="isolated",
        read_at="2026-01-01T00:00Z",
    )
    found = measure(GOLIVE)
    assert reasons(found) == ["margin_mode_changed"]
    assert "ETHUSDT" in found.findings[0].text


def test_a_refused_test_order_fails(desk):
    desk.fault("error_before", path="/fapi/v1/order/test", status=400, code=-2019, text="Margin", times=9)
    found = measure(GOLIVE)
    assert reasons(found) == ["order_refused"]
    assert "-2019" in found.findings[0].text


@pytest.mark.django_db
def test_without_an_account_there_is_nothing_to_check():
    assert reasons(measure(GOLIVE)) == ["no_account"]
