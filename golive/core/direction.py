"""What a change of limits does to what may be risked, limit by limit. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

from golive.core.words import Direction
from risk.core.values import Limits

# Here a smaller number lets more through: narrower bands, cheaper costs, shorter windows.
LAXER_BELOW = frozenset(
    {
        "min_stop_ratio",
        "min_target_ratio",
        "taker_fee_ratio",
        "major_slippage_ratio",
        "other_slippage_ratio",
        "major_gap_ratio",
        "other_gap_ratio",
        "repeat_window",
        "funding_window",
        "delisting_window",
    }
)
LIMITS = tuple(field.name for field in fields(Limits) if field.name not in {"digest", "profile"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """One limit that differs; `direction` says whether it lets more or less through."""

    limit: str
    before: Any
    after: Any
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The limit that was loosened most, as a share of what it was; 0 and "" where none was."""

    limit: str
    ratio: Decimal


def is_laxer(limit: str, before: Any, after: Any) -> bool:
    """Whether the limit lets more through than before."""
    return bool(after < before if limit in LAXER_BELOW else after > before)


def list_changes(base: Limits, proposed: Limits) -> tuple[LimitChange, ...]:
    """Every limit that differs, in the order of Limits."""
    return tuple(
        _change(name, getattr(base, name), getattr(proposed, name))
        for name in LIMITS
        if getattr(base, name) != getattr(proposed, name)
    )


def _change(name: str, before: Any, after: Any) -> LimitChange:
    direction = Direction.INCREASE if is_laxer(name, before, after) else Direction.DECREASE
    return LimitChange(limit=name, before=before, after=after, direction=direction)


def find_direction(base: Limits | None, proposed: Limits) -> Direction:
    """INCREASE where any one limit lets more through, or where nothing may be risked now."""
    if base is None:
        return Direction.INCREASE
    return sum_directions(list_changes(base, proposed))


def sum_directions(changes: Iterable[LimitChange]) -> Direction:
    """INCREASE for any one, DECREASE where all that changed is tighter, NEUTRAL where nothing did."""
    found = {change.direction for change in changes}
    if Direction.INCREASE in found:
        return Direction.INCREASE
    return Direction.DECREASE if found else Direction.NEUTRAL


def find_growth(baseline: Limits, proposed: Limits) -> Growth:
    """The largest loosening of one limit against the baseline, as a ratio >= 0 (0.1 is 10 %).

    A limit that lets more through below grows by what it shrank, as a share of
    itself; one that was zero and is loosened has grown by more than any share: counted as 1.
    """
    largest = Growth(limit="", ratio=Decimal(0))
    for change in list_changes(baseline, proposed):
        if change.direction is Direction.INCREASE:
            grown = Growth(limit=change.limit, ratio=_share(change.before, change.after))
            largest = max(largest, grown, key=lambda item: item.ratio)
    return largest


def _share(before: Any, after: Any) -> Decimal:
    first, second = _number(before), _number(after)
    return Decimal(1) if first == 0 else abs(second - first) / abs(first)


def _number(value: Any) -> Decimal:
    """Durations as whole seconds and their parts."""
    if isinstance(value, timedelta):
        return Decimal(value.days * 86_400 + value.seconds) + Decimal(value.microseconds) / 1_000_000
    return Decimal(value)
