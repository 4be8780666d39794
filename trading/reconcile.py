"""Our book against the venue's: orders, fills, positions, protections, balance, income.

An absent reading is unknown, not zero: what differs is worked on and read a second time, and only
what differs in the same way twice is a mismatch. Symbols that a worker is busy with are left out.
"""

import logging
from collections.abc import Set
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from controlplane.errors import Unavailable
from trading import ledger, locks, models, selectors, trips
from trading.core.lifecycle import is_never_placed
from trading.core.reconciliation import (
    BookView,
    Difference,
    DifferenceKind,
    compare_books,
    confirm,
)
from trading.core.values import (
    BalanceReport,
    OrderPurpose,
    OrderReport,
    OrderState,
    PositionReport,
)
from trading.dispatch.orders import open_venue
from trading.dispatch.protecting import PROTECTIONS, restore
from trading.dispatch.settling import cancel_stray, settle
from trading.metrics import RECONCILIATION_AGE_SECONDS, RECONCILIATION_MISMATCHES_TOTAL
from trading.venues.gateway import Gateway, VenueError

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=10)
# How far back fills and income are read again: what comes late is still found.
OVERLAP = timedelta(minutes=10)
FIRST_LOOK_BACK = timedelta(days=1)
# The venue tells fills of the last seven days; what is older stays a mismatch.
MAX_LOOK_BACK = timedelta(days=6)
TRADING_INCOME = ("REALIZED_PNL", "COMMISSION")

MEASURE_AGE = """
SELECT CASE WHEN count(r.last_at) = count(*) THEN extract(epoch FROM %(wall_at)s - min(r.last_at)) END
FROM trading_venueaccount v LEFT JOIN LATERAL (
  SELECT max(finished_at) AS last_at FROM trading_reconciliationrun WHERE venue_account_id = v.id
) r ON true WHERE v.account_id = %(account)s
"""


class ReconciliationRunning(Unavailable):
    """Another process is comparing this account's book right now."""

    code = "reconciliation_running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the venue said; `traded_symbols` are those of income that is new to us."""

    orders: tuple[OrderReport, ...]
    positions: tuple[PositionReport, ...]
    balance: BalanceReport
    traded_symbols: frozenset[str]


def reconcile_venue_account(
    *, venue_account: models.VenueAccount, market_at: datetime
) -> models.ReconciliationRun:
    """Compare, repair what can be repaired, compare again, and store what remains.

    Missing fills are booked, missing protections placed (or the position closed), orphans cancelled;
    what is not ours is reported and left to a person. Raises VenueError where the venue does not
    answer: then nothing is concluded and no run is stored. Raises ReconciliationRunning.
    """
    try:
        with locks.hold(locks.reconciliation_key(venue_account), patience=PATIENCE):
            return _reconcile(venue_account, market_at)
    except locks.LockBusy as busy:
        raise ReconciliationRunning(f"{venue_account}: a reconciliation is running") from busy


def _reconcile(venue_account: models.VenueAccount, market_at: datetime) -> models.ReconciliationRun:
    started_at = selectors.get_clocks().wall_at
    gateway = open_venue(venue_account)
    adopted: list[models.Fill] = []
    with ExitStack() as held:
        reading = _read(venue_account, gateway, market_at)
        busy = _lock_symbols(held, venue_account, reading)
        found = _compare(venue_account, reading, busy)
        if found or reading.traded_symbols - busy:
            adopted = _repair(venue_account, gateway, reading, busy, market_at)
            reading = _read(venue_account, gateway, market_at)
            found = confirm(found, _compare(venue_account, reading, busy))
        _record_equity(venue_account, gateway, reading, market_at)
    return _store(venue_account, (*found, *map(_report_fill, adopted)), market_at, started_at, len(adopted))


def measure_reconciliation_age(*, account: models.Account, wall_at: datetime) -> float:
    """Seconds since the account's worst venue was compared, also as a metric; infinite if never."""
    with connection.cursor() as cursor:
        cursor.execute(MEASURE_AGE, {"wall_at": wall_at, "account": account.pk})
        (seconds,) = cursor.fetchone()
    age = float("inf") if seconds is None else float(seconds)
    RECONCILIATION_AGE_SECONDS.labels(account=account.name).set(age)
    return age


# Reading ------------------------------------------------------------------------------------------


def _read(venue_account: models.VenueAccount, gateway: Gateway, market_at: datetime) -> Reading:
    """One look at the venue, income first: money that moves after it shows in the second look."""
    new = _read_income(venue_account, gateway, market_at)
    return Reading(
        orders=gateway.fetch_open_orders(),
        positions=gateway.fetch_positions(),
        balance=gateway.fetch_balance(),
        traded_symbols=frozenset(row.symbol for row in new if row.kind in TRADING_INCOME),
    )


def _read_income(
    venue_account: models.VenueAccount, gateway: Gateway, market_at: datetime
) -> list[models.Income]:
    """Store and return the income that is new since the last known row."""
    last = models.Income.objects.filter(venue_account=venue_account).order_by("-market_at").first()
    since = market_at - FIRST_LOOK_BACK if last is None else last.market_at - OVERLAP
    return ledger.record_income(venue_account=venue_account, rows=gateway.fetch_income(since=since))


