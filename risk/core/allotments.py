"""Divides a limit that spans accounts, so that a decision needs to lock one account only.

Each account may then use its own part without asking the others: whatever they do, the parts
together never exceed the limit.
"""

from collections.abc import Collection, Iterable, Mapping
from decimal import ROUND_DOWN, ROUND_UP, Decimal

from risk.core.measures import Item, collect_holdings

ZERO = Decimal(0)
# Parts are whole multiples of this (USDT); it is finer than any lot is worth.
GRAIN = Decimal("0.00000001")


def measure_usage(items: Iterable[Item]) -> dict[str, Decimal] | None:
    """Worst-case gross notional by scope (all, venue:V, strategy:S, symbol:X), USDT, rounded up.

    N_s of every symbol at every venue, as the gate measures it; a symbol counts in full for each
    strategy in it. None where something has no mark.
    """
    items = list(items)
    if any(item.mark is None for item in items):
        return None
    usage: dict[str, Decimal] = {"all": ZERO}
    for held in collect_holdings(items).values():
        worst = held.worst_notional
        strategies = (f"strategy:{name}" for name in held.strategies)
        for scope in ("all", f"venue:{held.venue}", f"symbol:{held.symbol}", *strategies):
            usage[scope] = usage.get(scope, ZERO) + worst
    return {scope: used.quantize(GRAIN, rounding=ROUND_UP) for scope, used in usage.items()}


def divide(limit: Decimal, usage: Mapping[str, Decimal], sharing: Collection[str]) -> dict[str, Decimal]:
    """Each account's part of the limit (USDT, >= 0), together at most the limit.

    `usage` is what each account has in use, >= 0; those of `sharing` also get an equal part of what is
    free, the others keep what they use and no more. Where more is in use than the limit allows, every
    part shrinks in proportion, so that nobody may add.
    """
    used = sum(usage.values(), ZERO)
    if used > limit:
        return {name: _down(limit * part / used) for name, part in usage.items()}
    heirs = [name for name in usage if name in sharing]
    free = _down((limit - used) / len(heirs)) if heirs else ZERO
    return {name: part + (free if name in heirs else ZERO) for name, part in usage.items()}


def _down(amount: Decimal) -> Decimal:
    return max(ZERO, amount).quantize(GRAIN, rounding=ROUND_DOWN)
