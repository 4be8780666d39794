"""The one statement that claims an approved intent (RISK.md 3.2) and the fence around its request.

It locks the intent, takes the trading states of every scope and the permit FOR SHARE, so that a trip
or a newer permit either is seen here or waits for us, reads the clock after the locks, and only
where every condition holds moves the intent to DISPATCHED, adds the order as SENDING and counts it.

Claiming and sending are two things: connecting to the venue lies between. So an entry's request starts
under the same locks once more, held until its bytes are with the operating system.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import Error, OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from trading import models
from trading.core.ids import make_client_order_id
from trading.core.values import OrderPurpose, Scope
from trading.dispatch.messages import AGAIN
from trading.venues.gateway import NotPermitted

logger = logging.getLogger(__name__)

# The price that the order would meet is at most this old, on the wall and (times speed) in the market.
MAX_PRICE_AGE = timedelta(seconds=5)
# A venue dates its prices by its own steps, and a quiet book by its last change (market time).
PUBLISHED_EVERY = timedelta(seconds=10)
# How far mark may have moved since the decision, and a limit price may lie through it.
COLLAR_RATIO = Decimal("0.005")
# How long a request that starts may keep a trip waiting, and how long it waits for one itself.
MAX_HOLD = timedelta(seconds=1)
MAX_FENCE_WAIT = timedelta(milliseconds=500)
OPERATOR = "operator"
REMOVING_RISK_ALWAYS = (
    OrderPurpose.STOP_LOSS,
    OrderPurpose.TAKE_PROFIT,
    OrderPurpose.SAFETY_CLOSE,
    OrderPurpose.FLATTEN,
)
CLAIMED = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`code` is "" where the order was added, else why the door stayed shut."""

    code: str
    order_id: int | None


# Unknown scopes have no row, which is HALTED. `adds` and `free` say what the purpose needs.
FENCE = """
intent AS MATERIALIZED (
  SELECT i.*, i.purpose = 'entry' AS adds, (i.purpose = ANY (%(always)s) OR i.source = %(operator)s) AS free
  FROM trading_orderintent i WHERE i.id = %(intent_id)s {lock}
), states AS MATERIALIZED (
  SELECT s.state FROM trading_tradingstate s WHERE s.scope = ANY (%(scopes)s) {after} FOR SHARE
), permit AS MATERIALIZED (
  SELECT p.fencing_token, p.lease_expires_at, p.limit_set_digest FROM trading_permit p
  WHERE p.account_id = %(account_id)s AND p.active AND p.environment = %(environment)s
  {after} FOR SHARE
), held AS MATERIALIZED (
  SELECT count(*) FILTER (WHERE s.state = 'ACTIVE') AS active,
    count(*) FILTER (WHERE s.state IN ('ACTIVE', 'REDUCING')) AS reducing FROM states s
), locked AS MATERIALIZED (
  SELECT h.active, h.reducing, (SELECT count(*) FROM permit) AS permits,
    (SELECT count(*) FROM intent) AS found
  FROM held h
), moment AS MATERIALIZED (
  -- The clock is read behind the locks, however long they took.
  SELECT clock_timestamp() AS wall_at, l.active, l.reducing FROM locked l
  WHERE l.permits >= 0 AND l.found >= 0
), market AS MATERIALIZED (
  SELECT m.*, coalesce(c.speed, 1) AS speed, CASE
    WHEN c.id IS NULL THEN m.wall_at
    WHEN c.paused OR m.wall_at <= c.started_at THEN c.anchor_at
    ELSE c.anchor_at + (m.wall_at - c.started_at) * c.speed END AS market_at
  FROM moment m LEFT JOIN trading_marketclock c ON c.id = 1
)
"""

PERMITTED = """
  WHEN i.valid_until IS NULL OR i.valid_until <= m.wall_at THEN 'STALE_DECISION'
  WHEN i.adds AND m.active < %(scope_count)s THEN
    CASE WHEN m.reducing < %(scope_count)s THEN 'STATE_HALTED' ELSE 'STATE_REDUCING' END
  WHEN NOT i.free AND m.reducing < %(scope_count)s THEN 'STATE_HALTED'
  WHEN i.adds AND p.fencing_token IS NULL THEN 'PERMIT_MISSING'
  WHEN i.adds AND (i.fencing_token IS DISTINCT FROM p.fencing_token
    OR i.limit_set_digest <> p.limit_set_digest) THEN 'PERMIT_MISMATCH'
  WHEN i.adds AND p.lease_expires_at <= m.wall_at THEN 'PERMIT_EXPIRED'
"""

