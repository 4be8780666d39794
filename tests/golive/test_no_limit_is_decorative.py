"""With every other limit relaxed, each number of profiles.yaml and of the ceiling changes a decision."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from controlplane.yaml_file import YamlMap, load_yaml
from golive.core.ceiling import BOUNDS, apply_ceiling
from golive.core.words import LADDER
from risk.core import gate, triggers
from risk.core.values import CorrelationFacts, Intent, Limits, ReconciliationFacts, Snapshot
from risk.judgement import judge_intent
from risk.limits import get_profiles_path, load_profiles, with_digest
from risk.registration import store_limit_set
from risk.stops.rules import get_stop_rules
from tests.golive.core.test_ceiling import values
from tests.risk import build
from tests.risk import desk as rows
from tests.risk.build import D
from trading.core.values import OrderType
from trading.models import OrderIntent, Permit
from trading.selectors import get_clocks

FAR = 10**9
# So far away that they bind nowhere, in the file's own units.
PROFILE: dict[str, Any] = {
    "reference_capital_usd": FAR,
    "max_position_usd": FAR,
    "max_gross_exposure_usd": FAR,
    "max_net_exposure_usd": FAR,
    "max_leverage": 9999,
    "risk_per_trade_percent": 100,
    "portfolio_risk_percent": 100,
    "daily_loss_percent": 100,
    "weekly_loss_percent": 99,
    "max_positions": 9999,
    "max_trades_per_day": 9999,
    "margin_use_percent": 100,
    "stop_loss_percent.min": 0.01,
    "stop_loss_percent.max": 100,
    "take_profit_percent.min": 0.01,
    "take_profit_percent.max": 100,
}
COMMON: dict[str, Any] = {
    "symbol_share_percent": 100,
    "price_collar_percent": 100,
    "passive_price_collar_percent": 100,
    "taker_fee_percent": 0,
    "major_slippage_percent": 0,
    "other_slippage_percent": 0,
    "orders_per_minute": 9999,
    "bet_correlation": 0.99,
    "bet_risk_percent": 100,
    "rolling_move_percent": 100,
    "price_divergence_percent": 100,
    "spread_percent": 100,
    "depth_share_percent": 900_000,
    "funding_percent": 100,
    "maintenance_margin_percent": 100,
    "major_gap_percent": 0.01,
    "other_gap_percent": 0.01,
    "repeated_entries": 9999,
    "repeat_window_seconds": 1,
    "capital_loss_stop_percent": 100,
    "daily_drawdown_stop_percent": 100,
    "price_age_seconds": FAR,
    "book_price_age_seconds": FAR,
    "signal_age_seconds": FAR,
    "balance_age_seconds": FAR,
    "reconciliation_age_seconds": FAR,
    "venue_setting_age_seconds": FAR,
    "global_risk_age_seconds": FAR,
    "funding_window_seconds": 1,
    "delisting_window_seconds": 1,
}
RELAXED = PROFILE | COMMON


def limits_of(folder, **changes: Any) -> Limits:
    """MICRO of a file with these numbers, and every other one relaxed."""
    numbers = RELAXED | changes
    lines = ["profiles:"]
    for name in LADDER:
        lines.append(f"  {name}:")
        lines += [f"    {key}: {numbers[key]}" for key in PROFILE if "." not in key]
        lines += [
            f"    {band}: {{min: {numbers[f'{band}.min']}, max: {numbers[f'{band}.max']}}}"
            for band in ("stop_loss_percent", "take_profit_percent")
        ]
    lines += ["common:", *(f"  {key}: {numbers[key]}" for key in COMMON)]
    path = folder / "profiles.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return load_profiles(path)["MICRO"]


def asked(**changes: Any) -> Intent:
    """Buy 0.6 SOLUSDT at 150, the mark: 90 USDT, of which 2.25 are at risk; it takes."""
    return build.intent(**({"order_type": OrderType.LIMIT, "price": D(150)} | changes))


def asked_bitcoin() -> Intent:
    """Buy 0.001 BTCUSDT at 100,000: 100 USDT, of which 2.5 are at risk."""
    return asked(
        symbol="BTCUSDT",
        quantity=D("0.001"),
        price=D(100_000),
        stop_loss=D(97_500),
        take_profit=D(105_000),
    )


def known_bitcoin() -> dict[str, Any]:
    named = build.states()
    allotted = build.allotments()
    return {
        "instrument": build.bitcoin(),
        "prices": build.prices(100_000, symbol="BTCUSDT"),
        "allowed_symbols": ("BTCUSDT",),
        "states": (*named[:-1], replace(named[-1], scope="symbol:BTCUSDT")),
        "allotments": (*allotted[:-1], replace(allotted[-1], scope="symbol:BTCUSDT")),
    }


def doge(**changes: Any) -> dict[str, Any]:
    """80 USDT of DOGE are held, of which 2 are at risk."""
    held = {
        "symbol": "DOGEUSDT",
        "strategy": "reversion",
        "quantity": D(400),
        "mark": D("0.2"),
        "stop_price": D("0.195"),
        "target_price": D("0.21"),
    }
    return {"positions": (build.position(**(held | changes)),)}


def poor(equity: int) -> dict[str, Any]:
    anchors = dict.fromkeys(("day", "rolling_day", "week", "rolling_week"), equity)
    return {
        "balance": build.balance(wallet=D(equity), equity=D(equity)),
        "anchors": build.anchors(**anchors),
    }


HALF_APART = (CorrelationFacts(first="DOGEUSDT", second="SOLUSDT", value=D("0.5")),)
SETTLES = {"prices": build.prices(funding_rate=D("0.01"), funding_at=build.MARKET_AT + timedelta(minutes=10))}
OLD = {
    name: getattr(build, clock) - timedelta(seconds=seconds)
    for name, clock, seconds in (
        ("price", "MARKET_AT", 61),
        ("book", "MARKET_AT", 601),
        ("signal", "MARKET_AT", 121),
        ("balance", "WALL_AT", 61),
        ("books", "WALL_AT", 61),
        ("setting", "WALL_AT", 3601),
        ("risk", "WALL_AT", 31),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An order that the relaxed limits allow and the one number denies.

    `beside` are what the number means nothing without: a limit on the risk that a fee adds to.
    """

    number: Any
    intent: Intent = field(default_factory=asked)
    known: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)


