"""The gate: may this order go out? Pure: the same inputs always give the same answer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from typing import TypeVar

from risk.core.measures import ZERO
from risk.core.reasons import NONE, ReasonCode
from risk.core.rules.case import Case, LimitedCase, breach, limit_case, open_case, with_quantity
from risk.core.rules.registry import (
    ENTRY_RULES,
    ENTRY_SIZE_RULES,
    EXIT_RULES,
    EXIT_SIZE_RULES,
    LIMIT_RULES,
    SIZE_RULES,
)
from risk.core.rules.request import permits_real_numbers, smallest_legal_quantity
from risk.core.rules.validity import (
    has_real_filters,
    has_real_positions,
    permits_real_facts,
    permits_real_limits,
)
from risk.core.values import Breach, Decision, Intent, Limits, RuleOutcome, Snapshot

AnyCase = TypeVar("AnyCase", bound=Case)


def decide(intent: Intent, snapshot: Snapshot, limits: Limits | None) -> Decision:
    """Judge one intent: every applicable rule runs and every breach is reported.

    An order that is not reduce-only adds risk: it needs every fact, and `limits` None denies. A
    reduce-only order cannot add risk at the venue: it is judged without limits and facts of the
    book. Numbers that are not numbers deny before any rule that would calculate with them.
    """
    case = open_case(intent, snapshot)
    if (invalid := permits_real_numbers(case)) is not None:
        return deny(invalid)
    return _decide_exit(case) if intent.reduce_only else _decide_entry(case, limits)


def deny(*breaches: Breach) -> Decision:
    """A denial for reasons that leave nothing to calculate."""
    return Decision(allowed=False, breaches=_in_order(breaches), outcomes=(), max_quantity=ZERO)


def _decide_exit(case: Case) -> Decision:
    if not has_real_positions(case.snapshot):
        return deny(breach(ReasonCode.FACT_INVALID, measured="position", limit="finite"))
    instrument = case.snapshot.instrument
    if instrument is not None and not has_real_filters(instrument):
        case = replace(case, snapshot=replace(case.snapshot, instrument=None))
    decision, is_fit = _judge(case, EXIT_RULES, EXIT_SIZE_RULES)
    return _size(decision, max_exit_quantity(case)) if is_fit else decision


def _decide_entry(case: Case, limits: Limits | None) -> Decision:
    invalid = [permits_real_facts(case.snapshot), permits_real_limits(limits) if limits else None]
    if found := [item for item in invalid if item is not None]:
        return deny(*found)
    if limits is None:
        decision, _ = _judge(case, ENTRY_RULES, ENTRY_SIZE_RULES)
        breaches = _in_order((*decision.breaches, breach(ReasonCode.LIMITS_UNKNOWN)))
        return replace(decision, allowed=False, breaches=breaches)
    limited = limit_case(case, limits)
    decision, is_fit = _judge(limited, (*ENTRY_RULES, *LIMIT_RULES), (*ENTRY_SIZE_RULES, *SIZE_RULES))
    return _size(decision, max_entry_quantity(limited)) if is_fit else decision


def _judge(
    case: AnyCase,
    fixed: Sequence[Callable[[AnyCase], Breach | None]],
    sized: Sequence[Callable[[AnyCase], Breach | None]],
) -> tuple[Decision, bool]:
    """Run all rules; also whether some quantity might be allowed, as no fixed rule was breached."""
    found = [(rule.__name__, rule(case)) for rule in (*fixed, *sized)]
    breaches = [item for _, item in found if item is not None]
    outcomes = tuple(
        RuleOutcome(rule=name, code=NONE if item is None else item.code.value) for name, item in found
    )
    is_fit = all(item is None for _, item in found[: len(fixed)])
    decision = Decision(
        allowed=not breaches, breaches=_in_order(breaches), outcomes=outcomes, max_quantity=ZERO
    )
    return decision, is_fit


def _in_order(breaches: Iterable[Breach]) -> tuple[Breach, ...]:
    """Each code once, first statement kept, in the documented order."""
    unique: dict[ReasonCode, Breach] = {}
    for item in breaches:
        unique.setdefault(item.code, item)
    return tuple(unique[code] for code in sorted(unique, key=lambda code: code.rank))


def _size(decision: Decision, quantity: Decimal) -> Decision:
    return replace(decision, max_quantity=quantity)


def max_exit_quantity(case: Case) -> Decimal:
    """The whole position, rounded down to the lot where the lot is known (base units)."""
    against = case.position * case.intent.side.sign < 0
    if not against:
        return ZERO
    instrument = case.snapshot.instrument
    if instrument is None:
        return abs(case.position)
    return abs(case.position) // instrument.lot_size * instrument.lot_size


def max_entry_quantity(case: LimitedCase) -> Decimal:
    """The largest quantity that the size rules permit, exact to the lot; 0 if none (base units).

    Bisection over lots between the smallest legal quantity and what the largest position allows:
    the size rules are monotone above the smallest legal quantity.
    """
    instrument, price, least = case.snapshot.instrument, case.count_price, smallest_legal_quantity(case)
    if instrument is None or price is None or least is None:
        return ZERO
    lot = instrument.lot_size
    low = int(least / lot)
    top = min(instrument.max_quantity, case.limits.max_position_notional / price)
    high = int((top / lot).to_integral_value(rounding=ROUND_DOWN))
    if high < low or not _permits_size(case, low * lot):
        return ZERO
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _permits_size(case, middle * lot) else (low, middle - 1)
    return low * lot


def _permits_size(case: LimitedCase, quantity: Decimal) -> bool:
    sized = with_quantity(case, quantity)
    return all(rule(sized) is None for rule in (*ENTRY_SIZE_RULES, *SIZE_RULES))
