"""Uptime: the guard keeps, for each 60 s slot of market time, whether an account's desk was up.

A slot is up where worker beat, prices and reconciliation were each at most 60 s old (wall time, in which
processes work) when the guard looked. A slot without a row is down. What a look saw holds for the slots
since the look before it, where that was at most 60 s ago: an accelerated market has several between two.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import Count, Q

from golive.models import UptimeSlot
from risk.reducing.freshness import get_prices_age
from trading import selectors
from trading.core.values import Clocks
from trading.models import Account, VenueAccount

SLOT = timedelta(seconds=60)
MAX_AGE = timedelta(seconds=60)
WORKER = "worker"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def record_uptime(*, clocks: Clocks) -> int:
    """One look at every account that may trade here; returns how many slots are new."""
    rows = selectors.list_accounts().filter(
        environment=settings.TRADING_ENVIRONMENT, permits__active=True, venue_accounts__priority=0
    )
    return sum(_record(account, clocks) for account in rows.distinct())


def _record(account: Account, clocks: Clocks) -> int:
    last = UptimeSlot.objects.filter(account=account).order_by("-slot_at").first()
    slots = _list_slots(None if last is None else (last.slot_at, last.at), clocks)
    if not slots:
        return 0
    ages = _measure_ages(account, clocks)
    is_up = all(age is not None and age <= MAX_AGE for age in ages)
    seconds = [None if age is None else age.total_seconds() for age in ages]
    made = UptimeSlot.objects.bulk_create(
        [
            UptimeSlot(
                account=account,
                slot_at=slot,
                worker_age=seconds[0],
                data_age=seconds[1],
                book_age=seconds[2],
                is_up=is_up,
            )
            for slot in slots
        ],
        ignore_conflicts=True,
    )
    return len(made)


def _list_slots(last: tuple[datetime, datetime] | None, clocks: Clocks) -> list[datetime]:
    """The present slot where it has no row, and those before it back to a recent look."""
    present = floor_to_slot(clocks.market_at)
    if last is None:
        return [present]
    slot_at, looked_at = last
    if slot_at >= present:
        return []
    if clocks.wall_at - looked_at > MAX_AGE:
        return [present]
    return [slot_at + SLOT * number for number in range(1, (present - slot_at) // SLOT + 1)]


def floor_to_slot(market_at: datetime) -> datetime:
    return EPOCH + (market_at - EPOCH) // SLOT * SLOT


def _measure_ages(account: Account, clocks: Clocks) -> tuple[timedelta | None, ...]:
    """Worker beat, prices, reconciliation; None is unknown."""
    beat = selectors.list_heartbeats().get(WORKER)
    place = selectors.get_primary(account)
    return (
        None if beat is None else clocks.wall_at - beat.beat_at,
        get_prices_age(account, clocks),
        _measure_book_age(place, clocks),
    )


def _measure_book_age(place: VenueAccount, clocks: Clocks) -> timedelta | None:
    run = selectors.latest_reconciliation(place)
    return None if run is None else clocks.wall_at - run.finished_at


def measure_uptime(
    account: Account, *, since: datetime, until: datetime
) -> tuple[Decimal | None, tuple[str, ...]]:
    """The share of whole slots of market time that were up, with what it is made of; None without a slot."""
    first = -(-(since - EPOCH) // SLOT)
    whole = (until - EPOCH) // SLOT - first
    if whole <= 0:
        return None, ()
    start = EPOCH + first * SLOT
    counts = UptimeSlot.objects.filter(
        account=account, slot_at__gte=start, slot_at__lt=start + whole * SLOT
    ).aggregate(seen=Count("id"), up=Count("id", filter=Q(is_up=True)))
    evidence = (f"slots:{whole}", f"seen:{counts['seen']}", f"up:{counts['up']}")
    return Decimal(counts["up"]) / whole, evidence
