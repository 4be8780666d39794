import pytest

from golive.preflight.check_exchange_connectivity import JUDGES, measure
from tests.golive.preflight.conftest import GOLIVE, reasons
from trading.market import ProbeItem, VenueProbe
from trading.models import Account, VenueSetting
from trading.venues import close_gateways


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


def judge_item(name: str, facts: dict[str, object], *, environment: str = "paper") -> str | None:
    item = ProbeItem(name=name, facts=facts)
    probe = VenueProbe(venue="binanceusdm", account="main", items=(item,))
    said = JUDGES[name](facts, probe, Account(name="main", environment=environment))
    return None if said is None else said[0]


KEY = {"can_trade_futures": True, "can_withdraw": False, "can_transfer": False, "is_bound_to_address": True}


@pytest.mark.parametrize(
    ("facts", "environment", "reason"),
    [
        (KEY, "live", None),
        (KEY | {"can_withdraw": True}, "live", "key_may_withdraw"),
        (KEY | {"can_withdraw": True}, "paper", "key_may_withdraw"),
        (KEY | {"can_trade_futures": False}, "live", "key_may_not_trade"),
        ({"state": "not applicable"}, "demo", None),
        ({"state": "not applicable"}, "live", "permissions_unknown"),
    ],
)
def test_a_key_may_trade_and_nothing_else(settings, facts, environment, reason):
    settings.TRADING_ENVIRONMENT = environment
    assert judge_item("permissions", facts, environment=environment) == reason


@pytest.mark.parametrize(
    ("desk_runs_in", "account_is_for", "endpoint", "reason"),
    [
        ("paper", "paper", "http://127.0.0.1:8101", None),
        ("live", "live", "https://fapi.binance.com", None),
        ("demo", "demo", "https://demo-fapi.binance.com", None),
        ("paper", "paper", "https://fapi.binance.com", "environment_mismatch"),
        ("live", "live", "http://127.0.0.1:8101", "environment_mismatch"),
        ("live", "live", "http://fapi.binance.com", "environment_mismatch"),
        ("live", "paper", "https://fapi.binance.com", "environment_mismatch"),
    ],
)
def test_the_one_switch_decides_where_orders_go(settings, desk_runs_in, account_is_for, endpoint, reason):
    settings.TRADING_ENVIRONMENT = desk_runs_in
    facts = {"environment": desk_runs_in, "endpoint": endpoint}
    assert judge_item("environment", facts, environment=account_is_for) == reason


def test_a_skew_within_a_second_is_none():
    assert judge_item("skew_ms", {"skew_ms": -1000}) is None
    assert judge_item("skew_ms", {"skew_ms": 1001}) == "clock"


def test_a_symbol_that_the_venue_does_not_trade_is_named():
    assert judge_item("instruments", {"trading": 3, "missing": ""}) is None
    assert judge_item("instruments", {"trading": 3, "missing": "BNBUSDT"}) == "symbol_not_trading"
