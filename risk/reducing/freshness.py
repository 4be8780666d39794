"""What an account's trading stands on, and whether it is fresh: balance, book, prices, lease."""

from datetime import timedelta

from risk.core.values import Limits, Snapshot
from trading import selectors
from trading.core.values import Clocks
from trading.models import Account, MarketPrice

BALANCE, BOOK, PRICES, LEASE = "balance", "reconciliation", "prices", "lease"
ITEMS = (BALANCE, BOOK, PRICES, LEASE)


class Freshness:
    """What this process has seen fresh of each account: a desk that starts has seen nothing yet."""

    def __init__(self) -> None:
        self._seen: dict[int, set[str]] = {}

    def note(self, account_id: int, stale: tuple[str, ...]) -> frozenset[str]:
        """Remember what is fresh now; returns everything that was ever fresh."""
        seen = self._seen.setdefault(account_id, set())
        seen.update(item for item in ITEMS if item not in stale)
        return frozenset(seen)


FRESHNESS = Freshness()


def find_stale(account: Account, facts: Snapshot | None, limits: Limits, clocks: Clocks) -> tuple[str, ...]:
    """What is missing or older than the limits allow, of the account's primary venue."""
    if facts is None:
        return ITEMS
    balance, book, permit = facts.balance, facts.reconciliation, facts.permit
    wall_at = clocks.wall_at
    fresh = {
        BALANCE: balance is not None and wall_at - balance.read_at <= limits.max_balance_age,
        BOOK: book is not None and wall_at - book.finished_at <= limits.max_reconciliation_age,
        PRICES: _are_prices_fresh(account, limits.max_balance_age, clocks),
        LEASE: permit is not None and permit.lease_expires_at > wall_at,
    }
    return tuple(item for item in ITEMS if not fresh[item])


def _are_prices_fresh(account: Account, max_age: timedelta, clocks: Clocks) -> bool:
    age = get_prices_age(account, clocks)
    return age is not None and age <= max_age


def get_prices_age(account: Account, clocks: Clocks) -> timedelta | None:
    """Since the stalest price of a traded or held symbol was read, or the venue's own time moved.

    None while a price is missing; 0 where nothing is traded or held. Between two looks at an accelerated
    market much of its time passes: that is counted by the wall.
    """
    place, symbols = selectors.get_primary(account), selectors.list_symbols(account)
    rows = list(MarketPrice.objects.filter(venue=place.venue, symbol__in=symbols))
    if len(rows) < len(symbols):
        return None
    clock = selectors.get_market_clock()
    speed = 1 if clock is None or clock.speed < 1 else clock.speed
    return max(
        (max(clocks.wall_at - row.read_at, (clocks.market_at - row.at) / speed) for row in rows),
        default=timedelta(0),
    )