SCENES = {
    "reference_capital_usd": Scene(number=2),
    "max_position_usd": Scene(number=80),
    "max_gross_exposure_usd": Scene(number=160, known=doge()),
    "max_net_exposure_usd": Scene(number=160, known=doge()),
    "max_leverage": Scene(number=1, known=doge() | poor(100)),
    "risk_per_trade_percent": Scene(number=0.2),
    "portfolio_risk_percent": Scene(number=0.3, known=doge()),
    "daily_loss_percent": Scene(number=8, known={"anchors": build.anchors(day=1200)}),
    "weekly_loss_percent": Scene(number=8, known={"anchors": build.anchors(week=1200)}),
    "max_positions": Scene(number=1, known=doge()),
    "max_trades_per_day": Scene(number=5, known={"entries_today": 5}),
    "margin_use_percent": Scene(number=80, known={"balance": build.balance(initial_margin=D(1000))}),
    "stop_loss_percent.min": Scene(number=3),
    "stop_loss_percent.max": Scene(number=2),
    "take_profit_percent.min": Scene(number=6),
    "take_profit_percent.max": Scene(number=4),
    "symbol_share_percent": Scene(number=8),
    "price_collar_percent": Scene(number=0.5, intent=asked(price=D(151))),
    "passive_price_collar_percent": Scene(
        number=5, intent=asked(price=D(140), stop_loss=D("136.5"), take_profit=D(147))
    ),
    "taker_fee_percent": Scene(number=0.1, beside={"risk_per_trade_percent": 0.21}),
    "major_slippage_percent": Scene(
        number=1, intent=asked_bitcoin(), known=known_bitcoin(), beside={"risk_per_trade_percent": 0.23}
    ),
    "other_slippage_percent": Scene(number=1, beside={"risk_per_trade_percent": 0.21}),
    "orders_per_minute": Scene(number=12, known={"messages_last_minute": 10}),
    "bet_correlation": Scene(
        number=0.4, known=doge() | {"correlations": HALF_APART}, beside={"bet_risk_percent": 0.3}
    ),
    "bet_risk_percent": Scene(number=0.2),
    "rolling_move_percent": Scene(number=3, known={"prices": build.prices(reference=D(145))}),
    "price_divergence_percent": Scene(number=1, known={"prices": build.prices(last=D(152))}),
    "spread_percent": Scene(number=0.3, known={"prices": build.prices(bid=D("149.4"))}),
    "depth_share_percent": Scene(number=100, known={"prices": build.prices(ask_quantity=D("0.5"))}),
    "funding_percent": Scene(number=0.1, known=SETTLES, beside={"funding_window_seconds": 1800}),
    "funding_window_seconds": Scene(number=1800, known=SETTLES, beside={"funding_percent": 0.1}),
    "maintenance_margin_percent": Scene(
        number=25, known={"balance": build.balance(maintenance_margin=D(330))}
    ),
    "major_gap_percent": Scene(
        number=50, intent=asked_bitcoin(), known=known_bitcoin(), beside={"weekly_loss_percent": 1}
    ),
    "other_gap_percent": Scene(number=50, beside={"weekly_loss_percent": 1}),
    "capital_loss_stop_percent": Scene(
        number=0.95, beside={"weekly_loss_percent": 0.9, "other_gap_percent": 15}
    ),
    "price_age_seconds": Scene(number=60, known={"prices": build.prices(at=OLD["price"])}),
    "book_price_age_seconds": Scene(number=600, known=doge(mark_at=OLD["book"])),
    "signal_age_seconds": Scene(number=120, intent=asked(signal_at=OLD["signal"])),
    "balance_age_seconds": Scene(number=60, known={"balance": build.balance(read_at=OLD["balance"])}),
    "reconciliation_age_seconds": Scene(
        number=60, known={"reconciliation": ReconciliationFacts(symbols=(), finished_at=OLD["books"])}
    ),
    "venue_setting_age_seconds": Scene(number=3600, known={"setting": build.setting(read_at=OLD["setting"])}),
    "global_risk_age_seconds": Scene(
        number=30, known={"global_risk": replace(build.snapshot().global_risk, checked_at=OLD["risk"])}
    ),
    "delisting_window_seconds": Scene(
        number=86400,
        known={"instrument": build.instrument(delists_at=build.MARKET_AT + timedelta(hours=1))},
    ),
}
# These decide elsewhere: at the throttle's latch, and at the emergency stop.
ELSEWHERE = {"repeated_entries", "repeat_window_seconds", "daily_drawdown_stop_percent"}