def _lock_symbols(held: ExitStack, venue_account: models.VenueAccount, reading: Reading) -> set[str]:
    """Take the lock of every symbol concerned that is free; returns those that are not."""
    symbols = sorted(_list_symbols(venue_account, reading))
    return {
        symbol
        for symbol in symbols
        if not held.enter_context(locks.try_hold(locks.symbol_key(venue_account, symbol)))
    }


def _list_symbols(venue_account: models.VenueAccount, reading: Reading) -> set[str]:
    """Symbols that anything is known of, at the venue or with us."""
    held = selectors.list_open_positions(venue_account).values_list("symbol", flat=True)
    unsettled = selectors.list_unsettled_orders(venue_account).values_list("symbol", flat=True)
    theirs = {report.symbol for report in reading.orders} | {report.symbol for report in reading.positions}
    return {*held, *unsettled, *theirs, *reading.traded_symbols}


# Repairing ----------------------------------------------------------------------------------------


def _repair(
    venue_account: models.VenueAccount,
    gateway: Gateway,
    reading: Reading,
    busy: Set[str],
    market_at: datetime,
) -> list[models.Fill]:
    """Settle, adopt, protect and clear on every symbol that we hold the lock of."""
    resting = {report.client_order_id for report in reading.orders}
    untold = _list_untold(venue_account, reading)
    adopted: list[models.Fill] = []
    for symbol in sorted(_list_symbols(venue_account, reading) - busy):
        for order in selectors.list_unsettled_orders(venue_account, symbol):
            if order.client_order_id not in resting or order.state != OrderState.OPEN:
                settle(order, gateway)
        _cancel_strays(venue_account, gateway, reading, symbol)
        if symbol in untold:
            adopted += _adopt(venue_account, gateway, symbol, market_at - MAX_LOOK_BACK)
        _check_stop(venue_account, symbol)
        try:
            restore(venue_account, symbol, gateway)
        except VenueError as error:
            logger.warning("%s %s: not repaired yet: %s", venue_account, symbol, error)
    return adopted


def _cancel_strays(
    venue_account: models.VenueAccount, gateway: Gateway, reading: Reading, symbol: str
) -> None:
    """An order of ours that we hold to be over and that rests all the same must not stay."""
    reports = {report.client_order_id: report for report in reading.orders if report.symbol == symbol}
    rows = models.Order.objects.filter(venue_account=venue_account, client_order_id__in=reports)
    for order in rows.exclude(state__in=selectors.UNSETTLED):
        cancel_stray(order, reports[order.client_order_id], gateway)


def _list_untold(venue_account: models.VenueAccount, reading: Reading) -> set[str]:
    """Symbols that traded, or whose position differs: there may be fills that we do not know."""
    ours = _get_quantities(venue_account)
    theirs = {report.symbol: report.quantity for report in reading.positions}
    differing = {s for s in ours.keys() | theirs.keys() if ours.get(s, 0) != theirs.get(s, 0)}
    return differing | reading.traded_symbols


def _get_quantities(venue_account: models.VenueAccount) -> dict[str, Decimal]:
    return dict(selectors.list_open_positions(venue_account).values_list("symbol", "quantity"))


def _adopt(
    venue_account: models.VenueAccount, gateway: Gateway, symbol: str, earliest_at: datetime
) -> list[models.Fill]:
    """Book every fill of the symbol that we do not know; returns those of no order of ours.

    While an order of ours is unknown nothing is adopted: the fill may be its. Before the first equity
    sample nothing is ours: what was held then is a mismatch for a person to solve.
    """
    unknown = selectors.list_unsettled_orders(venue_account, symbol).filter(
        state__in=[OrderState.SENDING, OrderState.UNKNOWN]
    )
    first = _get_first_sample(venue_account)
    wall_at = selectors.get_clocks().wall_at
    if first is None or any(not is_given_up(order, wall_at) for order in unknown):
        return []
    since = max(earliest_at, _choose_start(venue_account, first))
    # The venue counts in milliseconds, so that it may tell one from just before.
    fills = [fill for fill in gateway.fetch_fills(symbol, since=since) if fill.at > first.market_at]
    booked = ledger.apply_fills(venue_account=venue_account, fills=fills, adopt=True)
    return [fill for fill in booked if fill.order_id is None]


def is_given_up(order: models.Order, wall_at: datetime) -> bool:
    """Whether only the position keeps an order that is not found from being NEVER_PLACED."""
    return is_never_placed(
        sent_at=order.sent_at, wall_at=wall_at, lookups=order.lookups, is_position_unchanged=True
    )


def _get_first_sample(venue_account: models.VenueAccount) -> models.EquitySample | None:
    return models.EquitySample.objects.filter(venue_account=venue_account).order_by("id").first()


def _choose_start(venue_account: models.VenueAccount, first: models.EquitySample) -> datetime:
    """The last clean comparison, with an overlap, but not before the first sample (market time)."""
    clean = models.ReconciliationRun.objects.filter(venue_account=venue_account, is_clean=True)
    last = clean.order_by("-finished_at").first()
    return first.market_at if last is None else max(first.market_at, last.market_at - OVERLAP)


