"""Drawdown of the day, by RISK.md's index: what came from outside is neither won nor lost."""

from datetime import datetime, timedelta
from decimal import Decimal

from controlplane.native import run_native
from risk.snapshot import FLOW_KINDS, anchor_times
from trading.models import VenueAccount

PLACES = 10
ZERO = Decimal(0)
SETTLING = timedelta(minutes=2)

# U_t = U_{t-1} (E_t - F_t) / E_{t-1}, as the exponential of a sum of logarithms (float8: a ratio, no
# money). The day begins with the last sample at or before 00:00 UTC, as its loss does. A flow belongs
# to the first sample at or after it. Where an equity was not above zero there is no index after it; with
# a reading of now, which speaks for itself, such a sample is passed over. A sample is dated by the start
# of its comparison: where money came from outside just after that, it may be in it already or not.
DRAWDOWN = """
WITH began AS MATERIALIZED (
  SELECT coalesce((SELECT max(p.market_at) FROM trading_equitysample p
    WHERE p.venue_account_id = %(venue_account_id)s AND p.market_at <= %(since)s), %(since)s) AS at
), told AS MATERIALIZED (
  SELECT n.market_at, n.amount FROM trading_income n, began b
  WHERE n.venue_account_id = %(venue_account_id)s AND n.kind = ANY (%(flow_kinds)s::text[])
    AND n.market_at > b.at
), seen AS MATERIALIZED (
  SELECT q.id, q.market_at, q.equity::float8 AS equity, 0::float8 AS flow
  FROM trading_equitysample q, began b
  WHERE q.venue_account_id = %(venue_account_id)s AND q.market_at <= %(until)s AND q.market_at >= b.at
    AND (q.equity > 0 OR %(equity)s::numeric IS NULL)
    AND NOT EXISTS (SELECT 1 FROM told n
      WHERE n.market_at > q.market_at AND n.market_at <= q.market_at + %(settling)s)
  UNION ALL
  SELECT 9223372036854775807, %(until)s, %(equity)s::float8, %(net_flow)s::float8
  WHERE %(equity)s::float8 IS NOT NULL
), samples AS MATERIALIZED (
  SELECT q.id, q.market_at, q.equity, q.flow,
    lag(q.equity) OVER (ORDER BY q.market_at, q.id) AS before
  FROM seen q
), flows AS MATERIALIZED (
  SELECT s.id, sum(n.amount)::float8 AS amount
  FROM told n CROSS JOIN LATERAL (
    SELECT x.id FROM samples x WHERE x.market_at >= n.market_at ORDER BY x.market_at, x.id LIMIT 1
  ) s
  WHERE n.market_at > (SELECT min(market_at) FROM samples)
  GROUP BY s.id
), curve AS MATERIALIZED (
  SELECT s.id, s.market_at, sum(CASE
      WHEN s.before IS NULL THEN 0
      WHEN s.before > 0 THEN ln(greatest((s.equity - s.flow - coalesce(f.amount, 0)) / s.before, 1e-100))
    END) OVER w AS level,
    bool_and(coalesce(s.before, s.equity) > 0) OVER w AS is_known
  FROM samples s LEFT JOIN flows f ON f.id = s.id
  WINDOW w AS (ORDER BY s.market_at, s.id ROWS UNBOUNDED PRECEDING)
)
SELECT 1 - exp(greatest(c.level - (SELECT max(level) FROM curve), -200)), c.is_known FROM curve c
ORDER BY c.market_at DESC, c.id DESC LIMIT 1
"""


def measure_drawdown(
    venue_account: VenueAccount,
    market_at: datetime,
    *,
    equity: Decimal | None = None,
    net_flow: Decimal = ZERO,
    since: datetime | None = None,
) -> Decimal | None:
    """1 - U / max U since 00:00 UTC (or `since`), a ratio >= 0; None without a sample or without equity.

    `equity` (USDT) is a reading of this moment, taken as one more sample; `net_flow` came from outside
    since the last booked income and is in it.
    """
    parameters = {
        "venue_account_id": venue_account.pk,
        "since": since or next(iter(anchor_times(market_at).values())),
        "until": market_at,
        "flow_kinds": list(FLOW_KINDS),
        "equity": equity,
        "net_flow": net_flow,
        "settling": SETTLING,
    }
    rows = run_native(DRAWDOWN, parameters)
    if not rows or not rows[0][1]:
        return None
    return max(Decimal(0), round(Decimal(rows[0][0]), PLACES))
