"""The desk that a drill plays on: a paper account of its own, made ready, and tidied up after."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.conf import settings

from controlplane.errors import Conflict, NotPermitted, Unavailable
from risk.core.values import Limits
from risk.global_risk.assessment import assess_global_risk
from risk.registration import ensure_scopes_for_account
from risk.selectors import get_active_limits
from risk.stops.paper_permits import ISSUER
from risk.stops.rules import get_stop_rules
from trading import dispatch, market, selectors
from trading import services as trading
from trading.core.sizing import EntryPlan, plan_entry, round_to_grid
from trading.core.values import Environment, Instrument, OrderPurpose, Side, TradingStateName
from trading.models import Account, TradingState, VenueAccount
from trading.reconcile import reconcile_venue_account

STRATEGY = "drill"
PROFILE = "MICRO"
# Somewhat more than the venue's smallest order, so that rounding and a tick do not fall below it.
SIZE = Decimal("1.5")
# How far below mark the entry rests that is to be found and cancelled, of mark.
DISTANCE = Decimal("0.03")
SETTINGS_LIVE_FOR = timedelta(minutes=10)


class DrillNotOnPaper(NotPermitted):
    """Drills are for the paper account that the configuration names, in the paper environment."""

    code = "drill_not_on_paper"


class DrillNotReady(Unavailable):
    """The account of the drill cannot trade now, so that nothing could be rehearsed."""

    code = "drill_not_ready"


class DrillRunning(Conflict):
    """Another process is rehearsing."""

    code = "drill_running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ware:
    """What is traded in a drill: the smallest that the venue takes, with its prices."""

    symbol: str
    mark: Decimal
    instrument: Instrument

    @property
    def smallest(self) -> Decimal:
        """USDT."""
        return max(self.instrument.min_notional, self.instrument.min_quantity * self.mark)

    def plan(self, limits: Limits, price: Decimal) -> EntryPlan:
        """A long entry at the price, its stop and target in the middle of what the profile allows."""
        return plan_entry(
            side=Side.BUY,
            reference_price=price,
            notional_cap=self.smallest * SIZE,
            stop_ratio=(limits.min_stop_ratio + limits.max_stop_ratio) / 2,
            target_ratio=(limits.min_target_ratio + limits.max_target_ratio) / 2,
            instrument=self.instrument,
        )

    def far_price(self) -> Decimal:
        """Where an entry rests without being filled at once."""
        return round_to_grid(self.mark * (1 - DISTANCE), self.instrument.tick_size, "ROUND_FLOOR")


def require_drill_account(name: str | None) -> str:
    """The account's name; raises DrillNotOnPaper for any but the configured one on paper."""
    rules = get_stop_rules()
    wanted = name or rules.drill_account
    row = Account.objects.filter(name=wanted).first()
    is_paper = settings.TRADING_ENVIRONMENT == Environment.PAPER and (
        row is None or row.environment == Environment.PAPER
    )
    if wanted != rules.drill_account or not is_paper:
        raise DrillNotOnPaper(
            f"account {wanted}: a drill is for {rules.drill_account} on paper,"
            f" this desk is {settings.TRADING_ENVIRONMENT}"
        )
    return wanted


def open_drill_place(name: str, *, actor: str) -> VenueAccount:
    """The account at the primary venue, made where missing; raises DrillNotReady if its keys are shared."""
    config = market.load_venue_config()
    account = trading.open_account(name=name, environment=Environment.PAPER.value, venues=[config.primary])
    place = selectors.get_primary(account)
    _require_own_keys(place)
    trading.assign_strategy(account=account, strategy=STRATEGY, symbols=config.symbols)
    ensure_scopes_for_account(account=account, actor=actor)
    return place


