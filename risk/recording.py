"""Registers and judges a new order in one statement, so that both are one commit and one way to the disk.

The statement is the one of risk.judgement, except that it stores the intent as judged instead of
moving one that waits. Where anything is in its way (the reference is known, somebody was faster, an
override or the throttle has a part in it) nothing is stored, and the order goes the longer way.
"""

from datetime import UTC
from decimal import Decimal
from time import perf_counter

from controlplane.native import run_native
from risk import models
from risk.core.values import Decision, Intent, Limits, Snapshot
from risk.core.verdict import reach_verdict
from risk.judgement import (
    COUNT_ENTRY,
    FENCE,
    INSERT,
    KEEP_BOOK,
    NO_COUNT,
    NO_FENCE,
    NO_OVERRIDES,
    SWAP_BOOK,
    count_decision,
    is_last_entry,
    make_row,
    naming_contention,
    parameters_of,
    reserves,
)
from risk.limits import get_limits
from risk.snapshot import LoadedIntent
from trading.core.values import IntentState, OrderPurpose, OrderType, Side
from trading.models import OrderIntent
from trading.services import ASKED, mark_stored

# As the columns keep it, so that the evidence is the same whichever way an order took.
STORED_DIGITS = Decimal("1E-10")
FIRST_VERSION, JUDGED_VERSION = 1, 2
# These may be null, of which the server could not tell the type.
NULLABLE = dict.fromkeys(("price", "stop_loss", "take_profit"), "::numeric")
ASKED_VALUES = ", ".join(f"%({name})s{NULLABLE.get(name, '')}" for name in ASKED)

REGISTER = f"""
fresh AS MATERIALIZED (SELECT nextval('risk_decision_id_seq') AS id FROM ready),
moved AS (
  INSERT INTO trading_orderintent ({", ".join(ASKED)}, decision_id, fencing_token, valid_until)
  SELECT {ASKED_VALUES}, fresh.id, %(fencing_token)s::bigint,
    CASE WHEN %(allowed)s THEN clock_timestamp() + %(lives_for)s ELSE NULL END
  FROM fresh
  ON CONFLICT (account_id, client_ref) DO NOTHING
  RETURNING id, decision_id, valid_until, created_at, updated_at
),
"""  # noqa: S608 - made of the names above
ANSWER = """
SELECT stored.id, stored.decided_at, moved.valid_until, moved.created_at, moved.updated_at
FROM stored CROSS JOIN moved
"""
STORE = INSERT + ANSWER
RESERVE_NEW = FENCE + SWAP_BOOK + NO_OVERRIDES + REGISTER + COUNT_ENTRY + STORE
APPROVE_NEW = FENCE + KEEP_BOOK + NO_OVERRIDES + REGISTER + NO_COUNT + STORE
DENY_NEW = NO_FENCE + NO_OVERRIDES + REGISTER + NO_COUNT + STORE


def judge_new_intent(*, intent: OrderIntent, snapshot: Snapshot) -> models.Decision | None:
    """Store the intent (from `make_intent`) with its decision; None if nothing was stored.

    `snapshot` holds the facts of its account for its strategy and symbol. Raises GateContended.
    """
    started = perf_counter()
    loaded = _load(intent, snapshot)
    permit = snapshot.permit
    limits = None if permit is None else get_limits(permit.limit_set_digest)
    verdict = reach_verdict(loaded.intent, snapshot, limits)
    if verdict.used or is_last_entry(loaded, verdict.decision, limits):
        return None
    with naming_contention(intent.pk):
        decision = _store(intent, loaded, verdict.decision, limits)
    if decision is not None:
        count_decision(loaded, decision, perf_counter() - started)
    return decision


def _load(row: OrderIntent, snapshot: Snapshot) -> LoadedIntent:
    return LoadedIntent(
        intent=facts_of(row),
        snapshot=snapshot,
        account_id=row.account_id,
        state=IntentState.PROPOSED,
        version=FIRST_VERSION,
        execute=row.execute,
    )


def facts_of(row: OrderIntent) -> Intent:
    """What the gate is asked, exactly as it would be read from the stored row."""
    return Intent(
        intent_id=str(row.pk),
        account=row.account.name,
        venue=row.venue_account.venue,
        strategy=row.strategy,
        symbol=row.symbol,
        side=Side(row.side),
        order_type=OrderType(row.order_type),
        purpose=OrderPurpose(row.purpose),
        quantity=row.quantity.quantize(STORED_DIGITS),
        price=_as_stored(row.price),
        stop_loss=_as_stored(row.stop_loss),
        take_profit=_as_stored(row.take_profit),
        reduce_only=row.reduce_only,
        signal_at=row.signal_at.astimezone(UTC),
        source=row.source,
        may_resize=row.may_resize,
    )


def _as_stored(number: Decimal | None) -> Decimal | None:
    return None if number is None else number.quantize(STORED_DIGITS)


def _store(
    intent: OrderIntent, loaded: LoadedIntent, decision: Decision, limits: Limits | None
) -> models.Decision | None:
    row = make_row(loaded, decision, limits)
    parameters = parameters_of(loaded, row, limits) | {"version": JUDGED_VERSION, "latches": False}
    asked = {name: getattr(intent, name) for name in ASKED}
    rows = run_native(_statement(loaded, decision), asked | parameters)
    if not rows:
        return None
    row.id, row.decided_at, intent.valid_until, intent.created_at, intent.updated_at = rows[0]
    for name in ("state", "version", "fencing_token"):
        setattr(intent, name, parameters[name])
    intent.quantity, intent.requested_quantity = row.quantity, row.requested_quantity
    intent.limit_set_digest, intent.decision_id = row.limit_set_digest, row.id
    mark_stored(intent)
    mark_stored(row)
    return row


def _statement(loaded: LoadedIntent, decision: Decision) -> str:
    if not decision.allowed:
        return DENY_NEW
    return RESERVE_NEW if reserves(loaded, decision) else APPROVE_NEW
