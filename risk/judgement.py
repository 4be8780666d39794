"""Judges intents: read the facts, decide, and store the answer in one statement.

The statement takes the stop fence, swaps the version of the account's book (which reserves the
headroom), uses up an override, counts the entry, stores the decision and moves the intent. If someone
was faster, everything is read and decided anew.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import perf_counter

from django.db import OperationalError, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable

from controlplane.alerts.services import raise_alert
from controlplane.audit.services import record
from controlplane.code_version import get_code_version
from controlplane.errors import Conflict, Unavailable
from controlplane.native import as_array, run_native
from risk import metrics, models
from risk.core.values import Decision, Limits
from risk.core.verdict import Verdict, reach_verdict
from risk.evidence import to_text
from risk.limits import get_limits
from risk.snapshot import LoadedIntent, load_intent
from trading.core.values import Clocks, IntentState
from trading.services import mark_stored

APPROVAL_LIVES_FOR = timedelta(seconds=5)
OPTIMISTIC_ATTEMPTS = 4
ATTEMPTS = 12


class GateContended(Unavailable):
    """The account's book kept changing under the decision; the intent stays as it was."""

    code = "gate_contended"


class IntentNotOpen(Conflict):
    """The intent has left PROPOSED without a decision (it lapsed), so it can no longer be judged."""

    code = "intent_not_open"


# No lock is waited for any longer than this.
LOCK_WAIT = timedelta(seconds=2)
# Locks the states that were read, at the versions that were read; a trip waits, or was first.
FENCE = """
WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', %(lock_wait)s, true) AS is_set),
fence AS MATERIALIZED (
  SELECT t.id FROM trading_tradingstate t
  JOIN unnest(%(state_ids)s::bigint[], %(state_versions)s::bigint[]) AS f(id, version)
    ON f.id = t.id AND f.version = t.version
  WHERE (SELECT is_set FROM patience) IS NOT NULL
  FOR SHARE OF t
), is_clear AS MATERIALIZED (
  SELECT count(*) = %(state_count)s AS ok FROM fence
),
"""

# An approval that reserves headroom: nobody else may have approved since the facts were read.
SWAP_BOOK = """
book AS MATERIALIZED (
  UPDATE risk_accountbook SET version = version + 1
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

# Held from here on; one that was used up or ended meanwhile leaves nothing to store.
HOLD_OVERRIDES = """
spent AS MATERIALIZED (
  SELECT o.id FROM risk_override o
  WHERE o.id = ANY (%(override_ids)s::bigint[]) AND EXISTS (SELECT 1 FROM book)
    AND o.ended_at IS NULL AND o.expires_at > clock_timestamp()
    AND (o.max_uses IS NULL OR o.used < o.max_uses)
  FOR UPDATE
), ready AS MATERIALIZED (
  SELECT 1 FROM spent HAVING count(*) = cardinality(%(override_ids)s::bigint[])
),
"""
NO_OVERRIDES = """
ready AS MATERIALIZED (SELECT 1 FROM book),
"""

USE_OVERRIDES = """
used AS (
  UPDATE risk_override SET used = used + 1
  WHERE id IN (SELECT id FROM spent) AND EXISTS (SELECT 1 FROM moved)
),
"""

# The repeated-execution throttle; a window that has run out begins anew with this entry.
RESTARTS = "coalesce(%(market_at)s - window_started_at >= %(repeat_window)s, true)"
ENTRIES = f"CASE WHEN {RESTARTS} THEN 1 ELSE entries + 1 END"
IS_NEWEST = "coalesce(last_signal_at <= %(signal_at)s, true)"
COUNT_ENTRY = f"""
counted AS (
  UPDATE risk_activity SET entries = {ENTRIES},
    window_started_at = CASE WHEN {RESTARTS} THEN %(market_at)s ELSE window_started_at END,
    last_signal_at = CASE WHEN {IS_NEWEST} THEN %(signal_at)s ELSE last_signal_at END,
    last_side = CASE WHEN {IS_NEWEST} THEN %(side)s ELSE last_side END,
    throttled_at = CASE WHEN %(latches)s AND {ENTRIES} >= %(max_repeats)s THEN clock_timestamp()
      ELSE throttled_at END
  WHERE account_id = %(account_id)s AND strategy = %(strategy)s AND symbol = %(symbol)s
    AND EXISTS (SELECT 1 FROM moved)
  RETURNING throttled_at
),
"""  # noqa: S608 - made of the constants above
NO_COUNT = """
counted AS (SELECT NULL::timestamptz AS throttled_at WHERE false),
"""

MOVE = """
fresh AS MATERIALIZED (SELECT nextval('risk_decision_id_seq') AS id FROM ready),
moved AS (
  UPDATE trading_orderintent SET state = %(state)s, version = version + 1,
    decision_id = (SELECT id FROM fresh), fencing_token = %(fencing_token)s,
    limit_set_digest = %(limit_set_digest)s, updated_at = clock_timestamp(),
    requested_quantity = coalesce(requested_quantity, quantity), quantity = %(quantity)s,
    valid_until = CASE WHEN %(allowed)s THEN clock_timestamp() + %(lives_for)s ELSE NULL END
  WHERE id = %(intent_id)s AND state = 'proposed' AND version = %(version)s AND EXISTS (SELECT 1 FROM ready)
  RETURNING id
),
"""

INSERT = """
stored AS (
  INSERT INTO risk_decision (id, intent_id, account_id, allowed, reason, breaches, outcomes, inputs,
    max_quantity, requested_quantity, quantity, override_id, account_version, limit_set_digest,
    code_version, market_at, decided_at)
  SELECT fresh.id, moved.id, %(account_id)s, %(allowed)s, %(reason)s, %(breaches)s, %(outcomes)s,
    %(inputs)s, %(max_quantity)s, %(requested_quantity)s, %(quantity)s, %(override_id)s,
    %(account_version)s, %(limit_set_digest)s, %(code_version)s, %(market_at)s, clock_timestamp()
  FROM moved CROSS JOIN fresh
  RETURNING id, decided_at
)
"""
ANSWER = """
SELECT stored.id, stored.decided_at, (SELECT throttled_at FROM counted) FROM stored
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
    "requested_quantity",
    "quantity",
    "override_id",
    "account_version",
    "limit_set_digest",
    "code_version",
    "market_at",
)