def _require_own_keys(place: VenueAccount) -> None:
    """With another account's keys the drill would cancel that account's orders."""
    own = market.get_key_fingerprint(venue=place.venue, account=place.account.name)
    others = selectors.list_venue_accounts().filter(
        venue=place.venue, account__environment=settings.TRADING_ENVIRONMENT
    )
    for other in others.exclude(pk=place.pk):
        if market.get_key_fingerprint(venue=other.venue, account=other.account.name) == own:
            raise DrillNotReady(f"{place} has the same API key as {other}: give it one of its own")


def make_ready(place: VenueAccount, *, actor: str) -> list[Ware]:
    """Fresh facts, a permit and two symbols with safe settings; raises DrillNotReady and VenueError."""
    _require_tradable(place)
    wares = _choose_wares(place)
    run = reconcile_venue_account(venue_account=place, market_at=selectors.get_clocks().market_at)
    if not run.is_clean:
        raise DrillNotReady(f"{place}: our book and the venue's differ, or something is held there")
    if ISSUER.issue is None:
        raise DrillNotReady("nothing here issues a permit")
    wall_at = selectors.get_clocks().wall_at
    ISSUER.issue(account=place.account, profile=PROFILE, actor=actor, wall_at=wall_at)
    limits = get_active_limits(place.account)
    for ware in wares:
        _prepare(place, ware.symbol, limits)
    assess_global_risk(clocks=selectors.get_clocks())
    return wares


def _require_tradable(place: VenueAccount) -> None:
    scopes = ("all", f"venue:{place.venue}", f"account:{place.account.name}", f"strategy:{STRATEGY}")
    active = set(
        TradingState.objects.filter(scope__in=scopes, state=TradingStateName.ACTIVE).values_list(
            "scope", flat=True
        )
    )
    if held := [scope for scope in scopes if scope not in active]:
        raise DrillNotReady(f"not ACTIVE: {', '.join(held)}")


def _choose_wares(place: VenueAccount) -> list[Ware]:
    """The two symbols with the smallest orders, or the one that there is; no stop stands on them."""
    symbols = market.load_venue_config().symbols
    prices = market.refresh_prices(venue=place.venue, account=place.account.name, symbols=symbols)
    halted = TradingState.objects.exclude(state=TradingStateName.ACTIVE).values_list("scope", flat=True)
    free = [symbol for symbol in prices if f"symbol:{symbol}" not in set(halted)]
    wares = [
        Ware(
            symbol=symbol,
            mark=prices[symbol].mark,
            instrument=market.get_or_refresh_instrument(venue_account=place, symbol=symbol),
        )
        for symbol in free
    ]
    if not wares:
        raise DrillNotReady(f"{place.venue}: no symbol that could be traded")
    return sorted(wares, key=lambda ware: (ware.smallest, ware.symbol))[:2]


def _prepare(place: VenueAccount, symbol: str, limits: Limits) -> None:
    """Isolated margin and a leverage safe for every stop that the profile allows, read back."""
    setting = selectors.get_venue_setting(place, symbol)
    room = (limits.max_stop_ratio + limits.collar_ratio) / (1 - limits.collar_ratio)
    clocks = selectors.get_clocks()
    if (
        setting is not None
        and (setting.max_stop_ratio or 0) >= room
        and clocks.wall_at - setting.read_at < SETTINGS_LIVE_FOR
    ):
        return
    market.prepare_symbol(
        venue_account=place,
        symbol=symbol,
        leverage=int(limits.max_leverage),
        notional=limits.max_position_notional,
        stop_ratio=room,
        market_at=clocks.market_at,
    )


def tidy(place: VenueAccount) -> Sequence[str]:
    """Cancel the drill's entries and close what it holds, reduce-only; returns what it still holds.

    Raises VenueError and LockBusy.
    """
    for order in selectors.list_unsettled_orders(place).filter(purpose=OrderPurpose.ENTRY):
        dispatch.cancel_order(order_id=order.pk)
    for position in selectors.list_open_positions(place).filter(strategy=STRATEGY):
        dispatch.close_position(position_id=position.pk, purpose=OrderPurpose.FLATTEN)
    return list(selectors.list_open_positions(place).values_list("symbol", flat=True))
