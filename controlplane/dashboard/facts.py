"""What the first page shows, read in one go and named as an operator would."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from risk.selectors import ScopeStatus, list_trading_states
from trading import models, selectors
from trading.core.values import Clocks, TradingStateName
from trading.schemas import PositionOut, describe_positions

CHART_SPAN = timedelta(hours=24)
CHART_STEP = timedelta(minutes=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """One account: what it may do, what it has, what it holds."""

    name: str
    permit: models.Permit | None
    lease_seconds: int | None
    equity: Decimal | None
    equity_day_ago: Decimal | None
    positions: tuple[PositionOut, ...]

    @property
    def may_trade(self) -> bool:
        return self.permit is not None and self.lease_seconds is not None and self.lease_seconds > 0

    @property
    def day_ratio(self) -> Decimal | None:
        """Change of equity over the last 24 h of market time, as a ratio."""
        if self.equity is None or not self.equity_day_ago:
            return None
        return self.equity / self.equity_day_ago - 1

    @property
    def exposure(self) -> Decimal:
        """Gross notional of the positions whose price is known."""
        return sum(
            (abs(row.quantity) * row.mark_price for row in self.positions if row.mark_price is not None),
            Decimal(0),
        )

    @property
    def protected_count(self) -> int:
        return sum(row.stop_verified_at is not None for row in self.positions)


def list_states(account_names: Iterable[str], wall_at: datetime) -> tuple[ScopeStatus, ...]:
    """Every registered scope, and as HALTED the desk and the accounts that have no state; strictest first."""
    found = list_trading_states()
    known = {row.scope for row in found}
    wanted = ["all", *(f"account:{name}" for name in account_names)]
    found += [
        ScopeStatus(
            scope=scope,
            state=TradingStateName.HALTED,
            changed_at=wall_at,
            reason="no state is registered",
            progress=None,
            outstanding=0,
        )
        for scope in wanted
        if scope not in known
    ]
    return tuple(sorted(found, key=_by_weight))


def _by_weight(row: ScopeStatus) -> tuple[int, int, str]:
    """The strictest first, then the widest."""
    kinds = ("all", "account", "venue", "strategy", "symbol")
    return -row.state.strictness, kinds.index(row.scope.partition(":")[0]), row.scope


def describe_account(account: models.Account, clocks: Clocks) -> AccountFacts:
    permit = selectors.get_active_permit(account)
    places = list(selectors.list_venue_accounts(account))
    return AccountFacts(
        name=account.name,
        permit=permit,
        lease_seconds=None if permit is None else _seconds(permit.lease_expires_at - clocks.wall_at),
        equity=_sum(selectors.latest_equity(place) for place in places),
        equity_day_ago=_sum(selectors.equity_at(place, clocks.market_at - CHART_SPAN) for place in places),
        positions=tuple(row for place in places for row in describe_positions(place)),
    )


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _sum(samples: Iterable[models.EquitySample | None]) -> Decimal | None:
    """The equity of all venues together; unknown if it is unknown at one."""
    total = Decimal(0)
    for sample in samples:
        if sample is None:
            return None
        total += sample.equity
    return total


def draw_equity(places: Iterable[models.VenueAccount], market_at: datetime) -> dict[str, object]:
    """Labels and values of each venue's equity over the last day of market time."""
    labels: list[str] = []
    series = []
    for place in places:
        curve = selectors.list_equity_curve(
            place, since=market_at - CHART_SPAN, until=market_at, every=CHART_STEP
        )
        labels = max(labels, [f"{at:%H:%M}" for at, _ in curve], key=len)
        series.append({"name": str(place), "values": [round(float(equity), 4) for _, equity in curve]})
    return {"labels": labels, "series": series}
