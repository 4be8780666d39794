"""The gate: may this order go out? Pure: the same inputs always give the same answer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from functools import lru_cache
from typing import Any, TypeVar

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
Rules = tuple[Callable[[Any], Breach | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the rules said; `is_fit`: some quantity might be allowed, as no fixed rule was breached."""

    breaches: tuple[Breach, ...]
    outcomes: tuple[RuleOutcome, ...]
    is_fit: bool


LIMITED_RULES: Rules = (*ENTRY_RULES, *LIMIT_RULES)
LIMITED_SIZE_RULES: Rules = (*ENTRY_SIZE_RULES, *SIZE_RULES)


def decide(intent: Intent, snapshot: Snapshot, limits: Limits | None) -> Decision:
    """Judge one intent: every applicable rule runs and every breach is reported.

    An order that is not reduce-only adds risk: it needs every fact, and `limits` None denies. A
    reduce-only order cannot add risk at the venue: it is judged without limits and facts of the
    book. Numbers that are not numbers deny before any rule that would calculate with them. Where
    only the size is too much and the intent may be resized, the answer is about the largest
    quantity that is allowed.
    """
    case = open_case(intent, snapshot)
    if (invalid := permits_real_numbers(case)) is not None:
        return deny(intent, invalid)
    return _decide_exit(case) if intent.reduce_only else _decide_entry(case, limits)


def deny(intent: Intent, *breaches: Breach) -> Decision:
    """A denial for reasons that leave nothing to calculate."""
    return _make(intent.quantity, _in_order(breaches), ())


def _make(
    quantity: Decimal,
    breaches: tuple[Breach, ...],
    outcomes: tuple[RuleOutcome, ...],
    *,
    largest: Decimal = ZERO,
    resized_for: tuple[Breach, ...] = (),
) -> Decision:
    return Decision(
        allowed=not breaches,
        breaches=breaches,
        outcomes=outcomes,
        max_quantity=largest,
        quantity=quantity,
        resized_for=resized_for,
    )


def _decide_exit(case: Case) -> Decision:
    if not has_real_positions(case.snapshot):
        invalid = breach(ReasonCode.FACT_INVALID, measured="position", limit="finite")
        return deny(case.intent, invalid)
    instrument = case.snapshot.instrument
    if instrument is not None and not has_real_filters(instrument):
        case = replace(case, snapshot=replace(case.snapshot, instrument=None))
    found = _judge(case, EXIT_RULES, EXIT_SIZE_RULES)
    largest = max_exit_quantity(case) if found.is_fit else ZERO
    return _make(case.quantity, found.breaches, found.outcomes, largest=largest)


def _decide_entry(case: Case, limits: Limits | None) -> Decision:
    invalid = [permits_real_facts(case.snapshot), permits_real_limits(limits) if limits else None]
    if known := [item for item in invalid if item is not None]:
        return deny(case.intent, *known)
    if limits is None:
        found = _judge(case, ENTRY_RULES, ENTRY_SIZE_RULES)
        breaches = _in_order((*found.breaches, breach(ReasonCode.LIMITS_UNKNOWN)))
        return _make(case.quantity, breaches, found.outcomes)
    limited = limit_case(case, limits)
    found = _judge(limited, LIMITED_RULES, LIMITED_SIZE_RULES)
    largest = max_entry_quantity(limited) if found.is_fit else ZERO
    if found.breaches and found.is_fit and case.intent.may_resize:
        return _resize(limited, found, largest)
    return _make(case.quantity, found.breaches, found.outcomes, largest=largest)


def _resize(case: LimitedCase, found: Judgement, largest: Decimal) -> Decision:
    """The answer for the largest allowed quantity below the one asked for, if there is one."""
    instrument, least = case.snapshot.instrument, smallest_legal_quantity(case)
    if instrument is not None and least is not None:
        quantity = min(largest, case.quantity // instrument.lot_size * instrument.lot_size)
        if quantity >= least:
            again = _judge(with_quantity(case, quantity), LIMITED_RULES, LIMITED_SIZE_RULES)
            if not again.breaches:
                return _make(quantity, (), again.outcomes, largest=largest, resized_for=found.breaches)
    return _make(case.quantity, found.breaches, found.outcomes, largest=largest)


def _judge(case: AnyCase, fixed: Rules, sized: Rules) -> Judgement:
    """Run all rules."""
    found = [rule(case) for rule in fixed]
    is_fit = not any(found)
    found += [rule(case) for rule in sized]
    passed = _all_passed(fixed, sized)
    breaches = [item for item in found if item is not None]
    if not breaches:
        return Judgement(breaches=(), outcomes=passed, is_fit=True)
    outcomes = tuple(
        was if item is None else RuleOutcome(rule=was.rule, code=item.code.value)
        for was, item in zip(passed, found, strict=True)
    )
    return Judgement(breaches=_in_order(breaches), outcomes=outcomes, is_fit=is_fit)


@lru_cache(maxsize=16)
def _all_passed(fixed: Rules, sized: Rules) -> tuple[RuleOutcome, ...]:
    return tuple(RuleOutcome(rule=rule.__name__, code=NONE) for rule in (*fixed, *sized))


def _in_order(breaches: Iterable[Breach]) -> tuple[Breach, ...]:
    """Each code once, first statement kept, in the documented order."""
    unique: dict[ReasonCode, Breach] = {}
    for item in breaches:
        unique.setdefault(item.code, item)
    return tuple(unique[code] for code in sorted(unique, key=lambda code: code.rank))


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
    if high < low:
        return ZERO
    broken = _find_broken(case, high * lot, LIMITED_SIZE_RULES)
    if not broken:
        return high * lot
    if _find_broken(case, low * lot, broken):
        return ZERO
    return _bisect(case, broken, low, high) * lot


def _bisect(case: LimitedCase, broken: Rules, low: int, high: int) -> int:
    """The most lots that are permitted: `low` are, and `high` break the given rules.

    What `high` does not break, nothing smaller does.
    """
    lot = case.snapshot.instrument.lot_size if case.snapshot.instrument else ZERO
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _find_broken(case, middle * lot, broken) else (middle, high)
    return low


def _find_broken(case: LimitedCase, quantity: Decimal, rules: Rules) -> Rules:
    sized = with_quantity(case, quantity)
    return tuple(rule for rule in rules if rule(sized) is not None)
