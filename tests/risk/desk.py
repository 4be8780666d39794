"""Rows of a desk on which the gate allows: a test changes the one row it is about."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from risk import models
from risk.limits import load_profiles
from risk.registration import ensure_scopes_for_account, store_limit_set
from trading import models as facts
from trading import services as trading
from trading.core.values import Clocks, OrderPurpose, OrderType, Side
from trading.selectors import get_clocks

D = Decimal
VENUE = "binanceusdm"
SYMBOLS = ("BTCUSDT", "DOGEUSDT", "SOLUSDT")
NUMBERS = itertools.count(1)


def make_desk(*, name: str = "main", profile: str = "MICRO") -> facts.Account:
    """An account on paper with everything fresh, limits stored and a permit for a minute."""
    clocks = get_clocks()
    account = trading.open_account(name=name, environment="paper", venues=[VENUE])
    for strategy in ("trend", "reversion"):
        trading.assign_strategy(account=account, strategy=strategy, symbols=SYMBOLS)
    limit_set = store_limit_set(
        limits=load_profiles()[profile], actor="system:test", reason="limits of the test"
    )
    ensure_scopes_for_account(account=account, actor="system:test")
    make_permit(account, limit_set, clocks)
    make_market(clocks)
    refresh(account)
    return account


def make_permit(account: facts.Account, limit_set: models.LimitSet, clocks: Clocks) -> facts.Permit:
    return facts.Permit.objects.create(
        account=account,
        kind="PAPER",
        environment="paper",
        profile=limit_set.profile,
        limit_set_digest=limit_set.digest,
        fencing_token=next(NUMBERS),
        active=True,
        lease_expires_at=clocks.wall_at + timedelta(minutes=10),
    )


def make_market(clocks: Clocks) -> None:
    """Instruments and prices: SOL 150, DOGE 0.2, BTC 100,000."""
    for symbol, mark, lot, tick, least in (
        ("SOLUSDT", "150", "0.01", "0.01", "5"),
        ("DOGEUSDT", "0.2", "1", "0.00001", "5"),
        ("BTCUSDT", "100000", "0.001", "0.1", "100"),
    ):
        facts.Instrument.objects.update_or_create(
            venue=VENUE,
            symbol=symbol,
            defaults={
                "base": symbol.removesuffix("USDT"),
                "is_trading": True,
                "tick_size": D(tick),
                "lot_size": D(lot),
                "min_quantity": D(lot),
                "max_quantity": D(1_000_000),
                "max_market_quantity": D(100_000),
                "min_notional": D(least),
                "min_price": D(tick),
                "max_price": D(10_000_000),
                "delists_at": clocks.market_at + timedelta(days=30_000),
                "max_conditional_orders": 10,
                "read_at": clocks.wall_at,
            },
        )
        set_price(symbol, mark, at=clocks.market_at)


def set_price(symbol: str, mark: Any, *, at: datetime) -> None:
    price = D(mark)
    facts.MarketPrice.objects.update_or_create(
        venue=VENUE,
        symbol=symbol,
        defaults=dict.fromkeys(("mark", "last", "index", "bid", "ask", "reference"), price)
        | dict.fromkeys(("bid_quantity", "ask_quantity"), D(1_000_000))
        | {"funding_rate": D("0.0001"), "funding_at": at + timedelta(hours=4), "at": at, "read_at": at},
    )


def refresh(account: facts.Account, *, equity: Any = 1100) -> None:
    """Fresh balance, reconciliation, venue settings and global risk."""
    clocks = get_clocks()
    place = facts.VenueAccount.objects.get(account=account, priority=0)
    sample_equity(place, equity, market_at=clocks.market_at)
    facts.ReconciliationRun.objects.create(
        venue_account=place, is_clean=True, market_at=clocks.market_at, started_at=clocks.wall_at
    )
    for symbol in SYMBOLS:
        facts.VenueSetting.objects.update_or_create(
            venue_account=place,
            symbol=symbol,
            defaults={
                "leverage": 2,
                "margin_mode": "isolated",
                "max_stop_ratio": D("0.245"),
                "is_one_way": True,
                "is_single_asset": True,
                "read_at": clocks.wall_at,
            },
        )
    models.GlobalRisk.objects.create(level="OK", checked_at=clocks.wall_at, market_at=clocks.market_at)


def sample_equity(place: facts.VenueAccount, equity: Any, *, market_at: datetime) -> facts.EquitySample:
    return facts.EquitySample.objects.create(
        venue_account=place,
        wallet=D(equity),
        equity=D(equity),
        available=D(equity),
        initial_margin=0,
        maintenance_margin=0,
        market_at=market_at,
    )


def place_of(account: facts.Account) -> facts.VenueAccount:
    return facts.VenueAccount.objects.get(account=account, priority=0)


def ask(account: facts.Account, **changes: Any) -> facts.OrderIntent:
    """Register: trend buys 0.6 SOLUSDT at market (90 USDT), stop 2.5 % below, target 5 % above."""
    clocks = get_clocks()
    body: dict[str, Any] = {
        "strategy": "trend",
        "symbol": "SOLUSDT",
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "purpose": OrderPurpose.ENTRY,
        "quantity": D("0.6"),
        "price": None,
        "stop_loss": D("146.25"),
        "take_profit": D("157.5"),
        "reduce_only": False,
        "source": "strategy",
        "client_ref": f"ref-{next(NUMBERS)}",
        "signal_at": clocks.market_at,
    }
    return trading.register_intent(
        account=account, venue_account=place_of(account), market_at=clocks.market_at, **(body | changes)
    )


def ask_doge(account: facts.Account, **changes: Any) -> facts.OrderIntent:
    """Reversion buys 100 DOGEUSDT (20 USDT)."""
    body: dict[str, Any] = {
        "strategy": "reversion",
        "symbol": "DOGEUSDT",
        "quantity": D(100),
        "stop_loss": D("0.195"),
        "take_profit": D("0.21"),
    }
    return ask(account, **(body | changes))


def hold(account: facts.Account, **changes: Any) -> facts.Position:
    """A long position of trend in SOLUSDT, without a stop at the venue."""
    body: dict[str, Any] = {
        "symbol": "SOLUSDT",
        "strategy": "trend",
        "quantity": D("0.3"),
        "entry_price": D(150),
        "opened_at": get_clocks().market_at,
    }
    return facts.Position.objects.create(venue_account=place_of(account), **(body | changes))
