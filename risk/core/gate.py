"""The gate: may this order go out? Pure: the same inputs always give the same answer."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from risk.core.measures import ZERO
from risk.core.reasons import NONE, ReasonCode
from risk.core.rules.case import (
    Case,
    LimitedCase,
    breach,
    limit_case,
    open_case,
    with_quantity,
    without_instrument,
)
from risk.core.rules.excess import EXCESSES
from risk.core.rules.registry import (
    ENTRY_RULES,
    ENTRY_SIZE_RULES,
    EXIT_RULES,
    EXIT_SIZE_RULES,
    LIMIT_RULES,
    SIZE_RULES,
)
from risk.core.rules.request import permits_real_numbers, permits_venue_quantity
from risk.core.rules.validity import (
    has_real_filters,
    has_real_positions,
    permits_real_facts,
    permits_real_limits,
)
from risk.core.values import Breach, Decision, Intent, Limits, RuleOutcome, Snapshot
from risk.core.working import working_value

Rules = tuple[Callable[[Any], Breach | None], ...]


@working_value
class RuleList:
    """The rules of one kind of order, `fixed` ones first, and what is recorded where all pass."""

    rules: Rules
    fixed: int
    passed: tuple[RuleOutcome, ...]


@working_value
class Judgement:
    """What the rules said; `is_fit`: some quantity might be allowed, as no fixed rule was breached."""

    breaches: tuple[Breach, ...]
    outcomes: tuple[RuleOutcome, ...]
    is_fit: bool


def _list_rules(fixed: Rules, sized: Rules) -> RuleList:
    rules = (*fixed, *sized)
    return RuleList(rules, len(fixed), tuple(RuleOutcome(rule=rule.__name__, code=NONE) for rule in rules))


LIMITED = _list_rules((*ENTRY_RULES, *LIMIT_RULES), (*ENTRY_SIZE_RULES, *SIZE_RULES))
UNLIMITED = _list_rules(ENTRY_RULES, ENTRY_SIZE_RULES)
EXIT = _list_rules(EXIT_RULES, EXIT_SIZE_RULES)
# What whole lots from the smallest legal quantity upwards can break.
CAPPING_RULES: Rules = (permits_venue_quantity, *SIZE_RULES)


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
        case = without_instrument(case)
    found = _judge(case, EXIT)
    largest = max_exit_quantity(case) if found.is_fit else ZERO
    return _make(case.quantity, found.breaches, found.outcomes, largest=largest)


def _decide_entry(case: Case, limits: Limits | None) -> Decision:
    unreal = permits_real_facts(case.snapshot)
    limitless = None if limits is None else permits_real_limits(limits)
    if unreal is not None or limitless is not None:
        return deny(case.intent, *[item for item in (unreal, limitless) if item is not None])
    if limits is None:
        found = _judge(case, UNLIMITED)
        breaches = _in_order((*found.breaches, breach(ReasonCode.LIMITS_UNKNOWN)))
        return _make(case.quantity, breaches, found.outcomes)
    limited = limit_case(case, limits)
    found = _judge(limited, LIMITED)
    largest = max_entry_quantity(limited) if found.is_fit else ZERO
    if found.breaches and found.is_fit and case.intent.may_resize:
        return _resize(limited, found, largest)
    return _make(case.quantity, found.breaches, found.outcomes, largest=largest)


def _resize(case: LimitedCase, found: Judgement, largest: Decimal) -> Decision:
    """The answer for the largest allowed quantity below the one asked for, if there is one."""
    instrument, least = case.snapshot.instrument, case.ground.least
    if instrument is not None and least is not None:
        quantity = min(largest, case.quantity // instrument.lot_size * instrument.lot_size)
        if quantity >= least:
            again = _judge(with_quantity(case, quantity), LIMITED)
            if not again.breaches:
                return _make(quantity, (), again.outcomes, largest=largest, resized_for=found.breaches)
    return _make(case.quantity, found.breaches, found.outcomes, largest=largest)


def _judge(case: Case, listed: RuleList) -> Judgement:
    """Run all rules."""
    found = [rule(case) for rule in listed.rules]
    breaches = [item for item in found if item is not None]
    if not breaches:
        return Judgement((), listed.passed, True)
    outcomes = tuple(
        was if item is None else RuleOutcome(rule=was.rule, code=item.code.value)
        for was, item in zip(listed.passed, found, strict=True)
    )
    return Judgement(_in_order(breaches), outcomes, not any(found[: listed.fixed]))


def _in_order(breaches: Iterable[Breach]) -> tuple[Breach, ...]:
    """Each code once, first statement kept, in the documented order."""
    unique: dict[ReasonCode, Breach] = {}
    for item in breaches:
        unique.setdefault(item.code, item)
    return tuple(unique[code] for code in sorted(unique, key=lambda code: code.rank))


def max_exit_quantity(case: Case) -> Decimal:
    """The whole position, rounded down to the lot where the lot is known (base units)."""
    against = case.position * case.intent.side.sign < ZERO
    if not against:
        return ZERO
    instrument = case.snapshot.instrument
    if instrument is None:
        return abs(case.position)
    return abs(case.position) // instrument.lot_size * instrument.lot_size


def max_entry_quantity(case: LimitedCase) -> Decimal:
    """The largest quantity that the size rules permit, exact to the lot; 0 if none (base units).

    It lies between the smallest legal quantity and what the largest position allows; the size rules
    are monotone there.
    """
    instrument, price, least = case.snapshot.instrument, case.count_price, case.ground.least
    if instrument is None or price is None or least is None:
        return ZERO
    lot = instrument.lot_size
    top, low = case.limits.max_position_notional / price, int(least / lot)
    high = int((top if top < instrument.max_quantity else instrument.max_quantity) / lot)
    if high < low:
        return ZERO
    most = with_quantity(case, high * lot)
    broken = _find_broken(most, CAPPING_RULES)
    if not broken:
        return most.quantity
    if _find_broken(with_quantity(case, low * lot), broken):
        return ZERO
    return _find_most(case, most, broken, low, high) * lot


def _find_most(case: LimitedCase, most: LimitedCase, broken: Rules, low: int, high: int) -> int:
    """The most lots that are permitted: `low` are, and `high` (as in `most`) break the given rules.

    What `high` does not break, nothing smaller does. The quantity that a straight line finds is only
    believed if the rules permit it and deny one lot more.
    """
    lot = most.quantity / high
    guess = _guess_lots(case, most, broken, lot)
    if low <= guess < high:
        above = with_quantity(case, (guess + 1) * lot)
        if _find_broken(above, broken) and not _find_broken(with_quantity(case, guess * lot), broken):
            return guess
    return bisect_lots(case, broken, low, high)


def _guess_lots(case: LimitedCase, most: LimitedCase, broken: Rules, lot: Decimal) -> int:
    """Where the straight line through the asked quantity and `most` meets the first limit; 0 if unknown."""
    step, best = most.quantity - case.quantity, most.quantity
    for rule in broken:
        measure = EXCESSES.get(rule)
        rise = ZERO if measure is None else measure(most) - measure(case)
        if measure is None or not rise:
            return 0
        best = min(best, most.quantity - measure(most) * step / rise)
    return int(best / lot)


def bisect_lots(case: LimitedCase, broken: Rules, low: int, high: int) -> int:
    """The most lots that are permitted, by halving: `low` are, and `high` break the given rules."""
    lot = case.snapshot.instrument.lot_size if case.snapshot.instrument else ZERO
    while high - low > 1:
        middle = (low + high) // 2
        is_too_much = _find_broken(with_quantity(case, middle * lot), broken)
        low, high = (low, middle) if is_too_much else (middle, high)
    return low


def _find_broken(case: LimitedCase, rules: Rules) -> Rules:
    return tuple([rule for rule in rules if rule(case) is not None])
