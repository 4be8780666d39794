"""How much of each limit an account has used: facts for people, by the gate's own measures.

As the gate does before it adds an order: what is held, and what may still fill at its worst.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import Sum

from risk import models as risk_models
from risk.core.allotments import measure_usage
from risk.core.measures import Item, measure_book
from risk.core.values import AnchorName, Intent, Limits, Snapshot
from risk.limits import get_limits
from risk.snapshot import FLOW_KINDS, anchor_times, load_facts
from trading import models, selectors
from trading.core.values import Clocks, OrderPurpose, OrderType, Side

ZERO = Decimal(0)
NOBODY = NOTHING = ""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Every name that a row can have: the label `limit` of the metric. The parts of limits that span
# accounts are named for their kind, and measured where the most of a part is used.
NAMES = (
    "largest_position",
    "gross_exposure",
    "net_exposure",
    "leverage",
    "portfolio_risk",
    "bet_risk",
    "stressed_loss",
    "positions",
    "trades_per_day",
    "daily_loss",
    "weekly_loss",
    "margin_use",
    "maintenance_margin",
    "firm_exposure",
    "venue_exposure",
    "strategy_exposure",
    "symbol_exposure",
)
PARTS = {
    "all": ("firm_exposure", "Part of the firm"),
    "venue": ("venue_exposure", "Part of a venue"),
    "strategy": ("strategy_exposure", "Part of a strategy"),
    "symbol": ("symbol_exposure", "Part of a symbol"),
}
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
    maintenance_margin: Decimal | None


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
    facts = load_facts(
        place_id=selectors.get_primary(account).pk, strategy=NOBODY, symbol=NOTHING, clocks=clocks
    )
    return [
        *_list_sizes(facts, money, limits),
        *_list_counts(account, facts, limits, clocks),
        *_list_losses(places, money, limits, clocks),
        *_list_margins(money, limits),
        *_list_parts(account, facts),
    ]


def _list_sizes(facts: Snapshot, money: Money, limits: Limits) -> list[HeadroomRow]:
    whole, book = _for_risk(money, limits), measure_book(_ask_nothing(), facts, limits)
    rest = None if book is None else book.rest
    largest = None if book is None else max(_list_worst(facts, "symbol").values(), default=ZERO)
    gross = None if rest is None else rest.notional
    net = None if rest is None else max(abs(rest.upper), abs(rest.lower))
    stressed = None if rest is None else max(rest.long_stress, rest.short_stress)
    risk = None if book is None else book.risk.total
    bet = (
        None if book is None else max((_bet(symbol, facts, limits) for symbol in book.symbols), default=ZERO)
    )
    return [
        _row("largest_position", "Largest position", "usd", largest, limits.max_position_notional),
        _row("gross_exposure", "Gross exposure", "usd", gross, limits.max_gross_exposure),
        _row("net_exposure", "Net exposure", "usd", net, limits.max_net_exposure),
        _row("leverage", "Leverage", "times", _share(gross, whole), limits.max_leverage),
        _row("portfolio_risk", "Open risk", "ratio", _share(risk, whole), limits.max_portfolio_risk_ratio),
        _row("bet_risk", "Largest bet", "ratio", _share(bet, whole), limits.max_bet_risk_ratio),
        _row(
            "stressed_loss",
            "Loss of a cascade",
            "ratio",
            _share(stressed, whole),
            limits.capital_loss_stop_ratio,
        ),
    ]


def _list_counts(
    account: models.Account, facts: Snapshot, limits: Limits, clocks: Clocks
) -> list[HeadroomRow]:
    items: list[Item] = [*facts.positions, *facts.pending]
    symbols = {item.symbol for item in items}
    entries = selectors.count_entries_since(account, anchor_times(clocks.market_at)[AnchorName.DAY])
    return [
        _row("positions", "Open positions", "count", Decimal(len(symbols)), Decimal(limits.max_positions)),
        _row("trades_per_day", "Trades today", "count", Decimal(entries), Decimal(limits.max_trades_per_day)),
    ]


def _list_losses(
    places: Iterable[models.VenueAccount], money: Money, limits: Limits, clocks: Clocks
) -> list[HeadroomRow]:
    day = _worst_loss(places, money, clocks, (AnchorName.DAY, AnchorName.ROLLING_DAY))
    week = _worst_loss(places, money, clocks, (AnchorName.WEEK, AnchorName.ROLLING_WEEK))
    return [
        _row("daily_loss", "Daily loss", "ratio", day, limits.max_daily_loss_ratio),
        _row("weekly_loss", "Weekly loss", "ratio", week, limits.max_weekly_loss_ratio),
    ]


def _list_margins(money: Money, limits: Limits) -> list[HeadroomRow]:
    initial = _share(money.initial_margin, money.equity)
    maintenance = _share(money.maintenance_margin, money.equity)
    return [
        _row("margin_use", "Margin in use", "ratio", initial, limits.max_margin_ratio),
        _row("maintenance_margin", "Maintenance margin", "ratio", maintenance, limits.max_maintenance_ratio),
    ]


def _list_parts(account: models.Account, facts: Snapshot) -> list[HeadroomRow]:
    """Of each kind the scope of which most is used; a kind without a part allows nothing."""
    used = measure_usage([*facts.positions, *facts.pending])
    rows = []
    for kind, (name, title) in PARTS.items():
        parts = {
            part.scope: part.max_notional
            for part in risk_models.Allotment.objects.filter(account=account).order_by("scope")
            if part.scope.partition(":")[0] == kind
        }
        if not parts:
            rows.append(_row(name, title, "usd", None, ZERO))
            continue
        fullest = max(parts, key=lambda scope: _fullness(used, scope, parts[scope]))
        measured = None if used is None else used.get(fullest, ZERO)
        shown = title if kind == "all" else f"{title} ({fullest.partition(':')[2]})"
        rows.append(_row(name, shown, "usd", measured, parts[fullest]))
    return rows


def _fullness(used: Mapping[str, Decimal] | None, scope: str, part: Decimal) -> Decimal:
    return ZERO if used is None or part <= 0 else used.get(scope, ZERO) / part


def _list_worst(facts: Snapshot, kind: str) -> dict[str, Decimal]:
    used = measure_usage([*facts.positions, *facts.pending]) or {}
    return {scope: worst for scope, worst in used.items() if scope.partition(":")[0] == kind}


def _bet(symbol: str, facts: Snapshot, limits: Limits) -> Decimal:
    """R of the larger side of what is correlated with the symbol (USDT)."""
    book = measure_book(replace(_ask_nothing(), symbol=symbol), facts, limits)
    return ZERO if book is None else max(book.risk.long_bet, book.risk.short_bet)


def _ask_nothing() -> Intent:
    """An intent of nobody, in no symbol: measured beside it, the book is whole."""
    return Intent(
        intent_id="",
        account="",
        venue="",
        strategy=NOBODY,
        symbol=NOTHING,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        purpose=OrderPurpose.ENTRY,
        quantity=ZERO,
        price=None,
        stop_loss=None,
        take_profit=None,
        reduce_only=False,
        signal_at=EPOCH,
        source="headroom",
    )


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
        return Money(equity=None, wallet=None, initial_margin=None, maintenance_margin=None)
    return Money(
        equity=sum((sample.equity for sample in known), ZERO),
        wallet=sum((sample.wallet for sample in known), ZERO),
        initial_margin=sum((sample.initial_margin for sample in known), ZERO),
        maintenance_margin=sum((sample.maintenance_margin for sample in known), ZERO),
    )


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
