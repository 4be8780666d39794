"""Limits beside one another: what the account had when it was asked, what is asked, what it has now."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from controlplane.dashboard.words import age_text
from controlplane.wire import money_text
from golive.core.direction import LIMITS, find_direction, is_laxer
from golive.core.words import Direction
from risk.core.values import Limits

MONEY = frozenset({"reference_capital", "max_position_notional", "max_gross_exposure", "max_net_exposure"})
# A sign and a word: colour alone says nothing to many.
SIGNS = {Direction.INCREASE: "▲ more", Direction.DECREASE: "▼ less", Direction.NEUTRAL: "same"}
TONES = {Direction.INCREASE: "warn", Direction.DECREASE: "good", Direction.NEUTRAL: ""}
NOTHING = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRow:
    """One limit; `sign` tells what the proposed one lets through beside the base."""

    name: str
    base: str
    proposed: str
    active: str
    direction: Direction
    is_moved: bool

    @property
    def sign(self) -> str:
        return SIGNS[self.direction]

    @property
    def tone(self) -> str:
        return TONES[self.direction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The rows that change, those that stay, and what it all amounts to.

    `moved`: what is active now is no longer what the request was made against.
    """

    changed: tuple[DiffRow, ...]
    same: tuple[DiffRow, ...]
    direction: Direction
    moved: bool

    @property
    def sign(self) -> str:
        return SIGNS[self.direction]

    @property
    def tone(self) -> str:
        return TONES[self.direction]


def compare_limits(base: Limits | None, proposed: Limits, active: Limits | None) -> Diff:
    """Every limit, the changed ones apart; without a base everything is new."""
    rows = [_make_row(name, base, proposed, active) for name in LIMITS]
    return Diff(
        changed=tuple(row for row in rows if row.direction is not Direction.NEUTRAL or row.is_moved),
        same=tuple(row for row in rows if row.direction is Direction.NEUTRAL and not row.is_moved),
        direction=find_direction(base, proposed),
        moved=_digest(base) != _digest(active),
    )


def _digest(limits: Limits | None) -> str:
    return "" if limits is None else limits.digest


def _make_row(name: str, base: Limits | None, proposed: Limits, active: Limits | None) -> DiffRow:
    before, after, now = (
        None if limits is None else getattr(limits, name) for limits in (base, proposed, active)
    )
    return DiffRow(
        name=title_of(name),
        base=show_limit(name, before),
        proposed=show_limit(name, after),
        active=show_limit(name, now),
        direction=_find_direction(name, before, after),
        is_moved=before != now,
    )


def _find_direction(name: str, before: Any, after: Any) -> Direction:
    if before is None:
        return Direction.INCREASE
    if before == after:
        return Direction.NEUTRAL
    return Direction.INCREASE if is_laxer(name, before, after) else Direction.DECREASE


def title_of(name: str) -> str:
    return name.removesuffix("_ratio").replace("_", " ")


def show_limit(name: str, value: Any) -> str:
    """A limit as people write it: money, percent, time or a plain number."""
    if value is None:
        return NOTHING
    if isinstance(value, timedelta):
        return age_text(value)
    if name in MONEY:
        return f"{value:,f} USDT"
    if name.endswith("_ratio"):
        return f"{money_text(Decimal(value) * 100)} %"
    return money_text(value) if isinstance(value, Decimal) else f"{value:,}"
