"""A desk in the database on which the gate allows: two positions, two pending entries, all fresh.

The rows are those of the tests' desk, the decisions the product's own.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import connection, transaction

from risk.judgement import judge_intent
from risk.limits import load_profiles, with_digest
from risk.models import Decision
from risk.registration import ensure_scopes_for_account, store_limit_set
from tests.risk import desk
from trading import models as facts
from trading import services as trading
from trading.core.values import Clocks, OrderPurpose, OrderType, Side
from trading.selectors import get_clocks, get_primary

D = Decimal
PROFILE = "MEDIUM"
EQUITY = D(12_000)
STRATEGY, SYMBOL = "trend", "SOLUSDT"
# What counts requests would stop a benchmark, which is thousands of orders on one account.
UNCOUNTED = {"max_orders_per_minute": 10**6, "max_trades_per_day": 10**6, "max_repeats": 10**6}
MORE_SYMBOLS = ("X0USDT", "X1USDT")
SHARED_SYMBOLS = tuple(f"Y{number}USDT" for number in range(12))
SHARED_PRICE = 150


def make_account(name: str, **changes: object) -> facts.Account:
    """An account with nothing open, under MEDIUM limits that count no requests."""
    account = desk.make_desk(name=name, profile=PROFILE)
    base = load_profiles()[PROFILE]
    known = {key: value for key, value in (UNCOUNTED | changes).items() if hasattr(base, key)}
    limits = with_digest(replace(base, **known))
    stored = store_limit_set(limits=limits, actor="system:benchmark", reason="limits of the benchmark")
    lease = get_clocks().wall_at + timedelta(days=1)
    facts.Permit.objects.filter(account=account).update(
        limit_set_digest=stored.digest, lease_expires_at=lease
    )
    desk.refresh(account, equity=EQUITY)
    return account


def make_busy_account(name: str) -> facts.Account:
    """The same with two protected positions, an approved entry and an entry resting at the venue."""
    account = make_account(name)
    add_symbols(account, MORE_SYMBOLS)
    for symbol, strategy, quantity, mark in (
        ("BTCUSDT", "trend", D("0.004"), D(100_000)),
        ("DOGEUSDT", "reversion", D(500), D("0.2")),
    ):
        hold(account, symbol=symbol, strategy=strategy, quantity=quantity, mark=mark)
    for symbol in MORE_SYMBOLS:
        judge(ask(account, symbol=symbol, price=D(10)))
    rest(facts.OrderIntent.objects.get(account=account, symbol=MORE_SYMBOLS[1]))
    return account


def add_shared_symbols(account: facts.Account) -> None:
    """More symbols than the account may hold, priced as the order of every benchmark expects."""
    add_symbols(account, SHARED_SYMBOLS, mark=SHARED_PRICE)


def count_approved(account: facts.Account) -> int:
    return facts.OrderIntent.objects.filter(account=account, state="approved").count()


def add_symbols(account: facts.Account, symbols: tuple[str, ...], mark: int = 10) -> None:
    """Symbols that the strategy may trade."""
    clocks = get_clocks()
    trading.assign_strategy(account=account, strategy=STRATEGY, symbols=(*desk.SYMBOLS, *symbols))
    ensure_scopes_for_account(account=account, actor="system:benchmark")
    setting = facts.VenueSetting.objects.get(venue_account=desk.place_of(account), symbol=SYMBOL)
    for symbol in symbols:
        if not facts.Instrument.objects.filter(symbol=symbol).exists():
            copy = facts.Instrument.objects.get(symbol=SYMBOL)
            copy.pk, copy.symbol = None, symbol
            copy.save(force_insert=True)
        desk.set_price(symbol, mark, at=clocks.market_at)
        setting.pk, setting.symbol = None, symbol
        setting.save(force_insert=True)


def hold(account: facts.Account, *, symbol: str, strategy: str, quantity: Decimal, mark: Decimal) -> None:
    """A position with its target, and its stop verified at the venue."""
    stop = mark * D("0.975")
    target = mark * D("1.05")
    levels = {"stop_loss": stop, "take_profit": target}
    entry = desk.ask(account, symbol=symbol, strategy=strategy, quantity=quantity, **levels)
    facts.OrderIntent.objects.filter(pk=entry.pk).update(state="done")
    desk.hold(
        account, symbol=symbol, strategy=strategy, quantity=quantity, entry_price=mark, entry_intent=entry
    )
    facts.Order.objects.create(
        intent=entry,
        venue_account=desk.place_of(account),
        symbol=symbol,
        client_order_id=f"stop{entry.pk.hex[:20]}",
        purpose="stop_loss",
        side="sell",
        order_type="stop_market",
        trigger_price=stop,
        reduce_only=True,
        close_position=True,
        state="open",
        verified_at=get_clocks().wall_at,
        market_at=get_clocks().market_at,
    )


def rest(intent: facts.OrderIntent) -> None:
    """As the door leaves it: sent, and open at the venue."""
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="dispatched")
    facts.Order.objects.create(
        intent=intent,
        venue_account=intent.venue_account,
        symbol=intent.symbol,
        client_order_id=f"entry{intent.pk.hex[:20]}",
        purpose="entry",
        side="buy",
        order_type="limit",
        quantity=intent.quantity,
        price=intent.price,
        reduce_only=False,
        state="open",
        market_at=intent.market_at,
    )


def ask(account: facts.Account, *, symbol: str, price: Decimal, quantity: str = "3") -> facts.OrderIntent:
    levels = {"stop_loss": price * D("0.975"), "take_profit": price * D("1.05")}
    return desk.ask(
        account, symbol=symbol, quantity=D(quantity), price=price, order_type=OrderType.LIMIT, **levels
    )


def register(place: facts.VenueAccount, clocks: Clocks, *, symbol: str = SYMBOL) -> facts.OrderIntent:
    """The order of every benchmark: buy 0.6 SOLUSDT at 150, with a stop and a target."""
    intent = trading.register_intent(**body(place, clocks, symbol))
    assert intent.pk is not None
    return intent


def make(place: facts.VenueAccount, clocks: Clocks, *, symbol: str = SYMBOL) -> facts.OrderIntent:
    """The same, not stored."""
    return trading.make_intent(**body(place, clocks, symbol))


def body(place: facts.VenueAccount, clocks: Clocks, symbol: str) -> dict[str, Any]:
    return {
        "account": place.account,
        "venue_account": place,
        "client_ref": uuid.uuid4().hex,
        "signal_at": clocks.market_at,
        "market_at": clocks.market_at,
        "strategy": STRATEGY,
        "symbol": symbol,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "purpose": OrderPurpose.ENTRY,
        "quantity": D("0.6"),
        "price": D(150),
        "stop_loss": D("146.25"),
        "take_profit": D("157.5"),
        "reduce_only": False,
        "source": "strategy",
    }


def judge(intent: facts.OrderIntent, clocks: Clocks | None = None) -> Decision:
    """The stored decision; it must allow."""
    decision = judge_intent(intent_id=intent.pk, clocks=clocks or get_clocks())
    assert decision.pk is not None
    assert decision.allowed, decision.breaches
    return decision


def place_of(account: facts.Account) -> facts.VenueAccount:
    return get_primary(account)


def keep_fresh(accounts: list[facts.Account]) -> Callable[[], None]:
    return partial(refresh_all, accounts)


def refresh_all(accounts: list[facts.Account]) -> None:
    """Readings as the observer would have made them just now."""
    at = get_clocks().market_at
    facts.MarketPrice.objects.update(at=at, read_at=at)
    for account in accounts:
        desk.refresh(account, equity=EQUITY)


def withdraw(intent: facts.OrderIntent) -> None:
    """Let one lapse that nobody judges."""
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="lapsed")


def forget(account: facts.Account, symbols: tuple[str, ...] = (SYMBOL,)) -> None:
    """Let the approved entries lapse, so that the next order finds the same book; waits for no disk."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        cursor.execute(
            "UPDATE trading_orderintent SET state = 'lapsed' WHERE account_id = %s AND state = 'approved'"
            " AND symbol = ANY (%s)",
            [account.pk, list(symbols)],
        )
