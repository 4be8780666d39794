"""Proves that the gate denies: a canary that breaks a limit, and the same with each fact taken away.

Pure decisions on the real facts of an account. Nothing is registered, so nothing can be sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from controlplane.errors import Unavailable
from risk.core import gate
from risk.core.reasons import ReasonCode
from risk.core.values import Intent, Limits, Snapshot
from risk.limits import LADDER, get_limits, load_profiles
from risk.snapshot import load_facts
from trading import selectors
from trading.core.values import Clocks, OrderPurpose, OrderType, Side
from trading.models import Account, VenueAccount

# More than any venue would take, and any profile allows.
ABSURD_QUANTITY = Decimal(10) ** 9
BROKEN_LIMIT = ReasonCode.ORDER_NOTIONAL
# What is taken away -> what the denial must then name. "a.b" takes a part of a fact away.
ABSENCES: Mapping[str, ReasonCode] = {
    "states": ReasonCode.STATE_HALTED,
    "permit": ReasonCode.PERMIT_MISSING,
    "global_risk": ReasonCode.GLOBAL_RISK_UNKNOWN,
    "instrument": ReasonCode.INSTRUMENT_UNKNOWN,
    "prices": ReasonCode.PRICE_UNKNOWN,
    "reconciliation": ReasonCode.RECONCILIATION_UNKNOWN,
    "balance": ReasonCode.BALANCE_UNKNOWN,
    "allowed_symbols": ReasonCode.STRATEGY_NOT_ALLOWED,
    "setting": ReasonCode.VENUE_SETTING_UNKNOWN,
    "setting.is_one_way": ReasonCode.ACCOUNT_MODE_UNKNOWN,
    "setting.is_single_asset": ReasonCode.ACCOUNT_MODE_UNKNOWN,
    "instrument.delists_at": ReasonCode.DELISTING_UNKNOWN,
    "instrument.max_conditional_orders": ReasonCode.CONDITIONAL_ORDERS_UNKNOWN,
    "prices.reference": ReasonCode.REFERENCE_UNKNOWN,
    "prices.ask_quantity": ReasonCode.DEPTH_UNKNOWN,
    "prices.funding_rate": ReasonCode.FUNDING_UNKNOWN,
    "prices.funding_at": ReasonCode.FUNDING_UNKNOWN,
    "anchors": ReasonCode.EQUITY_ANCHOR_UNKNOWN,
    "entries_today": ReasonCode.TRADE_COUNT_UNKNOWN,
    "messages_last_minute": ReasonCode.MESSAGE_RATE_UNKNOWN,
    "conditional_orders": ReasonCode.CONDITIONAL_ORDERS_UNKNOWN,
    "activity": ReasonCode.ACTIVITY_UNKNOWN,
    "allotments": ReasonCode.ALLOTMENT_UNKNOWN,
    "limits": ReasonCode.LIMITS_UNKNOWN,
}
# Facts that are lists: nothing known is an empty one.
LISTS = frozenset({"states", "anchors", "allotments"})
# An order that cannot be valued is denied for that, before it is compared with these.
COMPARED_WITH_SIZE = frozenset({"allotments"})
UNVALUED = frozenset({ReasonCode.PRICE_UNKNOWN, ReasonCode.BOOK_PRICE_UNKNOWN})


class NothingAssigned(Unavailable):
    """No strategy is assigned on the account, so no order of it could be judged."""

    code = "nothing_assigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateProof:
    """What the gate said to the canary, and to the canary without each fact.

    `has_price` tells whether the canary could be valued at all. `unnoticed` are the absences that
    were allowed, or denied for other reasons only.
    """

    symbol: str
    profile: str
    has_price: bool
    allowed: bool
    codes: tuple[str, ...]
    unnoticed: tuple[str, ...]

    @property
    def is_limit_named(self) -> bool:
        return not self.allowed and BROKEN_LIMIT.value in self.codes


def prove_gate_denies(*, account: Account, clocks: Clocks) -> GateProof:
    """Judge the canary on the account's facts of this moment; raises NothingAssigned.

    Without a permit the lowest profile's limits are the ones to break.
    """
    intent, snapshot = _load(account, clocks)
    permit = snapshot.permit
    limits = None if permit is None else get_limits(permit.limit_set_digest)
    used = limits or load_profiles()[LADDER[0]]
    decision = gate.decide(intent, snapshot, used)
    valued = not UNVALUED & {item.code for item in decision.breaches}
    absences = [name for name in ABSENCES if valued or name not in COMPARED_WITH_SIZE]
    return GateProof(
        symbol=intent.symbol,
        profile=used.profile,
        has_price=snapshot.prices is not None,
        allowed=decision.allowed,
        codes=tuple(item.code.value for item in decision.breaches),
        unnoticed=tuple(fact for fact in absences if not _notices(intent, snapshot, used, fact)),
    )


def _notices(intent: Intent, snapshot: Snapshot, limits: Limits, fact: str) -> bool:
    """Part of a fact that is missing itself cannot be taken away: that is another line."""
    name, _, part = fact.partition(".")
    if fact == "limits":
        decision = gate.decide(intent, snapshot, None)
    elif part and getattr(snapshot, name) is None:
        return True
    else:
        decision = gate.decide(intent, _without(snapshot, name, part), limits)
    return not decision.allowed and ABSENCES[fact] in {item.code for item in decision.breaches}


def _without(snapshot: Snapshot, name: str, part: str) -> Snapshot:
    absent: object = () if name in LISTS else None
    if part:
        absent = replace(getattr(snapshot, name), **{part: None})
    return replace(snapshot, **{name: absent})  # type: ignore[arg-type]


def _load(account: Account, clocks: Clocks) -> tuple[Intent, Snapshot]:
    place = selectors.get_primary(account)
    assigned = selectors.list_assignments(account).first()
    if assigned is None or not assigned.symbols:
        raise NothingAssigned(f"account {account.name}: no strategy is assigned to any symbol")
    symbol = str(assigned.symbols[0])
    snapshot = load_facts(place_id=place.pk, strategy=assigned.strategy, symbol=symbol, clocks=clocks)
    return _make_canary(place, assigned.strategy, symbol, snapshot, clocks), snapshot


def _make_canary(
    place: VenueAccount, strategy: str, symbol: str, snapshot: Snapshot, clocks: Clocks
) -> Intent:
    return Intent(
        intent_id="canary",
        account=place.account.name,
        venue=place.venue,
        strategy=strategy,
        symbol=symbol,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        purpose=OrderPurpose.ENTRY,
        quantity=ABSURD_QUANTITY,
        price=None,
        stop_loss=None,
        take_profit=None,
        reduce_only=False,
        signal_at=clocks.market_at,
        source="canary",
    )
