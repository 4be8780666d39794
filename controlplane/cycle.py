"""The trading cycle: recover, observe, propose, judge, dispatch, protect, assess, make ready.

One cycle per account and market bar; the CycleRun row is the claim, so that two workers or a
redelivered task cannot run the same bar twice.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TypedDict, TypeVar

from django.conf import settings
from django.db.models.functions import Now

import risk.services
from controlplane.errors import Conflict, DomainError
from risk.core.values import Limits
from risk.selectors import get_active_limits
from trading import candles, dead_man, locks, market, models, recovery, selectors, services
from trading.core.sizing import plan_entry
from trading.core.values import Bar, OrderPurpose, OrderType, Side
from trading.reconcile import reconcile_venue_account
from trading.strategies import STRATEGIES, Enter, Holding, Leave, View, get_strategy

logger = logging.getLogger(__name__)

T = TypeVar("T")

BAR = timedelta(minutes=1)
# A whole comparison weighs 150 to 300 of the 2,400 that a real venue allows an address in a minute.
OBSERVE_EVERY = timedelta(seconds=5 if settings.TRADING_ENVIRONMENT == "paper" else 20)
ABANDONED_AFTER = timedelta(minutes=5)
SETTINGS_LIVE_FOR = timedelta(minutes=10)
# What is made ready of each kind in one cycle: the rest waits for the next, so that none takes long.
READY_AT_ONCE = 2
# Entries ask for a little less than the cap, so that a tick between sizing and judging does not deny them.
CAP_SHARE = Decimal("0.97")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one strategy wants in one symbol."""

    strategy: str
    symbol: str
    signal: Enter | Leave
    holding: Holding | None


def recover_orders() -> None:
    """Settle what a dead worker left, on every venue account of this environment."""
    rows = selectors.list_venue_accounts().filter(account__environment=settings.TRADING_ENVIRONMENT)
    do_each(rows, _recover)


def _recover(venue_account: models.VenueAccount) -> None:
    recovery.recover_venue_account(venue_account=venue_account, wall_at=selectors.get_clocks().wall_at)


def run_due_cycles() -> None:
    """Run the current bar's cycle of every account that has not had it.

    A bug in one account's cycle is raised when the others have had theirs.
    """
    # No cycle trades before what was stopped without the database is halted here too.
    risk.services.adopt_offline_stops()
    accounts = selectors.list_accounts().filter(environment=settings.TRADING_ENVIRONMENT)
    do_each(accounts, _run_if_due)
    # Last: a cycle that cannot end does not tell the venue that we live.
    dead_man.renew_timers()


def do_each(items: Iterable[T], act: Callable[[T], object]) -> None:
    """Act on every item, whatever becomes of the others; then raise the first failure there was."""
    failures: list[Exception] = []
    for item in items:
        try:
            act(item)
        except Exception as failure:
            logger.exception("%s failed", item)
            failures.append(failure)
    if failures:
        raise failures[0]


def _run_if_due(account: models.Account) -> None:
    run = _claim(account, floor_to_bar(selectors.get_clocks().market_at))
    if run is not None:
        _run(run)


def floor_to_bar(at: datetime) -> datetime:
    """The opening of the market bar that contains the moment."""
    return at - timedelta(seconds=at.timestamp() % BAR.total_seconds())


def _claim(account: models.Account, bar_at: datetime) -> models.CycleRun | None:
    run, is_mine = models.CycleRun.objects.get_or_create(
        account=account, bar_at=bar_at, defaults={"state": "running"}
    )
    if not is_mine:
        return None
    # A cycle that runs no more was killed: its task cannot live this long.
    models.CycleRun.objects.filter(
        account=account, state="running", started_at__lt=Now() - ABANDONED_AFTER
    ).update(state="failed", detail={"code": "worker_died"}, finished_at=Now())
    return run


