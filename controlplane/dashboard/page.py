"""The first page: do we trade, at what size, what is wrong, what should I press."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from controlplane.dashboard.facts import (
    AccountFacts,
    describe_account,
    draw_equity,
    list_states,
)
from controlplane.dashboard.golive_facts import Card, list_cards
from controlplane.dashboard.troubles import Seen, Trouble, list_troubles
from risk.headroom import HeadroomRow, measure_headroom
from risk.models import Decision
from risk.selectors import ScopeStatus
from trading import models, selectors
from trading.core.values import TradingStateName

RECENT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The one line that everything else explains; tone is good, warn or bad."""

    tone: str
    headline: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account as shown."""

    facts: AccountFacts
    headroom: tuple[HeadroomRow, ...]
    card: Card


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    wall_at: datetime
    market_at: datetime
    speed: int | None
    verdict: Verdict
    states: Sequence[ScopeStatus]
    active_count: int
    accounts: Sequence[Account]
    troubles: Sequence[Trouble]
    decisions: Sequence[Decision]
    trades: Sequence[models.Trade]
    equity: dict[str, object]

    @property
    def is_halted(self) -> bool:
        """Whether the desk or an account is halted, so that starting again takes a re-arm."""
        return any(
            row.state is TradingStateName.HALTED and row.scope.partition(":")[0] in {"all", "account"}
            for row in self.states
        )

    @property
    def position_count(self) -> int:
        return sum(len(account.facts.positions) for account in self.accounts)


def gather_page() -> Page:
    """Read everything at one moment."""
    clocks = selectors.get_clocks()
    rows = list(selectors.list_accounts().filter(environment=settings.TRADING_ENVIRONMENT))
    places = list(selectors.list_venue_accounts().filter(account__in=rows))
    facts = [describe_account(row, clocks) for row in rows]
    cards = list_cards(rows, clocks)
    states = list_states([row.name for row in rows], clocks.wall_at)
    seen = Seen(clocks=clocks, states=states, accounts=facts, places=places)
    troubles = list_troubles(seen)
    clock = selectors.get_market_clock()
    return Page(
        wall_at=clocks.wall_at,
        market_at=clocks.market_at,
        speed=None if clock is None else clock.speed,
        verdict=judge_desk(states, facts, troubles),
        states=[row for row in states if _is_worth_showing(row)],
        active_count=sum(row.state is TradingStateName.ACTIVE for row in states),
        accounts=[
            Account(facts=fact, headroom=tuple(measure_headroom(row, clocks)), card=card)
            for row, fact, card in zip(rows, facts, cards, strict=True)
        ],
        troubles=troubles,
        decisions=list(Decision.objects.select_related("intent").order_by("-id")[:RECENT]),
        trades=list(models.Trade.objects.filter(closed_at__isnull=False).order_by("-id")[:RECENT]),
        equity=draw_equity(places, clocks.market_at),
    )


def _is_worth_showing(row: ScopeStatus) -> bool:
    """Symbols and strategies are shown only while something is stopped there."""
    return row.state is not TradingStateName.ACTIVE or row.scope.split(":")[0] in {"all", "account", "venue"}


def judge_desk(
    states: Sequence[ScopeStatus], accounts: Sequence[AccountFacts], troubles: Sequence[Trouble]
) -> Verdict:
    """Whether orders that add risk may leave, by the strictest state of the desk and its accounts."""
    wide = [row for row in states if row.scope == "all" or row.scope.startswith("account:")]
    strictest = max(wide, key=lambda row: row.state.strictness)
    if strictest.state is TradingStateName.HALTED:
        return Verdict(tone="bad", headline="Not trading", text=f"{strictest.scope}: {strictest.reason}")
    if not accounts:
        return Verdict(tone="bad", headline="Not trading", text="there is no account in this environment")
    if not any(account.may_trade for account in accounts):
        return Verdict(tone="bad", headline="Not trading", text="no account has a permit with a living lease")
    if strictest.state is TradingStateName.REDUCING:
        return Verdict(tone="warn", headline="Reducing only", text=f"{strictest.scope}: {strictest.reason}")
    return _judge_trading(troubles)


def _judge_trading(troubles: Sequence[Trouble]) -> Verdict:
    critical = sum(trouble.is_critical for trouble in troubles)
    if critical:
        return Verdict(
            tone="bad",
            headline=f"Trading on {settings.TRADING_ENVIRONMENT}, with problems",
            text="one of them needs you now" if critical == 1 else f"{critical} of them need you now",
        )
    if troubles:
        return Verdict(
            tone="warn",
            headline=f"Trading on {settings.TRADING_ENVIRONMENT}",
            text="look at what is listed when there is time",
        )
    return Verdict(
        tone="good", headline=f"Trading on {settings.TRADING_ENVIRONMENT}", text="every check is well"
    )