PRICED = """
  WHEN i.adds AND x.mark IS NULL THEN 'PRICE_UNKNOWN'
  WHEN i.adds AND (x.read_at < m.wall_at - %(max_age)s::interval
    OR x.at < m.market_at - %(max_age)s::interval * m.speed - %(step)s::interval) THEN 'PRICE_STALE'
  WHEN i.adds AND abs(x.mark - coalesce(%(reference)s::numeric, x.mark)) > %(collar)s * x.mark
    THEN 'PRICE_COLLAR'
  WHEN i.adds AND i.price IS NOT NULL AND (i.price - x.mark) * d.sign > %(collar)s * x.mark
    THEN 'PRICE_COLLAR'
  WHEN i.adds AND ((x.mark - i.stop_loss) * d.sign <= 0 OR (i.take_profit - x.mark) * d.sign <= 0)
    THEN 'PRICE_COLLAR'
"""

CLAIM = f"""
WITH {FENCE.format(lock="FOR UPDATE", after="")}, verdict AS MATERIALIZED (
  SELECT m.wall_at, m.market_at, CASE
    WHEN i.state <> 'approved' OR i.decision_id IS NULL OR NOT EXISTS (
      SELECT 1 FROM risk_decision r WHERE r.id = i.decision_id AND r.intent_id = i.id AND r.allowed
        AND r.limit_set_digest = i.limit_set_digest) THEN 'NOT_APPROVED'
    WHEN NOT i.execute THEN 'JUDGEMENT_ONLY'
    {PERMITTED}
    {PRICED}
    WHEN i.adds AND EXISTS (
      SELECT 1 FROM trading_order o WHERE o.venue_account_id = i.venue_account_id AND o.symbol = i.symbol
        AND o.state IN ('sending', 'unknown')) THEN 'UNSETTLED_ORDER'
    WHEN i.adds AND EXISTS (
      SELECT 1 FROM trading_order o WHERE o.venue_account_id = i.venue_account_id AND o.symbol = i.symbol
        AND o.state IN ('sending', 'unknown', 'open') AND o.purpose IN ('stop_loss', 'take_profit')
        AND NOT EXISTS (SELECT 1 FROM trading_position q WHERE q.venue_account_id = i.venue_account_id
          AND q.symbol = i.symbol AND q.quantity <> 0)) THEN 'ORPHAN_PROTECTION'
    ELSE '' END AS code
  FROM intent i CROSS JOIN market m
  CROSS JOIN LATERAL (SELECT CASE i.side WHEN 'buy' THEN 1 ELSE -1 END AS sign) d
  LEFT JOIN permit p ON true
  LEFT JOIN trading_marketprice x ON x.venue = %(venue)s AND x.symbol = i.symbol
), claimed AS (
  UPDATE trading_orderintent t SET state = 'dispatched', version = t.version + 1, updated_at = v.wall_at
  FROM verdict v WHERE t.id = %(intent_id)s AND t.state = 'approved' AND v.code = ''
  RETURNING t.id
), placed AS (
  INSERT INTO trading_order (intent_id, venue_account_id, symbol, client_order_id, venue_order_id,
    executed_by, purpose, side, order_type, time_in_force, quantity, price, reduce_only, close_position,
    state, version, filled_quantity, venue_code, lookups, market_at, sent_at, updated_at)
  SELECT i.id, i.venue_account_id, i.symbol, %(client_order_id)s, '', '', i.purpose, i.side, i.order_type,
    i.time_in_force, i.quantity, i.price, i.reduce_only OR NOT i.adds, false, 'sending', 1, 0, '', 0,
    v.market_at, v.wall_at, v.wall_at
  FROM claimed c JOIN intent i ON i.id = c.id CROSS JOIN verdict v
  RETURNING id, venue_account_id, market_at, sent_at
), noted AS (
  INSERT INTO trading_orderevent (order_id, state, venue_code, detail, market_at, at)
  SELECT id, 'sending', '', '', market_at, sent_at FROM placed
), counted AS (
  INSERT INTO trading_messageslot AS held (venue_account_id, slot, second_at, count)
  SELECT p.venue_account_id, floor(extract(second FROM p.sent_at)), date_trunc('second', p.sent_at), 1
  FROM placed p
  {AGAIN}
)
SELECT v.code, (SELECT id FROM placed) FROM verdict v
"""  # noqa: S608 - made of the constants above

STILL_PERMITTED = f"""
WITH {FENCE.format(lock="", after="")}
SELECT CASE {PERMITTED} ELSE '' END FROM intent i CROSS JOIN market m LEFT JOIN permit p ON true
"""  # noqa: S608 - made of the constants above