STORE = INSERT + ANSWER
RESERVE = FENCE + SWAP_BOOK + NO_OVERRIDES + MOVE + COUNT_ENTRY + STORE
RESERVE_OVERRIDDEN = FENCE + SWAP_BOOK + HOLD_OVERRIDES + MOVE + USE_OVERRIDES + COUNT_ENTRY + STORE
APPROVE = FENCE + KEEP_BOOK + NO_OVERRIDES + MOVE + NO_COUNT + STORE
DENY = NO_FENCE + NO_OVERRIDES + MOVE + NO_COUNT + STORE


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
        alone = attempt >= OPTIMISTIC_ATTEMPTS
        with naming_contention(intent_id):
            stored = _decide_alone(loaded, clocks) if alone else _decide_and_store(loaded)
        if stored is not None:
            count_decision(loaded, stored, perf_counter() - started)
            return stored
    raise GateContended(f"intent {intent_id}: the account's book changed {ATTEMPTS} times; judge again")


@contextmanager
def naming_contention(intent_id: uuid.UUID) -> Iterator[None]:
    """A lock that was not given in time is GateContended."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
            raise GateContended(f"intent {intent_id}: somebody holds the account's book") from error
        raise


def _get_first(intent_id: uuid.UUID, state: str) -> models.Decision:
    first = models.Decision.objects.filter(intent_id=intent_id).first()
    if first is None:
        raise IntentNotOpen(f"intent {intent_id} is {state} and was never judged")
    return first


def _decide_alone(loaded: LoadedIntent, clocks: Clocks) -> models.Decision | None:
    """Hold the account's book while reading and deciding, so that contention cannot go on for ever."""
    with transaction.atomic():
        run_native("SELECT set_config('lock_timeout', %(wait)s, true)", {"wait": _milliseconds(LOCK_WAIT)})
        # In the order of the statement: first the states, then the book.
        for state in sorted(loaded.snapshot.states, key=lambda item: item.row_id):
            run_native("SELECT 1 FROM trading_tradingstate WHERE id = %(id)s FOR SHARE", {"id": state.row_id})
        run_native(
            "SELECT 1 FROM risk_accountbook WHERE account_id = %(id)s FOR UPDATE", {"id": loaded.account_id}
        )
        again = load_intent(intent_id=uuid.UUID(loaded.intent.intent_id), clocks=clocks)
        return _decide_and_store(again) if again.state == IntentState.PROPOSED else None


def _decide_and_store(loaded: LoadedIntent) -> models.Decision | None:
    """Returns None if the fence, the book or the intent changed since the facts were read."""
    permit = loaded.snapshot.permit
    limits = None if permit is None else get_limits(permit.limit_set_digest)
    verdict = reach_verdict(loaded.intent, loaded.snapshot, limits)
    if not is_last_entry(loaded, verdict.decision, limits):
        return _store(loaded, verdict, limits)[0]
    # Rare: the entry after which a person must look. The latch and its audit event are one commit.
    with transaction.atomic():
        row, throttled_at = _store(loaded, verdict, limits, latches=True)
        if throttled_at is not None:
            _report_throttle(loaded, throttled_at)
        return row


