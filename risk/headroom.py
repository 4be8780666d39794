"""How much of each limit an account has used: facts for people, not the gate's own measures.

The gate judges an order with everything pending at its worst; this is the book as it stands.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum

from risk.core.values import AnchorName, Limits
from risk.limits import get_limits
from risk.snapshot import FLOW_KINDS, anchor_times
from trading import models, selectors
from trading.core.values import Clocks

ZERO = Decimal(0)
# Losses are warned of early; a size may fill its limit, and mostly does.
LOSSES = frozenset({"daily_loss", "weekly_loss"})
WARN_FROM = 50
BAD_FROM = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadroomRow:
    """One limit; `measured` None is not known, which denies whatever adds risk.

    `unit` is "usd", "ratio" (0.02 is 2 %), "times" or "count".
    """

    name: str
    title: str
    unit: str
    measured: Decimal | None
    limit: Decimal

    @property
    def headroom(self) -> Decimal | None:
        return None if self.measured is None else max(ZERO, self.limit - self.measured)

    @property
    def used_percent(self) -> int | None:
        """0 to 100, for a bar."""
        if self.measured is None or self.limit <= 0:
            return None
        return min(100, int(self.measured / self.limit * 100))

    @property
    def tone(self) -> str:
        """The colour of the bar: good, warn or bad."""
        used = self.used_percent
        if used is None:
            return "bad"
        if self.name not in LOSSES:
            return "warn" if used >= 100 else "good"
        return "bad" if used >= BAD_FROM else "warn" if used >= WARN_FROM else "good"

    @property
    def shown_measured(self) -> str:
        return "not known" if self.measured is None else show(self.measured, self.unit)

    @property
    def shown_limit(self) -> str:
        return show(self.limit, self.unit)


def show(value: Decimal, unit: str) -> str:
    if unit == "usd":
        return f"{value:,.2f}"
    if unit == "ratio":
        return f"{value * 100:.2f} %"
    return f"{value:.2f} x" if unit == "times" else f"{value:f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The account's equity over all its venues; None where one venue's is not known."""

    equity: Decimal | None
    wallet: Decimal | None
    initial_margin: Decimal | None


def get_account_limits(account: models.Account) -> Limits | None:
    """The limits of the active permit; None without one."""
    permit = selectors.get_active_permit(account)
    return None if permit is None else get_limits(permit.limit_set_digest)


def measure_headroom(account: models.Account, clocks: Clocks) -> list[HeadroomRow]:
    """Every limit that a book uses up; nothing for an account without a permit."""
    limits = get_account_limits(account)
    if limits is None:
        return []
    places = list(selectors.list_venue_accounts(account))
    money = _add_up(places)
    notionals = _list_notionals(places)
    sizes = [size for size in notionals.values() if size is not None]
    is_priced = len(sizes) == len(notionals)
    gross, largest = (sum(sizes, ZERO), max(sizes, default=ZERO)) if is_priced else (None, None)
    times = anchor_times(clocks.market_at)
    day = _worst_loss(places, money, clocks, (AnchorName.DAY, AnchorName.ROLLING_DAY))
    week = _worst_loss(places, money, clocks, (AnchorName.WEEK, AnchorName.ROLLING_WEEK))
    entries = Decimal(selectors.count_entries_since(account, times[AnchorName.DAY]))
    largest = (
        None if None in notionals.values() else max((n or ZERO for n in notionals.values()), default=ZERO)
    )
    return [
        _row("largest_position", "Largest position", "usd", largest, limits.max_position_notional),
        _row("leverage", "Leverage", "times", _share(gross, _for_risk(money, limits)), limits.max_leverage),
        _row("positions", "Open positions", "count", Decimal(len(notionals)), Decimal(limits.max_positions)),
        _row("trades_per_day", "Trades today", "count", entries, Decimal(limits.max_trades_per_day)),
        _row("daily_loss", "Daily loss", "ratio", day, limits.max_daily_loss_ratio),
        _row("weekly_loss", "Weekly loss", "ratio", week, limits.max_weekly_loss_ratio),
        _row(
            "margin_use",
            "Margin in use",
            "ratio",
            _share(money.initial_margin, money.equity),
            limits.max_margin_ratio,
        ),
    ]


def _row(name: str, title: str, unit: str, measured: Decimal | None, limit: Decimal) -> HeadroomRow:
    return HeadroomRow(name=name, title=title, unit=unit, measured=measured, limit=limit)


def _share(part: Decimal | None, whole: Decimal | None) -> Decimal | None:
    return None if part is None or whole is None or whole <= 0 else part / whole


def _for_risk(money: Money, limits: Limits) -> Decimal | None:
    """E_r: the least of equity, wallet and approved capital (RISK.md part 1)."""
    if money.equity is None or money.wallet is None:
        return None
    return min(money.equity, money.wallet, limits.reference_capital)


def _add_up(places: Iterable[models.VenueAccount]) -> Money:
    samples = [selectors.latest_equity(place) for place in places]
    known = [sample for sample in samples if sample is not None]
    if not known or len(known) < len(samples):
        return Money(equity=None, wallet=None, initial_margin=None)
    return Money(
        equity=sum((sample.equity for sample in known), ZERO),
        wallet=sum((sample.wallet for sample in known), ZERO),
        initial_margin=sum((sample.initial_margin for sample in known), ZERO),
    )


def _list_notionals(places: Iterable[models.VenueAccount]) -> dict[tuple[str, str], Decimal | None]:
    """Notional of each open position at the stored mark price; None where there is no price."""
    found: dict[tuple[str, str], Decimal | None] = {}
    for place in places:
        positions = list(selectors.list_open_positions(place))
        prices = selectors.list_prices(place.venue, [row.symbol for row in positions])
        for row in positions:
            price = prices.get(row.symbol)
            found[place.venue, row.symbol] = None if price is None else abs(row.quantity) * price.mark
    return found


def _worst_loss(
    places: Iterable[models.VenueAccount], money: Money, clocks: Clocks, names: Iterable[AnchorName]
) -> Decimal | None:
    """max over the anchors of max(0, (E_a + F - E) / E_a) (RISK.md part 1)."""
    if money.equity is None:
        return None
    times = anchor_times(clocks.market_at)
    worst = ZERO
    for name in names:
        anchor = flow = ZERO
        for place in places:
            sample = selectors.equity_at(place, times[name])
            if sample is None:
                return None
            anchor += sample.equity
            flow += _net_flow(place, sample)
        if anchor <= 0:
            return None
        worst = max(worst, (anchor + flow - money.equity) / anchor)
    return worst


def _net_flow(place: models.VenueAccount, since: models.EquitySample) -> Decimal:
    rows = models.Income.objects.filter(
        venue_account=place, kind__in=FLOW_KINDS, market_at__gt=since.market_at
    )
    return rows.aggregate(total=Sum("amount"))["total"] or ZERO
