"""The ladder: its numbers, what its file may not say, and what is stored of it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from controlplane.audit.models import AuditEvent
from controlplane.yaml_file import YamlError
from risk import models
from risk.binding import list_binding, list_caps
from risk.core.rules.validity import permits_real_limits
from risk.limits import get_limits, get_profiles_path, limits_of, load_profiles, with_digest
from risk.registration import ProfileUnknown, ensure_limit_set, store_limit_set

D = Decimal
LADDER = {
    # capital, position, leverage, daily, weekly, positions, trades, drawdown stop, capital stop
    "MICRO": ("1100", "100", "2", "0.005", "0.02", 2, 20, "0.015", "0.04"),
    "SMALL": ("3500", "500", "5", "0.01", "0.035", 3, 20, "0.03", "0.07"),
    "MEDIUM": ("12000", "2000", "10", "0.02", "0.07", 5, 40, "0.05", "0.1"),
    "LARGE": ("53000", "10000", "20", "0.035", "0.09", 8, 60, "0.05", "0.1"),
}


@pytest.mark.parametrize("name", LADDER)
def test_the_ladder_has_the_products_numbers(name):
    limits = load_profiles()[name]
    capital, position, leverage, daily, weekly, positions, trades, drawdown, loss = LADDER[name]
    assert limits.reference_capital == D(capital)
    assert limits.max_position_notional == D(position)
    assert limits.max_leverage == D(leverage)
    assert limits.max_daily_loss_ratio == D(daily)
    assert limits.max_weekly_loss_ratio == D(weekly)
    assert (limits.max_positions, limits.max_trades_per_day) == (positions, trades)
    assert limits.daily_drawdown_stop_ratio == D(drawdown)
    assert limits.capital_loss_stop_ratio == D(loss)
    assert limits.max_trade_risk_ratio == D("0.02")
    assert limits.max_portfolio_risk_ratio == D("0.1")
    assert limits.max_margin_ratio == D("0.8")
    assert limits.max_symbol_share_ratio == D("0.3")
    assert (limits.min_stop_ratio, limits.max_stop_ratio) == (D("0.02"), D("0.05"))
    assert (limits.min_target_ratio, limits.max_target_ratio) == (D("0.04"), D("0.15"))
    assert (limits.major_slippage_ratio, limits.other_slippage_ratio) == (D("0.002"), D("0.005"))
    assert permits_real_limits(limits) is None


# Besides the largest position and gross exposure: limits of one side, where all is long, or all is short.
BINDING = {
    "MICRO": {"net exposure"},
    "SMALL": {"net exposure"},
    "MEDIUM": {"net exposure"},
    "LARGE": {"net exposure", "correlated bet", "stressed loss"},
}


@pytest.mark.parametrize("name", LADDER)
def test_at_its_reference_capital_a_position_fits_under_every_other_limit(name):
    caps = {cap.name: cap for cap in list_caps(load_profiles()[name])}
    wanted = caps.pop("max position")
    one_sided = BINDING["LARGE"]
    for cap in caps.values():
        assert cap.one_position >= wanted.one_position
        assert cap.all_positions >= wanted.all_positions or cap.name in one_sided


@pytest.mark.parametrize("name", LADDER)
def test_loading_says_which_limits_can_bind(name):
    found = list_binding(load_profiles()[name])
    assert set(found) == {"max position", "gross exposure"} | BINDING[name]
    assert len(set(found)) == len(found)


def write(tmp_path: Path, old: str, new: str) -> Path:
    text = get_profiles_path().read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "profiles.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("  MICRO:", "  TINY:", "profiles.TINY: unknown key"),
        ("    max_leverage: 2\n", "", "profiles.MICRO.max_leverage: missing"),
        (
            "    max_leverage: 2\n",
            "    max_leverage: 2\n    margin: 1\n",
            "profiles.MICRO.margin: unknown key",
        ),
        ("max_leverage: 2\n", "max_leverage: -2\n", "max_leverage: must be above 0, found -2"),
        ("max_leverage: 2\n", "max_leverage: 2.5\n", "max_leverage: expected a whole number"),
        ("max_position_usd: 100\n", "max_position_usd: 0\n", "max_position_usd: must be above 0, found 0"),
        ("daily_loss_percent: 0.5", "daily_loss_percent: 101", "daily_loss_percent: must be at most 100"),
        ("daily_loss_percent: 0.5", "daily_loss_percent: lots", "daily_loss_percent: expected a number"),
        ("weekly_loss_percent: 9", "weekly_loss_percent: 10", "LARGE.weekly_loss_percent: must be below"),
        ("{min: 2, max: 5}", "{min: 6, max: 5}", "stop_loss_percent.min: must not be above max"),
        ("{min: 2, max: 5}", "{min: 2}", "stop_loss_percent.max: missing"),
        ("taker_fee_percent: 0.05", "taker_fee_percent: -1", "taker_fee_percent: must be above 0"),
        ("price_age_seconds: 60", "price_age_seconds: 0", "price_age_seconds: must be above 0"),
        ("common:", "shared:", "shared: unknown key"),
        ("bet_correlation: 0.7", "bet_correlation: 1", "bet_correlation: must be below 1, found 1"),
        ("depth_share_percent: 500", "depth_share_percent: 0", "depth_share_percent: must be above 0"),
        ("other_gap_percent: 25", "other_gap_percent: 101", "other_gap_percent: must be at most 100"),
        ("    max_net_exposure_usd: 200\n", "", "MICRO.max_net_exposure_usd: missing"),
        ("repeated_entries: 10", "repeated_entries: 1.5", "repeated_entries: expected a whole number"),
    ],
)
def test_a_bad_file_gets_one_line_with_file_line_and_key(tmp_path, old, new, complaint):
    path = write(tmp_path, old, new)
    with pytest.raises(YamlError) as caught:
        load_profiles(path)
    message = str(caught.value)
    assert complaint in message
    assert message.startswith(f"{path}:")
    assert "\n" not in message


def test_the_newer_limits_have_their_numbers():
    micro, large = load_profiles()["MICRO"], load_profiles()["LARGE"]
    assert (micro.max_gross_exposure, micro.max_net_exposure) == (D(200), D(200))
    assert (large.max_gross_exposure, large.max_net_exposure) == (D(80_000), D(40_000))
    assert (micro.max_bet_risk_ratio, micro.bet_correlation) == (D("0.02"), D("0.7"))
    assert (micro.max_depth_share_ratio, micro.max_funding_ratio) == (D(5), D("0.001"))
    assert (micro.max_repeats, micro.repeat_window) == (10, timedelta(hours=1))
    assert (micro.major_gap_ratio, micro.other_gap_ratio) == (D("0.1"), D("0.25"))
    assert micro.delisting_window == timedelta(days=1)


def test_fees_may_be_zero(tmp_path):
    path = write(tmp_path, "taker_fee_percent: 0.05", "taker_fee_percent: 0")
    assert load_profiles(path)["MICRO"].taker_fee_ratio == 0


def test_a_digest_names_the_numbers_and_not_how_they_are_written(tmp_path):
    base = load_profiles()["MICRO"]
    path = write(tmp_path, "daily_loss_percent: 0.5", "daily_loss_percent: 0.500")
    assert load_profiles(path)["MICRO"].digest == base.digest
    changed = with_digest(replace(base, max_positions=3))
    assert changed.digest != base.digest
    assert with_digest(replace(changed, max_positions=2)) == base


@pytest.mark.django_db
def test_a_stored_set_comes_back_as_it_was_and_is_stored_and_audited_once():
    first = ensure_limit_set(profile="MICRO", actor="olga", reason="first load")
    second = ensure_limit_set(profile="MICRO", actor="axel", reason="second load")

    assert first.pk == second.pk
    assert limits_of(models.LimitSet.objects.get(pk=first.pk)) == load_profiles()["MICRO"]
    assert get_limits(first.digest) == load_profiles()["MICRO"]
    event = AuditEvent.objects.get(action="risk.limits_load")
    assert (event.subject_id, event.actor, event.reason) == (first.digest, "olga", "first load")


@pytest.mark.django_db
def test_an_unknown_profile_or_digest_is_said_to_be_unknown():
    with pytest.raises(ProfileUnknown):
        ensure_limit_set(profile="HUGE", actor="olga")
    assert get_limits("0" * 64) is None


@pytest.mark.django_db
def test_the_application_cannot_change_a_stored_set():
    row = store_limit_set(limits=load_profiles()["SMALL"], actor="system:test", reason="a test")
    for statement in ("UPDATE risk_limitset SET max_positions = 99", "DELETE FROM risk_limitset"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    row.refresh_from_db()
    assert row.max_positions == 3