def is_last_entry(loaded: LoadedIntent, decision: Decision, limits: Limits | None) -> bool:
    """Whether this entry is the one that reaches the throttle, by what was read."""
    activity = loaded.snapshot.activity
    if activity is None or limits is None or not reserves(loaded, decision):
        return False
    began = activity.window_started_at
    restarts = began is None or loaded.snapshot.market_at - began >= limits.repeat_window
    return (1 if restarts else activity.entries + 1) >= limits.max_repeats


def _report_throttle(loaded: LoadedIntent, throttled_at: datetime) -> None:
    intent, activity = loaded.intent, loaded.snapshot.activity
    subject = f"{intent.account} {intent.strategy} {intent.symbol}"
    raise_alert(
        code="strategy_throttled",
        severity="warning",
        scope=subject,
        text=f"{subject}: too many entries; no further one until a person enables it again",
        wall_at=throttled_at,
    )
    record(
        action="risk.throttle",
        actor="system:gate",
        subject_type="throttle",
        subject_id=subject,
        reason="entries reached the limit of the window",
        detail={"intent_id": intent.intent_id, "entries": activity.entries + 1 if activity else 1},
        correlation_id=intent.intent_id,
    )


def _store(
    loaded: LoadedIntent, verdict: Verdict, limits: Limits | None, *, latches: bool = False
) -> tuple[models.Decision | None, datetime | None]:
    """The stored row, or None if somebody was faster; and when the throttle latched."""
    row = make_row(loaded, verdict.decision, limits)
    parameters = parameters_of(loaded, row, limits) | {
        "version": loaded.version,
        "override_ids": as_array(item.override_id for item in verdict.used),
        "latches": latches,
    }
    rows = run_native(_statement(loaded, verdict), parameters)
    if not rows:
        return None, None
    row.id, row.decided_at, throttled_at = rows[0]
    mark_stored(row)
    return row, throttled_at


def parameters_of(loaded: LoadedIntent, row: models.Decision, limits: Limits | None) -> dict[str, object]:
    """What every statement that stores the decision is given."""
    states, permit, intent = loaded.snapshot.states, loaded.snapshot.permit, loaded.intent
    return {name: getattr(row, name) for name in STORED} | {
        "lock_wait": _milliseconds(LOCK_WAIT),
        "state_ids": as_array(item.row_id for item in states),
        "state_versions": as_array(item.version for item in states),
        "state_count": len(states),
        "state": IntentState.APPROVED.value if row.allowed else IntentState.DENIED.value,
        "fencing_token": None if permit is None else permit.fencing_token,
        "lives_for": APPROVAL_LIVES_FOR,
        "strategy": intent.strategy,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "signal_at": intent.signal_at,
        "max_repeats": 0 if limits is None else limits.max_repeats,
        "repeat_window": timedelta(0) if limits is None else limits.repeat_window,
    }


def make_row(loaded: LoadedIntent, decision: Decision, limits: Limits | None) -> models.Decision:
    return models.Decision(
        intent_id=uuid.UUID(loaded.intent.intent_id),
        account_id=loaded.account_id,
        allowed=decision.allowed,
        reason=decision.reason,
        breaches=to_text(decision.breaches),
        outcomes=to_text({item.rule: item.code for item in decision.outcomes}),
        inputs=to_text({"intent": loaded.intent, "snapshot": loaded.snapshot}),
        max_quantity=decision.max_quantity,
        requested_quantity=loaded.intent.quantity,
        quantity=decision.quantity,
        override_id=decision.override_id,
        account_version=loaded.snapshot.account_version,
        limit_set_digest="" if limits is None else limits.digest,
        code_version=get_code_version(),
        market_at=loaded.snapshot.market_at,
    )


def _statement(loaded: LoadedIntent, verdict: Verdict) -> str:
    if not verdict.decision.allowed:
        return DENY
    if not reserves(loaded, verdict.decision):
        return APPROVE
    return RESERVE_OVERRIDDEN if verdict.used else RESERVE


def reserves(loaded: LoadedIntent, decision: Decision) -> bool:
    """Whether the answer uses up headroom: an entry that is allowed and will be sent."""
    return decision.allowed and loaded.execute and not loaded.intent.reduce_only


def _milliseconds(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))


def count_decision(loaded: LoadedIntent, row: models.Decision, seconds: float) -> None:
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
