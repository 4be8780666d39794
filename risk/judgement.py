"""Judges intents: read the facts, decide, and store the answer in one statement.

The statement takes the stop fence, swaps the version of the account's book (which reserves the
headroom), stores the decision and moves the intent. If someone was faster, everything is read and
decided anew.
"""

import uuid
from datetime import timedelta
from time import perf_counter

from django.db import transaction

from controlplane.code_version import get_code_version
from controlplane.errors import Conflict, Unavailable
from risk import metrics, models
from risk.core import gate
from risk.core.values import Decision, Limits
from risk.evidence import to_text
from risk.limits import get_limits
from risk.native import run_native
from risk.snapshot import LoadedIntent, load_intent
from trading.core.values import Clocks, IntentState

APPROVAL_LIVES_FOR = timedelta(seconds=5)
OPTIMISTIC_ATTEMPTS = 4
ATTEMPTS = 12


class GateContended(Unavailable):
    """The account's book kept changing under the decision; the intent stays as it was."""

    code = "gate_contended"


class IntentNotOpen(Conflict):
    """The intent has left PROPOSED without a decision (it lapsed), so it can no longer be judged."""

    code = "intent_not_open"


# Locks the states that were read, at the versions that were read; a trip waits, or was first.
FENCE = """
WITH fence AS MATERIALIZED (
  SELECT t.id FROM trading_tradingstate t
  JOIN unnest(%(state_ids)s::bigint[], %(state_versions)s::bigint[]) AS f(id, version)
    ON f.id = t.id AND f.version = t.version
  FOR SHARE OF t
), is_clear AS MATERIALIZED (
  SELECT count(*) = %(state_count)s AS ok FROM fence
),
"""

# An approval that reserves headroom: nobody else may have approved since the facts were read.
SWAP_BOOK = """
book AS MATERIALIZED (
  UPDATE risk_accountbook SET version = version + 1,
    minute_started_at = CASE WHEN clock_timestamp() - minute_started_at >= interval '1 minute'
      THEN clock_timestamp() ELSE minute_started_at END,
    minute_count = CASE WHEN clock_timestamp() - minute_started_at >= interval '1 minute'
      THEN 1 ELSE minute_count + 1 END
  WHERE account_id = %(account_id)s AND version = %(account_version)s AND (SELECT ok FROM is_clear)
  RETURNING version
),
"""
KEEP_BOOK = """
book AS MATERIALIZED (SELECT 1 AS version FROM is_clear WHERE ok),
"""
NO_FENCE = """
WITH book AS MATERIALIZED (SELECT 1 AS version),
"""

STORE = """
fresh AS MATERIALIZED (SELECT nextval('risk_decision_id_seq') AS id FROM book),
moved AS (
  UPDATE trading_orderintent SET state = %(state)s, version = version + 1,
    decision_id = (SELECT id FROM fresh), fencing_token = %(fencing_token)s,
    limit_set_digest = %(limit_set_digest)s, updated_at = clock_timestamp(),
    valid_until = CASE WHEN %(allowed)s THEN clock_timestamp() + %(lives_for)s ELSE NULL END
  WHERE id = %(intent_id)s AND state = 'proposed' AND version = %(version)s AND EXISTS (SELECT 1 FROM book)
  RETURNING id
)
INSERT INTO risk_decision (id, intent_id, account_id, allowed, reason, breaches, outcomes, inputs,
  max_quantity, account_version, limit_set_digest, code_version, market_at, decided_at)
SELECT fresh.id, moved.id, %(account_id)s, %(allowed)s, %(reason)s, %(breaches)s, %(outcomes)s, %(inputs)s,
  %(max_quantity)s, %(account_version)s, %(limit_set_digest)s, %(code_version)s, %(market_at)s,
  clock_timestamp()
FROM moved CROSS JOIN fresh
RETURNING id, decided_at
"""

STORED = (
    "intent_id",
    "account_id",
    "allowed",
    "reason",
    "breaches",
    "outcomes",
    "inputs",
    "max_quantity",
    "account_version",
    "limit_set_digest",
    "code_version",
    "market_at",
)

RESERVE = FENCE + SWAP_BOOK + STORE
APPROVE = FENCE + KEEP_BOOK + STORE
DENY = NO_FENCE + STORE


