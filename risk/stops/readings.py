"""One reading of an account: equity that two sources agree on, and the losses measured with it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from controlplane.errors import NotFound
from risk.core.emergency_stop import StopRules
from risk.core.triggers import EquityView, believe_equity, capital_loss_ratio
from risk.core.values import Limits
from risk.global_risk.drawdown import measure_drawdown
from risk.snapshot import FLOW_KINDS
from risk.stops.capital import get_capital_base, set_first_base, sum_flows
from trading import selectors
from trading.core.values import Clocks
from trading.models import Account, VenueAccount

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountReading:
    """What an account is worth and has lost (USDT and ratios >= 0); None cannot be believed.

    `detail` says why, "" where everything can. `base` is what capital loss is measured from, `net_flow`
    what came from outside since.
    """

    market_at: datetime
    equity: Decimal | None = None
    drawdown: Decimal | None = None
    capital_loss: Decimal | None = None
    base: Decimal | None = None
    net_flow: Decimal = ZERO
    detail: str = ""

    @property
    def is_believed(self) -> bool:
        return not self.detail

    @property
    def peak(self) -> Decimal | None:
        """What equity would be without the day's drawdown (USDT)."""
        if self.equity is None or self.drawdown is None or self.drawdown >= 1:
            return None
        return self.equity / (1 - self.drawdown)


def read_account(
    *, account: Account, limits: Limits | None, rules: StopRules, clocks: Clocks, actor: str
) -> AccountReading:
    """Ask the primary venue and our book now; the first that can be believed begins capital loss.

    Never raises for what cannot be read: that is an absent reading, and says why.
    """
    if limits is None:
        return AccountReading(market_at=clocks.market_at, detail="the limits of its permit are not stored")
    try:
        place = selectors.get_primary(account)
    except NotFound as missing:
        return AccountReading(market_at=clocks.market_at, detail=str(missing))
    equity, unbooked, detail = _read_equity(place, limits, rules, clocks)
    if equity is None:
        return AccountReading(market_at=clocks.market_at, detail=detail)
    return _measure(place, equity, unbooked, clocks, actor)


def _read_equity(
    place: VenueAccount, limits: Limits, rules: StopRules, clocks: Clocks
) -> tuple[Decimal | None, Decimal, str]:
    """Believed equity, flows that are not booked yet (USDT), and why it cannot be believed."""
    # Here, because processes that only judge must never load a venue.
    from trading.equity import look_at_equity

    look = look_at_equity(
        venue_account=place,
        flow_kinds=FLOW_KINDS,
        max_price_age=limits.max_book_price_age,
        market_at=clocks.market_at,
    )
    view = EquityView(venue=look.venue, own=look.own, detail=look.detail)
    equity, detail = believe_equity(view, rules.equity_difference_ratio)
    return equity, look.net_flow, detail


def _measure(
    place: VenueAccount, equity: Decimal, unbooked: Decimal, clocks: Clocks, actor: str
) -> AccountReading:
    account = place.account
    drawdown = measure_drawdown(place, clocks.market_at, equity=equity, net_flow=unbooked)
    base = get_capital_base(account)
    # What comes from outside at this moment may be in this equity already or not.
    if base is None and unbooked == 0:
        base = set_first_base(account=account, equity=equity, actor=actor, clocks=clocks)
    if base is None:
        return AccountReading(
            market_at=clocks.market_at,
            equity=equity,
            drawdown=drawdown,
            detail="there is no settled equity above zero to measure capital loss from",
        )
    flow = sum_flows(place, base) + unbooked
    detail = "the day's index of equity is not known" if drawdown is None else ""
    return AccountReading(
        market_at=clocks.market_at,
        equity=equity,
        drawdown=drawdown,
        capital_loss=capital_loss_ratio(base.equity, flow, equity),
        base=base.equity,
        net_flow=flow,
        detail=detail,
    )
