"""A limit set that risks no more than another: what a rollback goes back to. Pure.

Which way each limit is safer is said once, in `direction`.
"""

from collections.abc import Iterable
from dataclasses import replace

from golive.core.direction import LIMITS, is_laxer
from golive.core.words import LADDER
from risk.core.values import Limits


def list_raised(before: Limits, after: Limits) -> tuple[str, ...]:
    """Every limit under which `after` allows more than `before`."""
    return tuple(name for name in LIMITS if is_laxer(name, getattr(before, name), getattr(after, name)))


def list_lowered(before: Limits, after: Limits) -> tuple[str, ...]:
    """Every limit under which `after` allows less than `before`."""
    return list_raised(after, before)


def clamp_limits(target: Limits, current: Limits) -> Limits:
    """The target, but under no limit more than the current set allows; its digest is yet to be made.

    The profile is the lower rung of the two: what goes by profile alone must not rise either.
    """
    kept = {name: getattr(current, name) for name in list_raised(current, target)}
    profile = lower_rung((target.profile, current.profile))
    return replace(target, digest="", profile=profile, **kept)


def lower_rung(profiles: Iterable[str]) -> str:
    """The lowest of these on the ladder; one that is not on it counts as below all."""
    return min(profiles, key=lambda name: LADDER.index(name) if name in LADDER else -1)