# No waiting for the disk at its end: a crash of the database may forget nothing but the time of sending.
START = f"""
WITH bounds AS MATERIALIZED (
  SELECT set_config('lock_timeout', %(max_wait)s, true) AS a,
    set_config('idle_in_transaction_session_timeout', %(max_hold)s, true) AS b,
    set_config('synchronous_commit', 'off', true) AS c
), {FENCE.format(lock="", after="AND (SELECT b.c FROM bounds b) IS NOT NULL")}, verdict AS MATERIALIZED (
  SELECT m.wall_at, CASE {PERMITTED} ELSE '' END AS code
  FROM intent i CROSS JOIN market m LEFT JOIN permit p ON true
), started AS (
  UPDATE trading_order o SET sent_at = v.wall_at FROM verdict v WHERE o.id = %(order_id)s AND v.code = ''
)
SELECT v.code FROM verdict v
"""  # noqa: S608 - made of the constants above


def claim_intent(intent: models.OrderIntent, reference_price: Decimal | None) -> Claim:
    """Claim the intent and commit its order as SENDING, or say why not."""
    parameters = _get_parameters(intent) | {
        "client_order_id": make_client_order_id(
            intent_id=intent.id, purpose=OrderPurpose(intent.purpose), attempt=1
        ),
        "venue": intent.venue_account.venue,
        "reference": reference_price,
        "collar": COLLAR_RATIO,
        "max_age": MAX_PRICE_AGE,
        "step": PUBLISHED_EVERY,
    }
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(CLAIM, parameters)
        code, order_id = cursor.fetchone()
    return Claim(code=code, order_id=order_id)


def may_still_leave(intent: models.OrderIntent) -> bool:
    """Whether states and the decision's age still hold right before an exit leaves.

    Asked over the connection that holds the symbol's lock, so that a worker which lost it stops here.
    """
    with connection.cursor() as cursor:
        cursor.execute(STILL_PERMITTED, _get_parameters(intent))
        (code,) = cursor.fetchone()
    return bool(code == CLAIMED)


@contextmanager
def hold_fence(intent: models.OrderIntent, order: models.Order) -> Iterator[float]:
    """Keep states and permit as they are while an entry's request starts; yields until when (monotonic).

    A trip commits before, and NotPermitted is raised, or after the request is written. `order.sent_at`
    becomes the time under the locks, so that no request starts later than what it says plus MAX_HOLD.

    A process that is paused within may not stop a trip: after MAX_HOLD the database ends its
    session, and once it goes on it finds its time over and writes nothing. What that leaves is a
    process paused between that look at the clock and the system call, or in the middle of a write:
    its request counts as on the wire when the trip came, and the stop's sweep resolves it.
    """
    until, is_held = monotonic() + MAX_HOLD.total_seconds(), False
    try:
        with transaction.atomic(durable=True):
            _start(intent, order)
            is_held = True
            yield until
    except Error as error:
        if not is_held:
            raise
        # The answer must be waited for all the same; the order is booked over a new connection.
        logger.error("%s: the fence was lost while it was sent: %s", order.client_order_id, error)
        connection.close()


def _start(intent: models.OrderIntent, order: models.Order) -> None:
    parameters = _get_parameters(intent) | {
        "order_id": order.pk,
        "max_hold": f"{MAX_HOLD // timedelta(milliseconds=1)}ms",
        "max_wait": f"{MAX_FENCE_WAIT // timedelta(milliseconds=1)}ms",
    }
    try:
        with connection.cursor() as cursor:
            cursor.execute(START, parameters)
            (code,) = cursor.fetchone()
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise NotPermitted("FENCE_BUSY") from error
        raise
    if code != CLAIMED:
        raise NotPermitted(code)


def _get_parameters(intent: models.OrderIntent) -> dict[str, Any]:
    scopes = [scope.key for scope in list_scopes(intent)]
    return {
        "intent_id": intent.id,
        "account_id": intent.account_id,
        "environment": settings.TRADING_ENVIRONMENT,
        "scopes": scopes,
        "scope_count": len(scopes),
        "always": [purpose.value for purpose in REMOVING_RISK_ALWAYS],
        "operator": OPERATOR,
    }


def list_scopes(intent: models.OrderIntent) -> tuple[Scope, ...]:
    """Every scope whose trading state binds the intent, widest first."""
    return (
        Scope(kind="all"),
        Scope(kind="venue", name=intent.venue_account.venue),
        Scope(kind="account", name=intent.account.name),
        Scope(kind="strategy", name=intent.strategy),
        Scope(kind="symbol", name=intent.symbol),
    )