def judge_intent(*, intent_id: uuid.UUID, clocks: Clocks) -> models.Decision:
    """Decide once and for ever; a second call returns the first decision.

    Raises IntentNotFound, IntentNotOpen and GateContended (nothing is stored, the intent may be
    judged again).
    """
    started = perf_counter()
    for attempt in range(ATTEMPTS):
        loaded = load_intent(intent_id=intent_id, clocks=clocks)
        if loaded.state != IntentState.PROPOSED:
            return _get_first(intent_id, loaded.state)
        stored = _decide_and_store(loaded) if attempt < OPTIMISTIC_ATTEMPTS else _decide_alone(loaded, clocks)
        if stored is not None:
            _count(loaded, stored, perf_counter() - started)
            return stored
    raise GateContended(f"intent {intent_id}: the account's book changed {ATTEMPTS} times; judge again")


def _get_first(intent_id: uuid.UUID, state: str) -> models.Decision:
    first = models.Decision.objects.filter(intent_id=intent_id).first()
    if first is None:
        raise IntentNotOpen(f"intent {intent_id} is {state} and was never judged")
    return first


def _decide_alone(loaded: LoadedIntent, clocks: Clocks) -> models.Decision | None:
    """Hold the account's book while reading and deciding, so that contention cannot go on for ever."""
    with transaction.atomic():
        # In the order of the statement: first the states, then the book.
        for state in sorted(loaded.snapshot.states, key=lambda item: item.row_id):
            run_native("SELECT 1 FROM trading_tradingstate WHERE id = %(id)s FOR SHARE", {"id": state.row_id})
        run_native(
            "SELECT 1 FROM risk_accountbook WHERE account_id = %(id)s FOR UPDATE", {"id": loaded.account_id}
        )
        again = load_intent(intent_id=uuid.UUID(loaded.intent.intent_id), clocks=clocks)
        return _decide_and_store(again) if again.state == IntentState.PROPOSED else None


def _decide_and_store(loaded: LoadedIntent) -> models.Decision | None:
    permit = loaded.snapshot.permit
    limits = None if permit is None else get_limits(permit.limit_set_digest)
    decision = gate.decide(loaded.intent, loaded.snapshot, limits)
    return _store(loaded, decision, limits)


def _store(loaded: LoadedIntent, decision: Decision, limits: Limits | None) -> models.Decision | None:
    """Returns None if the fence, the book or the intent changed since the facts were read."""
    permit = loaded.snapshot.permit
    row = models.Decision(
        intent_id=uuid.UUID(loaded.intent.intent_id),
        account_id=loaded.account_id,
        allowed=decision.allowed,
        reason=decision.reason,
        breaches=to_text(decision.breaches),
        outcomes=to_text({item.rule: item.code for item in decision.outcomes}),
        inputs=to_text({"intent": loaded.intent, "snapshot": loaded.snapshot}),
        max_quantity=decision.max_quantity,
        account_version=loaded.snapshot.account_version,
        limit_set_digest="" if limits is None else limits.digest,
        code_version=get_code_version(),
        market_at=loaded.snapshot.market_at,
    )
    states = loaded.snapshot.states
    parameters: dict[str, object] = {
        "state_ids": [item.row_id for item in states],
        "state_versions": [item.version for item in states],
        "state_count": len(states),
        "state": IntentState.APPROVED.value if decision.allowed else IntentState.DENIED.value,
        "version": loaded.version,
        "fencing_token": None if permit is None else permit.fencing_token,
        "lives_for": APPROVAL_LIVES_FOR,
    }
    parameters |= {name: getattr(row, name) for name in STORED}
    rows = run_native(_statement(loaded, decision), parameters)
    if not rows:
        return None
    row.id, row.decided_at = rows[0]
    row._state.adding, row._state.db = False, "default"
    return row


def _statement(loaded: LoadedIntent, decision: Decision) -> str:
    if not decision.allowed:
        return DENY
    reserves = loaded.execute and not loaded.intent.reduce_only
    return RESERVE if reserves else APPROVE


def _count(loaded: LoadedIntent, row: models.Decision, seconds: float) -> None:
    assigned = loaded.snapshot.allowed_symbols is not None
    labels = {
        "decision": "allowed" if row.allowed else "blocked",
        "reason": row.reason,
        "account": loaded.intent.account,
        "venue": loaded.intent.venue,
        "strategy": loaded.intent.strategy if assigned else metrics.UNASSIGNED,
    }
    transaction.on_commit(lambda: metrics.DECISIONS.labels(**labels).inc())
    metrics.DECISION_SECONDS.observe(seconds)