def _run(run: models.CycleRun) -> None:
    """Trade one bar; a refusal (an unreachable venue, say) fails the cycle, a bug propagates."""
    run.state, run.detail = "failed", {"code": "bug"}
    try:
        run.detail, run.state = dict(_trade(run)), "done"
    except DomainError as refusal:
        logger.warning("cycle %s failed: %s: %s", run, refusal.code, refusal)
        run.detail = {"code": refusal.code, "error": str(refusal)}
    finally:
        models.CycleRun.objects.filter(pk=run.pk).update(
            state=run.state, detail=run.detail, finished_at=Now()
        )


def _trade(run: models.CycleRun) -> Counter[str]:
    venue_account = selectors.get_primary(run.account)
    done: Counter[str] = Counter()
    is_observed = False
    try:
        _refresh_prices(venue_account)
        _reconcile_if_due(venue_account)
        risk.services.assess_global_risk(clocks=selectors.get_clocks())
        is_observed = True
    except DomainError as refusal:
        # What could not be read goes stale and denies entries; a way out must still be tried.
        logger.warning("%s is not observed: %s: %s", venue_account, refusal.code, refusal)
        done[f"unobserved:{refusal.code}"] += 1
    for wish in _collect_wishes(venue_account, run.bar_at):
        done[_try(venue_account, wish, run.bar_at)] += 1
    if is_observed:
        _make_ready(venue_account, run.bar_at)
    return done


def _try(venue_account: models.VenueAccount, wish: Wish, bar_at: datetime) -> str:
    """One symbol that cannot be traded now must not keep another strategy from getting out."""
    try:
        return _act(venue_account, wish, bar_at)
    except DomainError as refusal:
        logger.warning("%s %s: %s: %s", wish.strategy, wish.symbol, refusal.code, refusal)
        return f"skipped:{refusal.code}"


def observe_accounts(*, every: timedelta = OBSERVE_EVERY) -> None:
    """Read prices, balance and book of every primary venue that was not read for `every`.

    Between bars too, so that an outside program's order and the guard's level meet fresh facts.
    """
    accounts = selectors.list_accounts().filter(environment=settings.TRADING_ENVIRONMENT)
    do_each(accounts, partial(_observe, every=every))


def _observe(account: models.Account, *, every: timedelta) -> None:
    try:
        venue_account = selectors.get_primary(account)
        if _is_due(selectors.get_prices_read_at(venue_account), every):
            _refresh_prices(venue_account)
        _reconcile_if_due(venue_account, every)
    except DomainError as refusal:
        logger.warning("%s is not observed: %s: %s", account, refusal.code, refusal)


def _is_due(last_at: datetime | None, every: timedelta) -> bool:
    return last_at is None or selectors.get_clocks().wall_at - last_at >= every


def _refresh_prices(venue_account: models.VenueAccount) -> None:
    market.refresh_prices(
        venue=venue_account.venue,
        account=venue_account.account.name,
        symbols=selectors.list_symbols(venue_account.account),
    )


def _reconcile_if_due(venue_account: models.VenueAccount, every: timedelta = OBSERVE_EVERY) -> None:
    latest = selectors.latest_reconciliation(venue_account)
    if _is_due(None if latest is None else latest.finished_at, every):
        reconcile_venue_account(venue_account=venue_account, market_at=selectors.get_clocks().market_at)


def _collect_wishes(venue_account: models.VenueAccount, bar_at: datetime) -> Iterator[Wish]:
    """Enabled assignments may enter and leave; what is held outside of them may only be left.

    A strategy that is not in the registry is an outside program's: it asks for itself.
    """
    assigned = selectors.list_assignments(venue_account.account)
    pairs = {(row.strategy, s) for row in assigned if row.strategy in STRATEGIES for s in row.symbols}
    held = {(row.strategy, row.symbol) for row in selectors.list_open_positions(venue_account)}
    bars: dict[tuple[str, str], tuple[Bar, ...]] = {}
    for name, symbol in sorted(pairs | {pair for pair in held if pair[0] in STRATEGIES}):
        try:
            wish = _propose(venue_account, name, symbol, bar_at, bars)
        except DomainError as refusal:
            logger.warning("%s %s: not seen: %s: %s", name, symbol, refusal.code, refusal)
            continue
        if wish is not None and ((name, symbol) in pairs or isinstance(wish.signal, Leave)):
            yield wish


