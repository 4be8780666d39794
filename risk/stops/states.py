"""The trading state of a scope: HALTED while a stop stands, REDUCING while a restriction does.

The only writer of states after their registration. A scope without a row stays HALTED: nothing here
creates one but a trip.
"""

from django.db import connection, transaction

from risk import metrics
from trading.core.values import TradingStateName

# Takes effect for every decision and every claim at the door that commits later: both lock this row.
HALT = """
INSERT INTO trading_tradingstate AS t (scope, state, version, reason, source, changed_at)
VALUES (%(scope)s, 'HALTED', 1, %(reason)s, %(source)s, clock_timestamp())
ON CONFLICT (scope) DO UPDATE SET state = 'HALTED', version = t.version + 1,
  reason = EXCLUDED.reason, source = EXCLUDED.source, changed_at = clock_timestamp()
WHERE t.state <> 'HALTED'
RETURNING t.id
"""

# What stands decides; the row is locked before what stands is read (a second statement sees it all).
LOCK = "SELECT 1 FROM trading_tradingstate WHERE scope = %(scope)s FOR UPDATE"
DERIVE = """
WITH stands AS (
  SELECT 'HALTED' AS state, s.reason, s.source FROM risk_stopevent s
  WHERE s.scope = %(scope)s AND s.ended_at IS NULL
), reduces AS (
  SELECT 'REDUCING' AS state, r.reason, r.cause AS source FROM risk_restriction r
  WHERE r.scope = %(scope)s AND r.lifted_at IS NULL ORDER BY r.since_at, r.id LIMIT 1
), wanted AS (
  SELECT * FROM stands UNION ALL SELECT * FROM reduces WHERE NOT EXISTS (SELECT 1 FROM stands)
  UNION ALL SELECT 'ACTIVE', %(reason)s, %(source)s
  WHERE NOT EXISTS (SELECT 1 FROM stands) AND NOT EXISTS (SELECT 1 FROM reduces)
)
UPDATE trading_tradingstate t SET state = w.state, version = t.version + 1, reason = w.reason,
  source = w.source, changed_at = clock_timestamp()
FROM wanted w WHERE t.scope = %(scope)s AND (t.state <> w.state
  OR w.state = 'REDUCING' AND (t.reason, t.source) IS DISTINCT FROM (w.reason, w.source))
RETURNING t.state
"""


def halt(*, scope: str, reason: str, source: str) -> None:
    """HALTED, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(HALT, {"scope": scope, "reason": reason, "source": source})


def lock_state(scope: str) -> None:
    """Hold the scope's state until the caller's transaction ends.

    Whoever begins or ends what holds a scope takes this before it reads what stands: what another has
    begun or ended, and not yet committed, would else be read as it was before.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCK, {"scope": scope})


def derive_state(*, scope: str, reason: str, source: str) -> TradingStateName | None:
    """Set the state that follows from what stands, in the caller's transaction; None if it was so already.

    `reason` and `source` are what an ACTIVE state says; the others say what holds them.
    """
    lock_state(scope)
    with connection.cursor() as cursor:
        cursor.execute(DERIVE, {"scope": scope, "reason": reason, "source": source})
        row = cursor.fetchone()
    if row is None:
        return None
    state = TradingStateName(row[0])
    transaction.on_commit(lambda: metrics.STOP_STATE.labels(scope=scope).set(state.strictness))
    return state
