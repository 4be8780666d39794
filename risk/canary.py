"""Proves that the gate denies: a canary that breaks a limit, and the same with each fact taken away.

Pure decisions on the real facts of an account. Nothing is registered, so nothing can be sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from controlplane.errors import Unavailable
from risk.core import gate
from risk.core.reasons import ReasonCode
from risk.core.values import Decision, Intent, Limits, Snapshot
from risk.evidence import build, parse_text
from risk.limits import LADDER, get_limits, load_profiles
from risk.native import run_native
from risk.snapshot import SNAPSHOT, clock_facts, time_parameters
from trading import selectors
from trading.core.values import Clocks, OrderPurpose, OrderType, Side
from trading.models import Account, VenueAccount

# More than any venue would take, and any profile allows.
ABSURD_QUANTITY = Decimal(10) ** 9
BROKEN_LIMIT = ReasonCode.ORDER_NOTIONAL
# What is taken away -> what the denial must then name.
ABSENCES: Mapping[str, ReasonCode] = {
    "states": ReasonCode.STATE_HALTED,
    "permit": ReasonCode.PERMIT_MISSING,
    "global_risk": ReasonCode.GLOBAL_RISK_UNKNOWN,
    "instrument": ReasonCode.INSTRUMENT_UNKNOWN,
    "prices": ReasonCode.PRICE_UNKNOWN,
    "reconciliation": ReasonCode.RECONCILIATION_UNKNOWN,
    "balance": ReasonCode.BALANCE_UNKNOWN,
    "limits": ReasonCode.LIMITS_UNKNOWN,
}

_FACTS = f"""
WITH subject AS MATERIALIZED (
  SELECT NULL::uuid AS id, a.id AS account_id, v.id AS venue_account_id, %(strategy)s::text AS strategy,
    %(symbol)s::text AS symbol, a.name AS account, a.environment, v.venue
  FROM trading_venueaccount v JOIN trading_account a ON a.id = v.account_id WHERE v.id = %(place)s
)
SELECT ({SNAPSHOT})::text
"""  # noqa: S608 - made of constants


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
    return GateProof(
        symbol=intent.symbol,
        profile=used.profile,
        has_price=snapshot.prices is not None,
        allowed=decision.allowed,
        codes=tuple(item.code.value for item in decision.breaches),
        unnoticed=tuple(
            fact for fact, code in ABSENCES.items() if not _notices(intent, snapshot, used, fact, code)
        ),
    )


def _notices(intent: Intent, snapshot: Snapshot, limits: Limits, fact: str, code: ReasonCode) -> bool:
    decision = _decide_without(intent, snapshot, limits, fact)
    return not decision.allowed and code in {item.code for item in decision.breaches}


def _decide_without(intent: Intent, snapshot: Snapshot, limits: Limits, fact: str) -> Decision:
    if fact == "limits":
        return gate.decide(intent, snapshot, None)
    absent: object = () if fact == "states" else None
    return gate.decide(intent, replace(snapshot, **{fact: absent}), limits)  # type: ignore[arg-type]


def _load(account: Account, clocks: Clocks) -> tuple[Intent, Snapshot]:
    place = selectors.get_primary(account)
    assigned = selectors.list_assignments(account).first()
    if assigned is None or not assigned.symbols:
        raise NothingAssigned(f"account {account.name}: no strategy is assigned to any symbol")
    symbol = str(assigned.symbols[0])
    parameters = {"place": place.pk, "strategy": assigned.strategy, "symbol": symbol}
    rows = run_native(_FACTS, parameters | time_parameters(clocks.market_at))
    snapshot = build(Snapshot, parse_text(rows[0][0]) | clock_facts(clocks))
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