def _propose(
    venue_account: models.VenueAccount,
    name: str,
    symbol: str,
    bar_at: datetime,
    bars: dict[tuple[str, str], tuple[Bar, ...]],
) -> Wish | None:
    strategy = get_strategy(name)
    key = (symbol, strategy.interval)
    if key not in bars:
        bars[key] = market.fetch_bars(
            venue=venue_account.venue,
            account=venue_account.account.name,
            symbol=symbol,
            interval=strategy.interval,
            limit=strategy.lookback + 1,
        )
    closed = tuple(bar for bar in bars[key] if bar.open_at < bar_at)
    holding = _get_holding(venue_account, symbol, strategy.name)
    signal = strategy.propose(View(symbol=symbol, bars=closed, holding=holding, market_at=bar_at))
    return None if signal is None else Wish(strategy=name, symbol=symbol, signal=signal, holding=holding)


def _get_holding(venue_account: models.VenueAccount, symbol: str, strategy: str) -> Holding | None:
    position = selectors.get_position(venue_account, symbol)
    if position is None or position.quantity == 0 or position.strategy != strategy:
        return None
    if position.entry_price is None or position.opened_at is None:
        return None
    return Holding(
        side=Side.BUY if position.quantity > 0 else Side.SELL,
        quantity=abs(position.quantity),
        entry_price=position.entry_price,
        opened_at=position.opened_at,
    )


def _act(venue_account: models.VenueAccount, wish: Wish, bar_at: datetime) -> str:
    """Turn a wish into an intent, judge it and, where allowed, send it; returns what became of it."""
    market_at = selectors.get_clocks().market_at
    if isinstance(wish.signal, Enter):
        verb, body = "enter", _entry_body(venue_account, wish.symbol, wish.signal)
    else:
        verb, body = "leave", _exit_body(wish)
    intent = services.register_intent(
        account=venue_account.account,
        venue_account=venue_account,
        strategy=wish.strategy,
        symbol=wish.symbol,
        order_type=OrderType.MARKET,
        price=None,
        source="strategy",
        # The same wish of the same bar is the same intent, however often the cycle runs.
        client_ref=f"{wish.strategy}-{wish.symbol}-{bar_at:%Y%m%d%H%M}-{verb}",
        signal_at=market_at,
        market_at=market_at,
        **body,
    )
    return risk.services.execute_intent(intent_id=intent.id, clocks=selectors.get_clocks()).summary


class WishBody(TypedDict):
    """The part of an intent in which an entry and an exit differ."""

    side: Side
    purpose: OrderPurpose
    quantity: Decimal
    stop_loss: Decimal | None
    take_profit: Decimal | None
    reduce_only: bool
    may_resize: bool


def _entry_body(venue_account: models.VenueAccount, symbol: str, signal: Enter) -> WishBody:
    limits = get_active_limits(venue_account.account)
    prices = market.refresh_prices(
        venue=venue_account.venue, account=venue_account.account.name, symbols=[symbol]
    )[symbol]
    _prepare_symbol(venue_account, symbol, limits)
    plan = plan_entry(
        side=signal.side,
        reference_price=prices.mark,
        notional_cap=limits.max_position_notional * CAP_SHARE,
        stop_ratio=signal.stop_ratio,
        target_ratio=signal.target_ratio,
        instrument=market.get_or_refresh_instrument(venue_account=venue_account, symbol=symbol),
    )
    return WishBody(
        side=signal.side,
        purpose=OrderPurpose.ENTRY,
        quantity=plan.quantity,
        stop_loss=plan.stop_loss,
        take_profit=plan.take_profit,
        reduce_only=False,
        # Where less than the cap is left, less is better than nothing.
        may_resize=True,
    )