def _check_stop(venue_account: models.VenueAccount, symbol: str) -> None:
    """What we hold without a stop that was read back counts as unprotected, from now at the latest."""
    position = selectors.get_position(venue_account, symbol)
    if position is None or position.quantity == 0:
        return
    stops = selectors.list_unsettled_orders(venue_account, symbol).filter(
        purpose=OrderPurpose.STOP_LOSS, state=OrderState.OPEN, verified_at__isnull=False
    )
    if not stops.exists():
        trips.mark_unprotected(position)


# Comparing ----------------------------------------------------------------------------------------


def _compare(venue_account: models.VenueAccount, reading: Reading, busy: Set[str]) -> tuple[Difference, ...]:
    theirs = _view_theirs(venue_account, reading)
    return compare_books(ours=_view_ours(venue_account), theirs=theirs, busy=busy)


def _view_ours(venue_account: models.VenueAccount) -> BookView:
    rows = selectors.list_unsettled_orders(venue_account).filter(state=OrderState.OPEN)
    expected = _expect_wallet(venue_account)
    resting = dict(rows.values_list("client_order_id", "symbol"))
    foreign = selectors.list_open_positions(venue_account).filter(strategy=trips.FOREIGN)
    return BookView(
        positions=_get_quantities(venue_account),
        orders=resting,
        stops=frozenset(),
        protections={},
        wallet=None if expected is None else expected[0],
        foreign_symbols=frozenset(foreign.values_list("symbol", flat=True)),
    )


def _view_theirs(venue_account: models.VenueAccount, reading: Reading) -> BookView:
    held = {report.symbol: report.quantity for report in reading.positions if report.quantity}
    return BookView(
        positions=held,
        orders={report.client_order_id: report.symbol for report in reading.orders},
        stops=frozenset(
            report.symbol
            for report in reading.orders
            if report.close_position and report.side.sign * held.get(report.symbol, Decimal(0)) < 0
        ),
        protections=_list_protections(venue_account, reading.orders),
        wallet=reading.balance.wallet,
    )


def _list_protections(venue_account: models.VenueAccount, reports: tuple[OrderReport, ...]) -> dict[str, str]:
    """Our own stops and targets among what rests at the venue."""
    ours = models.Order.objects.filter(
        venue_account=venue_account,
        client_order_id__in=[report.client_order_id for report in reports],
        purpose__in=PROTECTIONS,
    )
    return dict(ours.values_list("client_order_id", "symbol"))


def _expect_wallet(venue_account: models.VenueAccount) -> tuple[Decimal, int] | None:
    """The wallet of the first sample and every income since (USDT), and the last income row in it.

    None before there is a sample. Each run keeps the sum as far as it went, so that the next one adds
    only what is new: what the venue said the wallet was never comes into it.
    """
    runs = models.ReconciliationRun.objects.filter(venue_account=venue_account)
    last = runs.filter(wallet_expected__isnull=False).order_by("-finished_at", "-id").first()
    if last is not None and last.wallet_expected is not None and last.income_id is not None:
        change, newest = ledger.sum_income(venue_account, after_id=last.income_id)
        return last.wallet_expected + change, newest
    first = _get_first_sample(venue_account)
    if first is None:
        return None
    change, newest = ledger.sum_income(venue_account, after=first.at)
    return first.wallet + change, newest


# Storing ------------------------------------------------------------------------------------------


def _record_equity(
    venue_account: models.VenueAccount, gateway: Gateway, reading: Reading, market_at: datetime
) -> None:
    """Store the sample; the first, from which wallets are measured, only if no money moved meanwhile."""
    is_first = selectors.latest_equity(venue_account) is None
    if is_first and _read_income(venue_account, gateway, market_at):
        return
    ledger.record_equity(venue_account=venue_account, balance=reading.balance, market_at=market_at)


def _report_fill(fill: models.Fill) -> Difference:
    return Difference(
        kind=DifferenceKind.FOREIGN_FILL, symbol=fill.symbol, ours="not ours", theirs=fill.venue_fill_id
    )


def _store(
    venue_account: models.VenueAccount,
    found: tuple[Difference, ...],
    market_at: datetime,
    started_at: datetime,
    adopted: int,
) -> models.ReconciliationRun:
    wallet, income_id = _expect_wallet(venue_account) or (None, None)
    run = models.ReconciliationRun.objects.create(
        venue_account=venue_account,
        is_clean=not found,
        adopted_fills=adopted,
        differences=[_describe(item) for item in found],
        market_at=market_at,
        started_at=started_at,
        wallet_expected=wallet,
        income_id=income_id,
    )
    run.refresh_from_db()
    account = venue_account.account
    for item in found:
        RECONCILIATION_MISMATCHES_TOTAL.labels(account=account.name, kind=item.kind.value).inc()
    measure_reconciliation_age(account=account, wall_at=run.finished_at)
    return run


def _describe(item: Difference) -> dict[str, str]:
    return {"kind": item.kind.value, "symbol": item.symbol, "ours": item.ours, "theirs": item.theirs}
