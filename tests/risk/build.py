"""Builders of the gate's values. Everything defaults to *allowed*; a test overrides what it is about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from risk.core.rules.case import LimitedCase, limit_case, open_case
from risk.core.values import (
    ActivityFacts,
    AllotmentFacts,
    Anchor,
    AnchorName,
    BalanceFacts,
    GlobalRiskFacts,
    Intent,
    Limits,
    PendingFacts,
    PendingStage,
    PermitFacts,
    PositionFacts,
    ReconciliationFacts,
    RiskLevel,
    ScopeState,
    SettingFacts,
    Snapshot,
)
from trading.core.values import (
    Environment,
    Instrument,
    OrderPurpose,
    OrderType,
    Prices,
    Side,
    TradingStateName,
)

D = Decimal
# A Wednesday.
MARKET_AT = datetime(2025, 6, 11, 12, 0, tzinfo=UTC)
WALL_AT = datetime(2026, 1, 7, 9, 0, tzinfo=UTC)
DIGEST = "d" * 64


def limits(**changes: Any) -> Limits:
    """MICRO."""
    base = Limits(
        digest=DIGEST,
        profile="MICRO",
        reference_capital=D(1100),
        max_position_notional=D(100),
        max_leverage=D(2),
        max_trade_risk_ratio=D("0.02"),
        max_portfolio_risk_ratio=D("0.1"),
        max_daily_loss_ratio=D("0.005"),
        max_weekly_loss_ratio=D("0.02"),
        max_positions=2,
        max_trades_per_day=20,
        max_margin_ratio=D("0.8"),
        max_symbol_share_ratio=D("0.3"),
        min_stop_ratio=D("0.02"),
        max_stop_ratio=D("0.05"),
        min_target_ratio=D("0.04"),
        max_target_ratio=D("0.15"),
        collar_ratio=D("0.005"),
        passive_collar_ratio=D("0.05"),
        taker_fee_ratio=D("0.0005"),
        major_slippage_ratio=D("0.002"),
        other_slippage_ratio=D("0.005"),
        max_orders_per_minute=60,
        max_gross_exposure=D(200),
        max_net_exposure=D(200),
        max_bet_risk_ratio=D("0.02"),
        bet_correlation=D("0.7"),
        max_rolling_move_ratio=D("0.03"),
        max_divergence_ratio=D("0.01"),
        max_spread_ratio=D("0.003"),
        max_depth_share_ratio=D(5),
        max_funding_ratio=D("0.001"),
        max_maintenance_ratio=D("0.25"),
        major_gap_ratio=D("0.1"),
        other_gap_ratio=D("0.25"),
        max_repeats=10,
        repeat_window=timedelta(hours=1),
        funding_window=timedelta(minutes=30),
        delisting_window=timedelta(hours=24),
        max_capital_loss_ratio=D("0.1"),
        max_daily_drawdown_ratio=D("0.05"),
        max_price_age=timedelta(seconds=60),
        max_book_price_age=timedelta(seconds=600),
        max_signal_age=timedelta(seconds=120),
        max_balance_age=timedelta(seconds=60),
        max_reconciliation_age=timedelta(seconds=60),
        max_setting_age=timedelta(hours=1),
        max_global_risk_age=timedelta(seconds=30),
    )
    return replace(base, **changes)


# So loose that only the limit a test names can bind.
LOOSE = {
    "reference_capital": D(10**9),
    "max_position_notional": D(10**9),
    "max_leverage": D(10**6),
    "max_trade_risk_ratio": D(10**6),
    "max_portfolio_risk_ratio": D(10**6),
    "max_daily_loss_ratio": D(10**6),
    "max_weekly_loss_ratio": D(10**6),
    "max_positions": 10**6,
    "max_trades_per_day": 10**6,
    "max_margin_ratio": D(10**6),
    "max_symbol_share_ratio": D(10**6),
    "max_gross_exposure": D(10**9),
    "max_net_exposure": D(10**9),
    "max_bet_risk_ratio": D(10**6),
    "max_depth_share_ratio": D(10**6),
    "max_capital_loss_ratio": D(10**6),
}


def loose_limits(**changes: Any) -> Limits:
    return limits(**(LOOSE | changes))


def intent(**changes: Any) -> Intent:
    """Buy 0.6 SOLUSDT at market, mark 150: 90 USDT, stop 2.5 % below, target 5 % above."""
    base = Intent(
        intent_id="11111111-1111-1111-1111-111111111111",
        account="main",
        venue="binanceusdm",
        strategy="trend",
        symbol="SOLUSDT",
        side=Side.BUY,
        order_type=OrderType.MARKET,
        purpose=OrderPurpose.ENTRY,
        quantity=D("0.6"),
        price=None,
        stop_loss=D("146.25"),
        take_profit=D("157.5"),
        reduce_only=False,
        signal_at=MARKET_AT - timedelta(seconds=1),
        source="strategy",
    )
    return replace(base, **changes)


def exit_intent(**changes: Any) -> Intent:
    """Sell 0.6 SOLUSDT reduce-only."""
    base: dict[str, Any] = {
        "side": Side.SELL,
        "purpose": OrderPurpose.EXIT,
        "reduce_only": True,
        "stop_loss": None,
        "take_profit": None,
    }
    return intent(**(base | changes))


def instrument(**changes: Any) -> Instrument:
    base = Instrument(
        venue="binanceusdm",
        symbol="SOLUSDT",
        base="SOL",
        is_trading=True,
        tick_size=D("0.01"),
        lot_size=D("0.01"),
        min_quantity=D("0.01"),
        max_quantity=D(1_000_000),
        max_market_quantity=D(80_000),
        min_notional=D(5),
        min_price=D("0.01"),
        max_price=D(100_000),
        delists_at=datetime(2100, 12, 25, 8, 0, tzinfo=UTC),
        max_conditional_orders=10,
    )
    return replace(base, **changes)


def bitcoin() -> Instrument:
    return instrument(
        symbol="BTCUSDT",
        base="BTC",
        tick_size=D("0.1"),
        lot_size=D("0.001"),
        min_quantity=D("0.001"),
        max_quantity=D(1000),
        max_market_quantity=D(120),
        min_notional=D(100),
        min_price=D("0.1"),
        max_price=D(10_000_000),
    )


def prices(mark: Any = 150, **changes: Any) -> Prices:
    mark = D(mark)
    base = Prices(
        symbol="SOLUSDT",
        mark=mark,
        last=mark,
        index=mark,
        bid=mark,
        ask=mark,
        at=MARKET_AT,
        bid_quantity=D(1000),
        ask_quantity=D(1000),
        reference=mark,
        funding_rate=D("0.0001"),
        funding_at=MARKET_AT + timedelta(hours=4),
    )
    return replace(base, **changes)


def balance(**changes: Any) -> BalanceFacts:
    base = BalanceFacts(
        wallet=D(1100),
        equity=D(1100),
        initial_margin=D(0),
        maintenance_margin=D(0),
        market_at=MARKET_AT,
        read_at=WALL_AT - timedelta(seconds=2),
    )
    return replace(base, **changes)


def anchors(**equities: Any) -> tuple[Anchor, ...]:
    """All four at 1100; `anchors(day=D(1000))` changes one."""
    return tuple(
        Anchor(
            name=name,
            equity=D(equities.get(name.value, 1100)),
            net_flow=D(0),
            at=MARKET_AT - timedelta(hours=12),
            is_first_sample=False,
        )
        for name in AnchorName
    )


def states(**changes: TradingStateName) -> tuple[ScopeState, ...]:
    scopes = {
        "all": "all",
        "venue": "venue:binanceusdm",
        "account": "account:main",
        "strategy": "strategy:trend",
        "symbol": "symbol:SOLUSDT",
    }
    return tuple(
        ScopeState(scope=scope, state=changes.get(kind, TradingStateName.ACTIVE), row_id=number, version=1)
        for number, (kind, scope) in enumerate(scopes.items(), start=1)
    )


def permit(**changes: Any) -> PermitFacts:
    base = PermitFacts(
        permit_id=1,
        environment=Environment.PAPER,
        profile="MICRO",
        limit_set_digest=DIGEST,
        fencing_token=7,
        lease_expires_at=WALL_AT + timedelta(seconds=20),
    )
    return replace(base, **changes)


def position(**changes: Any) -> PositionFacts:
    """Long 0.6 SOLUSDT with a verified stop, and a target."""
    base = PositionFacts(
        venue="binanceusdm",
        symbol="SOLUSDT",
        strategy="trend",
        quantity=D("0.6"),
        mark=D(150),
        mark_at=MARKET_AT,
        stop_price=D("146.25"),
        target_price=D("157.5"),
    )
    return replace(base, **changes)


def pending(**changes: Any) -> PendingFacts:
    """An approved entry of another strategy in another symbol."""
    base = PendingFacts(
        intent_id="22222222-2222-2222-2222-222222222222",
        venue="binanceusdm",
        symbol="DOGEUSDT",
        strategy="reversion",
        side=Side.BUY,
        quantity=D(300),
        price=None,
        stop_loss=D("0.195"),
        stage=PendingStage.APPROVED,
        has_fills=False,
        mark=D("0.2"),
        mark_at=MARKET_AT,
    )
    return replace(base, **changes)


def setting(**changes: Any) -> SettingFacts:
    """Twice, isolated; liquidation at 49 %, so stops up to 24.5 %."""
    base = SettingFacts(
        leverage=2,
        margin_mode="isolated",
        max_stop_ratio=D("0.245"),
        read_at=WALL_AT - timedelta(minutes=5),
        is_one_way=True,
        is_single_asset=True,
    )
    return replace(base, **changes)


def activity(**changes: Any) -> ActivityFacts:
    """Nothing entered yet."""
    base = ActivityFacts(
        entries=0, window_started_at=None, throttled_at=None, last_signal_at=None, last_side=""
    )
    return replace(base, **changes)


def allotments(**changes: Any) -> tuple[AllotmentFacts, ...]:
    """The whole desk's limits, far away; `allotments(all=D(50))` changes one, None leaves it out."""
    scopes = {
        "all": "all",
        "venue": "venue:binanceusdm",
        "strategy": "strategy:trend",
        "symbol": "symbol:SOLUSDT",
    }
    parts = {scope: changes.get(kind, D(10**9)) for kind, scope in scopes.items()}
    return tuple(
        AllotmentFacts(scope=scope, max_notional=D(part)) for scope, part in parts.items() if part is not None
    )


def snapshot(**changes: Any) -> Snapshot:
    base = Snapshot(
        wall_at=WALL_AT,
        market_at=MARKET_AT,
        environment=Environment.PAPER,
        account_version=1,
        account_environment=Environment.PAPER,
        states=states(),
        permit=permit(),
        allowed_symbols=("DOGEUSDT", "SOLUSDT"),
        instrument=instrument(),
        setting=setting(),
        prices=prices(),
        balance=balance(),
        anchors=anchors(),
        positions=(),
        pending=(),
        orphan_protections=0,
        entries_today=0,
        reconciliation=ReconciliationFacts(symbols=(), finished_at=WALL_AT - timedelta(seconds=3)),
        global_risk=GlobalRiskFacts(level=RiskLevel.OK, checked_at=WALL_AT - timedelta(seconds=1)),
        messages_last_minute=0,
        conditional_orders=0,
        activity=activity(),
        correlations=(),
        allotments=allotments(),
        overrides=(),
    )
    return replace(base, **changes)


def case(
    asked: Intent | None = None, known: Snapshot | None = None, limited: Limits | None = None
) -> LimitedCase:
    return limit_case(open_case(asked or intent(), known or snapshot()), limited or limits())
