"""What other limits would have made of decisions that were taken. Pure: the same inputs, the same answer.

Every decision is judged again with the facts it was taken by. The book in those facts is the recorded
one: an order that is denied now would have left room for later ones, and changed what they were judged
by; that is not followed. What a newly denied order brought is taken out of the result, as if it had
never filled; what a newly allowed one would have brought is not known.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from risk.core import gate
from risk.core.values import Breach, Decision, Intent, Limits, Snapshot

ZERO = Decimal(0)


class Change(StrEnum):
    """How the outcome differs from what was recorded."""

    SAME = "same"
    NEWLY_DENIED = "newly_denied"
    NEWLY_ALLOWED = "newly_allowed"
    SMALLER = "smaller"
    LARGER = "larger"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """A decision as it was stored. `quantity` is what it was about (base units, 0 if it was denied).

    `trade_pnl` is the net result (USDT) of the closed trade that this entry opened; None if there is none.
    """

    decision_id: str
    at: datetime
    intent: Intent
    snapshot: Snapshot
    allowed: bool
    quantity: Decimal
    codes: tuple[str, ...]
    trade_pnl: Decimal | None
    code_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAgain:
    """One decision, then and now; `removed_pnl` is the part of its trade that would not have been."""

    recorded: RecordedDecision
    allowed: bool
    quantity: Decimal
    breaches: tuple[Breach, ...]
    change: Change
    removed_pnl: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What was judged again; `other_profiles` were under another profile, `unreadable` of an older form."""

    limits: Limits
    judged: tuple[JudgedAgain, ...]
    other_profiles: int
    unreadable: int

    def list_changed(self, change: Change) -> list[JudgedAgain]:
        return [item for item in self.judged if item.change is change]

    @property
    def codes_then(self) -> Counter[str]:
        """Denials by the code that named them, as recorded."""
        return Counter(item.recorded.codes[0] for item in self.judged if item.recorded.codes)

    @property
    def codes_now(self) -> Counter[str]:
        return Counter(item.breaches[0].code.value for item in self.judged if item.breaches)

    @property
    def recorded_pnl(self) -> Decimal:
        """Net result of the trades that the judged entries opened, USDT."""
        return sum((item.recorded.trade_pnl or ZERO for item in self.judged), ZERO)

    @property
    def removed_pnl(self) -> Decimal:
        """What of it would not have been, USDT: a removed loss is negative."""
        return sum((item.removed_pnl or ZERO for item in self.judged), ZERO)


def measure_impact(recorded: Iterable[RecordedDecision], limits: Limits, *, unreadable: int = 0) -> Impact:
    """Judge the decisions of the limits' profile again, under these limits."""
    judged, others = [], 0
    for item in recorded:
        permit = item.snapshot.permit
        if permit is not None and permit.profile != limits.profile:
            others += 1
        else:
            judged.append(judge_again(item, limits))
    return Impact(limits=limits, judged=tuple(judged), other_profiles=others, unreadable=unreadable)


def judge_again(recorded: RecordedDecision, limits: Limits) -> JudgedAgain:
    """The gate's answer as if the permit had named these limits."""
    snapshot = recorded.snapshot
    if snapshot.permit is not None:
        permit = replace(snapshot.permit, profile=limits.profile, limit_set_digest=limits.digest)
        snapshot = replace(snapshot, permit=permit)
    decision = gate.decide(recorded.intent, snapshot, limits)
    quantity = decision.quantity if decision.allowed else ZERO
    return JudgedAgain(
        recorded=recorded,
        allowed=decision.allowed,
        quantity=quantity,
        breaches=decision.breaches,
        change=_compare(recorded, decision, quantity),
        removed_pnl=_remove(recorded, quantity),
    )


def _compare(recorded: RecordedDecision, decision: Decision, quantity: Decimal) -> Change:
    if decision.allowed != recorded.allowed:
        return Change.NEWLY_ALLOWED if decision.allowed else Change.NEWLY_DENIED
    if not decision.allowed or quantity == recorded.quantity:
        return Change.SAME
    return Change.SMALLER if quantity < recorded.quantity else Change.LARGER


def _remove(recorded: RecordedDecision, quantity: Decimal) -> Decimal | None:
    """The trade's result in proportion to what would not have filled; nothing is ever added to it."""
    if recorded.trade_pnl is None or not recorded.allowed or recorded.quantity <= 0:
        return None
    left = min(quantity, recorded.quantity) / recorded.quantity
    return recorded.trade_pnl * (1 - left)
