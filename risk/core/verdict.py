"""The gate's answer with the overrides in force: a limit that people raised for a while."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from risk.core import gate
from risk.core.overrides import apply_overrides
from risk.core.values import Decision, Intent, Limits, OverrideFacts, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision, and the overrides without which it would be denied."""

    decision: Decision
    used: tuple[OverrideFacts, ...] = ()


def reach_verdict(intent: Intent, snapshot: Snapshot, limits: Limits | None) -> Verdict:
    """Decide by the limits as they are; only where they deny, by those that people raised.

    The fewest overrides that allow are used, in the order in which they were made; where none of them
    helps, the denial is the one of the limits as they are.
    """
    decision = gate.decide(intent, snapshot, limits)
    if decision.allowed or limits is None or not snapshot.overrides:
        return Verdict(decision=decision)
    raised = _decide_with(intent, snapshot, limits, snapshot.overrides)
    if not raised.allowed:
        return Verdict(decision=decision)
    used = list(snapshot.overrides)
    for item in reversed(snapshot.overrides):
        fewer = [other for other in used if other is not item]
        without = _decide_with(intent, snapshot, limits, fewer)
        if fewer and without.allowed and without.quantity == raised.quantity:
            used, raised = fewer, without
    return Verdict(decision=replace(raised, override_id=used[0].override_id), used=tuple(used))


def _decide_with(
    intent: Intent, snapshot: Snapshot, limits: Limits, overrides: Iterable[OverrideFacts]
) -> Decision:
    return gate.decide(intent, snapshot, apply_overrides(limits, tuple(overrides)))
