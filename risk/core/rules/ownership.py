"""Whose symbol it is, and which way the order goes."""

from risk.core.measures import BUY, ZERO
from risk.core.reasons import ReasonCode
from risk.core.rules.case import Case, breach
from risk.core.rules.permission import OPERATOR, SAFETY_PURPOSES
from risk.core.values import Breach


def permits_the_owner(case: Case) -> Breach | None:
    """One strategy owns a symbol on an account while it holds or waits there (RISK.md rule 4)."""
    intent, owners = case.intent, []
    symbol, strategy = intent.symbol, intent.strategy
    for held in case.snapshot.positions:
        if held.symbol == symbol and held.strategy != strategy:
            owners.append(held.strategy)
    for waiting in case.snapshot.pending:
        is_other = waiting.symbol == symbol and waiting.strategy != strategy
        if is_other and waiting.intent_id != intent.intent_id:
            owners.append(waiting.strategy)
    if not owners:
        return None
    measured = ", ".join(sorted(set(owners))) or "unknown"
    return breach(ReasonCode.SYMBOL_OWNED, measured=measured, limit=strategy)


def permits_owned_exits(case: Case) -> Breach | None:
    """An exit comes from the position's owner, an operator or a safety (RISK.md rule 4)."""
    intent = case.intent
    if intent.purpose in SAFETY_PURPOSES or intent.source == OPERATOR:
        return None
    owners = {
        item.strategy
        for item in case.snapshot.positions
        if item.symbol == intent.symbol and item.venue == intent.venue
    }
    if owners <= {intent.strategy}:
        return None
    return breach(ReasonCode.SYMBOL_OWNED, measured=", ".join(sorted(owners)), limit=intent.strategy)


def permits_entries_with_the_position(case: Case) -> Breach | None:
    """An entry does not go against what is held anywhere on the account: exits are reduce-only."""
    symbol, buys = case.intent.symbol, case.intent.side is BUY
    for item in case.snapshot.positions:
        if item.symbol == symbol and (item.quantity < ZERO if buys else item.quantity > ZERO):
            return breach(ReasonCode.WOULD_FLIP, measured=item.quantity, limit="same direction")
    return None


def permits_only_what_reduces(case: Case) -> Breach | None:
    """Reduce-only: against the position, 0 < quantity <= |position| (base units)."""
    against = case.position * case.intent.side.sign < 0
    if against and case.quantity <= abs(case.position):
        return None
    return breach(ReasonCode.NOT_REDUCING, measured=case.quantity, limit=case.position)


def permits_one_entry_at_a_time(case: Case) -> Breach | None:
    """No entry of the same strategy, symbol and side is approved, on its way or resting."""
    intent, symbol = case.intent, case.intent.symbol
    for item in case.snapshot.pending:
        is_same = item.symbol == symbol and item.strategy == intent.strategy and item.side is intent.side
        if is_same and item.intent_id != intent.intent_id:
            return breach(ReasonCode.DUPLICATE_INTENT, measured=f"{item.stage.value} {item.intent_id}")
    return None


def permits_clean_symbols(case: Case) -> Breach | None:
    """No protective order of a closed position rests: it would close the next one (RISK.md rule 5)."""
    count = case.snapshot.orphan_protections
    if count == 0:
        return None
    return breach(ReasonCode.ORPHAN_PROTECTION, measured=count, limit=0)


def permits_protected_positions(case: Case) -> Breach | None:
    """What is held on the symbol has a stop verified at the venue before more is added."""
    symbol = case.intent.symbol
    for item in case.snapshot.positions:
        if item.symbol == symbol and item.stop_price is None and item.quantity:
            return breach(ReasonCode.POSITION_UNPROTECTED, measured=item.quantity)
    return None
