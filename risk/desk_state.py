"""The one state that a whole desk is in, in one cheap statement: for whatever must never be out of sight."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection

from trading.core.values import TradingStateName

# A scope that must have a state and has none is HALTED; so is one whose stop stands without a row.
READ = """
WITH wanted AS (
  SELECT 'all' AS scope UNION ALL SELECT 'account:' || a.name FROM trading_account a
  WHERE a.environment = %(environment)s
), known AS (
  SELECT t.scope, t.state, t.reason FROM trading_tradingstate t
  UNION ALL
  SELECT w.scope, 'HALTED', 'no state is registered' FROM wanted w
  WHERE NOT EXISTS (SELECT 1 FROM trading_tradingstate t WHERE t.scope = w.scope)
  UNION ALL
  SELECT s.scope, 'HALTED', s.reason FROM risk_stopevent s
  WHERE s.ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM trading_tradingstate t WHERE t.scope = s.scope)
), ranked AS (
  SELECT k.*, array_position(ARRAY['ACTIVE', 'REDUCING', 'HALTED'], k.state::text) AS strictness,
    coalesce(array_position(ARRAY['all', 'account', 'venue', 'strategy', 'symbol'],
      split_part(k.scope, ':', 1)), 9) AS narrowness
  FROM known k
), strictest AS (
  SELECT * FROM ranked ORDER BY strictness DESC NULLS FIRST, narrowness, scope LIMIT 1
), stopping AS (
  SELECT count(*) AS stops, coalesce(sum(greatest(1, (
    SELECT count(*) FROM risk_stopstep p WHERE p.event_id = s.id AND p.status <> 'done'))), 0) AS steps
  FROM risk_stopevent s WHERE s.progress = 'STOPPING'
)
SELECT s.scope, s.state, s.reason, (SELECT count(DISTINCT r.scope) FROM ranked r WHERE r.strictness > 1),
  t.stops, t.steps, g.level, g.checked_at, statement_timestamp()
FROM strictest s CROSS JOIN stopping t
LEFT JOIN LATERAL (SELECT x.level, x.checked_at FROM risk_globalrisk x ORDER BY x.id DESC LIMIT 1) g ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskState:
    """The strictest state and the widest scope that has it; `held_back` counts scopes that are not ACTIVE.

    `stops` are those that the venues have not confirmed, with `steps` still to do. `level` None: global
    risk was never assessed.
    """

    scope: str
    state: TradingStateName
    reason: str
    held_back: int
    stops: int
    steps: int
    level: str | None
    checked_at: datetime | None
    wall_at: datetime


def read_desk_state() -> DeskState:
    with connection.cursor() as cursor:
        cursor.execute(READ, {"environment": settings.TRADING_ENVIRONMENT})
        scope, state, reason, held_back, stops, steps, level, checked_at, wall_at = cursor.fetchone()
    return DeskState(
        scope=scope,
        state=TradingStateName(state),
        reason=reason,
        held_back=held_back,
        stops=stops,
        steps=int(steps),
        level=level,
        checked_at=checked_at,
        wall_at=wall_at,
    )