def decide(scene: Scene, limits: Limits) -> bool:
    permit = build.permit(limit_set_digest=limits.digest)
    snapshot: Snapshot = build.snapshot(**({"permit": permit} | scene.known))
    return gate.decide(scene.intent, snapshot, limits).allowed


def list_numbers(section: YamlMap) -> set[str]:
    found = set()
    for key, value in section.items():
        found |= {f"{key}.{part}" for part in value} if isinstance(value, YamlMap) else {key}
    return found


def test_every_number_of_the_file_has_its_scene():
    file = load_yaml(get_profiles_path())
    numbers = list_numbers(file.section("common"))
    for name in LADDER:
        assert list_numbers(file.section("profiles").section(name)) == PROFILE.keys()
    assert numbers == COMMON.keys()
    assert SCENES.keys() | ELSEWHERE == RELAXED.keys()


@pytest.mark.parametrize("key", SCENES)
def test_one_number_alone_changes_the_decision(tmp_path, key):
    scene = SCENES[key]
    assert decide(scene, limits_of(tmp_path, **scene.beside))
    assert not decide(scene, limits_of(tmp_path, **scene.beside, **{key: scene.number}))


CEILING = {
    "max_position_size_usd": ("max_position_notional", D(80), SCENES["max_position_usd"]),
    "max_leverage": ("max_leverage", D(1), SCENES["max_leverage"]),
    "max_portfolio_risk_percent": ("max_portfolio_risk_ratio", D("0.003"), SCENES["portfolio_risk_percent"]),
    "max_account_risk_percent": ("max_trade_risk_ratio", D("0.002"), SCENES["risk_per_trade_percent"]),
}


@pytest.mark.parametrize("key", BOUNDS)
def test_each_key_of_the_ceiling_alone_changes_the_decision(tmp_path, key):
    name, number, scene = CEILING[key]
    wide = values(**{other: D(FAR) for other, _ in BOUNDS.values()})
    relaxed = limits_of(tmp_path)
    assert decide(scene, apply_ceiling(relaxed, wide))
    assert not decide(scene, with_digest(apply_ceiling(relaxed, replace(wide, **{name: number}))))


def trips(limits: Limits) -> bool:
    """Whether a drawdown of 6 % that stays stops the account."""
    rules, watch, at = get_stop_rules(), triggers.WatchState(), build.MARKET_AT
    verdict = triggers.Verdict.NOTHING
    for number in range(rules.readings):
        reading = triggers.Reading(value=D("0.06"), market_at=at + number * rules.reading_interval)
        watch, verdict = triggers.advance(
            watch,
            reading,
            limits.daily_drawdown_stop_ratio,
            wall_at=build.WALL_AT,
            began_at=build.WALL_AT,
            rules=rules,
        )
    return verdict is triggers.Verdict.TRIP


def test_the_drawdown_stop_changes_when_the_stop_trips(tmp_path):
    assert not trips(limits_of(tmp_path))
    assert trips(limits_of(tmp_path, daily_drawdown_stop_percent=5))


def may_enter_again(limits: Limits) -> bool:
    """Whether a third entry, two seconds after the second and four after the first, is allowed."""
    account, clocks, allowed = rows.make_desk(), get_clocks(), False
    store_limit_set(limits=limits, actor="system:test", reason="limits of the test")
    Permit.objects.filter(account=account).update(limit_set_digest=limits.digest)
    for number in range(3):
        at = clocks.market_at + timedelta(seconds=2 * number)
        intent = rows.ask(account, signal_at=at, order_type=OrderType.LIMIT, price=D(150))
        allowed = judge_intent(intent_id=intent.pk, clocks=replace(clocks, market_at=at)).allowed
        OrderIntent.objects.filter(pk=intent.pk, state="approved").update(state="lapsed")
    return allowed


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("beside", "tight"),
    [
        ({"repeat_window_seconds": 3600}, {"repeated_entries": 2}),
        ({"repeated_entries": 2}, {"repeat_window_seconds": 3600}),
    ],
    ids=["repeated_entries", "repeat_window_seconds"],
)
@pytest.mark.parametrize("is_tight", [False, True], ids=["relaxed", "tight"])
def test_the_throttle_changes_whether_it_may_enter_again(tmp_path, beside, tight, is_tight):
    limits = limits_of(tmp_path, **beside, **(tight if is_tight else {}))
    assert may_enter_again(limits) is not is_tight