def _exit_body(wish: Wish) -> WishBody:
    if wish.holding is None:
        raise Conflict(f"{wish.strategy} wants out of {wish.symbol} but holds nothing there")
    return WishBody(
        side=wish.holding.side.opposite,
        purpose=OrderPurpose.EXIT,
        quantity=wish.holding.quantity,
        stop_loss=None,
        take_profit=None,
        reduce_only=True,
        may_resize=False,
    )


def _prepare_symbol(venue_account: models.VenueAccount, symbol: str, limits: Limits) -> None:
    """Set and read back isolated margin and a leverage safe for every stop that the profile allows.

    Done where that is not known or not fresh. What is held keeps its leverage: changing it would move
    the liquidation of a position that nobody has judged anew. While halted nothing is set at all.
    """
    # The gate measures the stop from the far edge of the collar.
    stop_room = (limits.max_stop_ratio + limits.collar_ratio) / (1 - limits.collar_ratio)
    clocks = selectors.get_clocks()
    if _is_prepared(venue_account, symbol, stop_room, clocks.wall_at) or selectors.is_halted(venue_account):
        return
    # Under the symbol's lock no order leaves for it while its leverage changes.
    with locks.try_hold(locks.symbol_key(venue_account, symbol)) as is_free:
        position = selectors.get_position(venue_account, symbol)
        if not is_free or (position is not None and position.quantity != 0):
            return
        market.prepare_symbol(
            venue_account=venue_account,
            symbol=symbol,
            leverage=int(limits.max_leverage),
            notional=limits.max_position_notional,
            stop_ratio=stop_room,
            market_at=clocks.market_at,
        )


def _is_prepared(
    venue_account: models.VenueAccount, symbol: str, stop_room: Decimal, wall_at: datetime
) -> bool:
    setting = selectors.get_venue_setting(venue_account, symbol)
    if setting is None or (setting.max_stop_ratio or 0) < stop_room:
        return False
    return wall_at - setting.read_at < SETTINGS_LIVE_FOR


def _make_ready(venue_account: models.VenueAccount, bar_at: datetime) -> None:
    """Keep what the gate needs of symbols that nobody here enters: outside programs ask at any time.

    A venue that fails is asked again in the next cycle, beginning with another symbol.
    """
    turn = int(bar_at.timestamp() // BAR.total_seconds())
    try:
        _prepare_assigned(venue_account, turn)
    except DomainError as refusal:
        logger.warning("%s: settings are not ready: %s: %s", venue_account, refusal.code, refusal)
    try:
        _refresh_history(venue_account, turn)
    except DomainError as refusal:
        logger.warning("%s: history is not ready: %s: %s", venue_account, refusal.code, refusal)


def _prepare_assigned(venue_account: models.VenueAccount, turn: int) -> None:
    limits = get_active_limits(venue_account.account)
    fresh_since = selectors.get_clocks().wall_at - SETTINGS_LIVE_FOR
    for symbol in _take_turns(selectors.list_unprepared_symbols(venue_account, fresh_since), turn):
        _prepare_symbol(venue_account, symbol, limits)


def _refresh_history(venue_account: models.VenueAccount, turn: int) -> None:
    """The hours of what is traded or held, once an hour of market time."""
    market_at = selectors.get_clocks().market_at
    symbols = selectors.list_symbols(venue_account.account)
    stale = candles.list_stale_symbols(venue=venue_account.venue, symbols=symbols, market_at=market_at)
    candles.refresh_history(
        venue_account=venue_account, symbols=_take_turns(stale, turn), market_at=market_at
    )


def _take_turns(symbols: list[str], turn: int) -> list[str]:
    """The next few, beginning elsewhere each time: one that cannot be done must not keep others waiting."""
    start = turn % len(symbols) if symbols else 0
    return (symbols[start:] + symbols[:start])[:READY_AT_ONCE]
