"""The statements that read what the gate needs to know; risk.snapshot runs them.

One statement sees one state of the database: an entry that is on its way from approval to order to
position is seen in exactly one of these places. Nothing here grows with history: every
look into a table of history is an indexed read of its newest rows.
"""

# Far above what a day of the largest profile fills.
COUNTED_FILLS = 10_000

# What the account holds, what may still fill, and how many protections rest on the order's symbol.
BOOK = """
held AS MATERIALIZED (
  SELECT v.venue, p.symbol, p.strategy, p.quantity, m.mark, m.at AS mark_at, i.take_profit AS target_price, (
      SELECT o.trigger_price FROM trading_order o
      WHERE o.venue_account_id = p.venue_account_id AND o.symbol = p.symbol
        AND o.state IN ('sending', 'unknown', 'open') AND o.state = 'open'
        AND o.purpose = 'stop_loss' AND o.verified_at IS NOT NULL
      ORDER BY o.id DESC LIMIT 1) AS stop_price
  FROM trading_position p
  JOIN trading_venueaccount v ON v.id = p.venue_account_id
  LEFT JOIN trading_orderintent i ON i.id = p.entry_intent_id
  LEFT JOIN trading_marketprice m ON m.venue = v.venue AND m.symbol = p.symbol
  WHERE v.account_id = (SELECT account_id FROM subject) AND p.quantity <> 0
), waiting AS MATERIALIZED (
  SELECT w.intent_id, v.venue, w.symbol, w.strategy, w.side, w.quantity, w.price, w.stop_loss, w.stage,
    w.has_fills, m.mark, m.at AS mark_at
  FROM (
    SELECT i.id AS intent_id, i.venue_account_id, i.symbol, i.strategy, i.side, i.quantity, i.price,
      i.stop_loss, 'approved' AS stage, false AS has_fills
    FROM trading_orderintent i
    WHERE i.account_id = (SELECT account_id FROM subject) AND i.state = 'approved' AND i.execute
      AND i.purpose = 'entry'
    UNION ALL
    SELECT o.intent_id, o.venue_account_id, o.symbol, j.strategy, o.side,
      o.quantity - o.filled_quantity, o.price, j.stop_loss, o.state, o.filled_quantity > 0
    FROM trading_order o JOIN trading_orderintent j ON j.id = o.intent_id
    WHERE o.venue_account_id IN (SELECT x.id FROM trading_venueaccount x
        WHERE x.account_id = (SELECT account_id FROM subject))
      AND o.state IN ('sending', 'unknown', 'open') AND o.purpose = 'entry'
      AND o.quantity > o.filled_quantity
  ) AS w
  JOIN trading_venueaccount v ON v.id = w.venue_account_id
  LEFT JOIN trading_marketprice m ON m.venue = v.venue AND m.symbol = w.symbol
)
"""

CONDITIONAL = """
conditional AS MATERIALIZED (
  SELECT count(*) AS number FROM trading_order o, subject s
  WHERE o.venue_account_id = s.venue_account_id AND o.symbol = s.symbol
    AND o.state IN ('sending', 'unknown', 'open') AND o.purpose IN ('stop_loss', 'take_profit')
)
"""

INTENT = """
  json_build_object(
    'intent_id', i.id, 'account', a.name, 'venue', v.venue, 'strategy', i.strategy, 'symbol', i.symbol,
    'side', i.side, 'order_type', i.order_type, 'purpose', i.purpose, 'quantity', i.quantity,
    'price', i.price, 'stop_loss', i.stop_loss, 'take_profit', i.take_profit,
    'reduce_only', i.reduce_only, 'signal_at', i.signal_at, 'source', i.source,
    'may_resize', i.may_resize)
"""

SUBJECT = f"""
subject AS MATERIALIZED (
  SELECT i.account_id, i.venue_account_id, i.strategy, i.symbol, a.name AS account, a.environment, v.venue,
    i.state, i.version, i.execute, {INTENT} AS intent
  FROM trading_orderintent i
  JOIN trading_account a ON a.id = i.account_id
  JOIN trading_venueaccount v ON v.id = i.venue_account_id
  WHERE i.id = %(intent_id)s
)
"""  # noqa: S608 - made of the constants above

# The symbols of which every pair may be one bet.
NAMED = """
named AS MATERIALIZED (
  SELECT array_agg(n.symbol::text) AS symbols
  FROM (SELECT symbol FROM subject UNION ALL SELECT symbol FROM held
    UNION ALL SELECT symbol FROM waiting) AS n
)
"""

# Each of the following is one fact of the subject `s`.
STATES = """
  SELECT coalesce(json_agg(json_build_object(
    'scope', t.scope, 'state', t.state, 'row_id', t.id, 'version', t.version) ORDER BY t.id), '[]')
  FROM trading_tradingstate t
  WHERE t.scope = ANY (ARRAY['all', 'venue:' || s.venue, 'account:' || s.account,
    'strategy:' || s.strategy, 'symbol:' || s.symbol])
"""

PERMIT = """
  SELECT json_build_object('permit_id', p.id, 'environment', p.environment, 'profile', p.profile,
    'limit_set_digest', p.limit_set_digest, 'fencing_token', p.fencing_token,
    'lease_expires_at', p.lease_expires_at)
  FROM trading_permit p WHERE p.account_id = s.account_id AND p.active
"""

ALLOWED = """
  SELECT g.symbols FROM trading_strategyassignment g
  WHERE g.account_id = s.account_id AND g.strategy = s.strategy AND g.enabled
"""

INSTRUMENT = """
  SELECT json_build_object('venue', f.venue, 'symbol', f.symbol, 'base', f.base,
    'is_trading', f.is_trading, 'tick_size', f.tick_size, 'lot_size', f.lot_size,
    'min_quantity', f.min_quantity, 'max_quantity', f.max_quantity,
    'max_market_quantity', f.max_market_quantity, 'min_notional', f.min_notional,
    'min_price', f.min_price, 'max_price', f.max_price,
    'delists_at', f.delists_at, 'max_conditional_orders', f.max_conditional_orders)
  FROM trading_instrument f WHERE f.venue = s.venue AND f.symbol = s.symbol
"""

SETTING = """
  SELECT json_build_object('leverage', e.leverage, 'margin_mode', e.margin_mode,
    'max_stop_ratio', e.max_stop_ratio, 'read_at', e.read_at,
    'is_one_way', e.is_one_way, 'is_single_asset', e.is_single_asset)
  FROM trading_venuesetting e
  WHERE e.venue_account_id = s.venue_account_id AND e.symbol = s.symbol
"""

PRICES = """
  SELECT json_build_object('symbol', m.symbol, 'mark', m.mark, 'last', m.last, 'index', m.index,
    'bid', m.bid, 'ask', m.ask, 'at', m.at, 'bid_quantity', m.bid_quantity,
    'ask_quantity', m.ask_quantity, 'reference', m.reference, 'funding_rate', m.funding_rate,
    'funding_at', m.funding_at)
  FROM trading_marketprice m WHERE m.venue = s.venue AND m.symbol = s.symbol
"""

BALANCE = """
  SELECT json_build_object('wallet', q.wallet, 'equity', q.equity, 'initial_margin', q.initial_margin,
    'maintenance_margin', q.maintenance_margin, 'market_at', q.market_at, 'read_at', q.at)
  FROM trading_equitysample q WHERE q.venue_account_id = s.venue_account_id
  ORDER BY q.market_at DESC, q.id DESC LIMIT 1
"""

# The last sample at or before the moment; where there is none, the first one after it.
ANCHORS = """
  SELECT coalesce(json_agg(json_build_object('name', a.name, 'equity', q.equity, 'at', q.market_at,
    'is_first_sample', q.market_at > a.at,
    'net_flow', (
      SELECT coalesce(sum(n.amount), 0) FROM trading_income n
      WHERE n.venue_account_id = s.venue_account_id
        AND n.kind = ANY (%(flow_kinds)s::text[]) AND n.market_at > q.market_at)) ORDER BY a.name), '[]')
  FROM unnest(%(anchor_names)s::text[], %(anchor_times)s::timestamptz[]) AS a(name, at)
  CROSS JOIN LATERAL (
    SELECT both_sides.* FROM (
      (SELECT b.equity, b.market_at FROM trading_equitysample b
       WHERE b.venue_account_id = s.venue_account_id AND b.market_at <= a.at
       ORDER BY b.market_at DESC, b.id DESC LIMIT 1)
      UNION ALL
      (SELECT c.equity, c.market_at FROM trading_equitysample c
       WHERE c.venue_account_id = s.venue_account_id AND c.market_at > a.at
       ORDER BY c.market_at, c.id LIMIT 1)
    ) AS both_sides ORDER BY both_sides.market_at LIMIT 1
  ) AS q
"""

POSITIONS = """
  SELECT coalesce(json_agg(json_build_object('venue', h.venue, 'symbol', h.symbol, 'strategy', h.strategy,
    'quantity', h.quantity, 'mark', h.mark, 'mark_at', h.mark_at, 'target_price', h.target_price,
    'stop_price', h.stop_price) ORDER BY h.venue, h.symbol), '[]')
  FROM held h
"""

PENDING = """
  SELECT coalesce(json_agg(json_build_object('intent_id', w.intent_id, 'venue', w.venue,
    'symbol', w.symbol, 'strategy', w.strategy, 'side', w.side, 'quantity', w.quantity, 'price', w.price,
    'stop_loss', w.stop_loss, 'stage', w.stage, 'has_fills', w.has_fills, 'mark', w.mark,
    'mark_at', w.mark_at) ORDER BY w.intent_id), '[]')
  FROM waiting w
"""

ORPHANS = """
  SELECT CASE WHEN EXISTS (SELECT 1 FROM held h WHERE h.venue = s.venue AND h.symbol = s.symbol)
    THEN 0 ELSE c.number END
  FROM conditional c
"""

# Orders, not round trips: an entry that joins a position is one more. Each counts by its first fill.
# The newest fills are walked backwards by their index, so that history costs nothing; where a day has
# more of them than are walked, the count is not known, and that denies.
ENTRIES_TODAY = f"""
  SELECT CASE WHEN count(*) < {COUNTED_FILLS} THEN count(*) FILTER (WHERE
    (SELECT o.purpose FROM trading_order o WHERE o.id = f.order_id) = 'entry'
    AND NOT EXISTS (SELECT 1 FROM trading_fill e
      WHERE e.order_id = f.order_id AND (e.market_at, e.id) < (f.market_at, f.id) OFFSET 0)) END
  FROM trading_venueaccount x CROSS JOIN LATERAL (
    SELECT y.id, y.order_id, y.market_at FROM trading_fill y
    WHERE y.venue_account_id = x.id AND y.market_at >= %(day_start)s
    ORDER BY y.market_at DESC LIMIT {COUNTED_FILLS}) AS f
  WHERE x.account_id = s.account_id
"""  # noqa: S608 - made of the constants above

RECONCILIATION = """
  SELECT json_build_object('finished_at', r.finished_at, 'symbols', CASE WHEN r.is_clean THEN '[]'::json
    WHEN jsonb_array_length(r.differences) = 0 THEN '[""]'::json
    ELSE (SELECT json_agg(DISTINCT coalesce(d ->> 'symbol', '')) FROM jsonb_array_elements(r.differences) d)
    END)
  FROM trading_reconciliationrun r WHERE r.venue_account_id = s.venue_account_id
  ORDER BY r.finished_at DESC LIMIT 1
"""

# The door counts what it sends by the second, in sixty rows that it writes over and over.
MESSAGES = """
  SELECT coalesce(sum(c.count), 0) FROM trading_messageslot c
  WHERE c.venue_account_id IN (SELECT x.id FROM trading_venueaccount x WHERE x.account_id = s.account_id)
    AND c.second_at > %(wall_at)s::timestamptz - interval '60 seconds'
"""

ACTIVITY = """
  SELECT json_build_object('entries', y.entries, 'window_started_at', y.window_started_at,
    'throttled_at', y.throttled_at, 'last_signal_at', y.last_signal_at, 'last_side', y.last_side)
  FROM risk_activity y
  WHERE y.account_id = s.account_id AND y.strategy = s.strategy AND y.symbol = s.symbol
"""

# What is old is not known.
CORRELATIONS = """
  SELECT coalesce(json_agg(json_build_object('first', c.first, 'second', c.second, 'value', c.value)
    ORDER BY c.first, c.second), '[]')
  FROM risk_correlation c
  WHERE c.first = ANY ((SELECT symbols FROM named)::text[])
    AND c.second = ANY ((SELECT symbols FROM named)::text[])
    AND c.first < c.second AND c.value IS NOT NULL AND c.computed_at >= %(correlated_since)s
"""

ALLOTMENTS = """
  SELECT coalesce(json_agg(json_build_object('scope', l.scope, 'max_notional', l.max_notional)
    ORDER BY l.scope), '[]')
  FROM risk_allotment l
  WHERE l.account_id = s.account_id
    AND l.scope IN ('all', 'venue:' || s.venue, 'strategy:' || s.strategy, 'symbol:' || s.symbol)
"""

OVERRIDES = """
  SELECT coalesce(json_agg(json_build_object('override_id', o.id, 'limit', o.limit, 'value', o.value)
    ORDER BY o.id), '[]')
  FROM risk_override o
  WHERE o.account_id = s.account_id AND o.ended_at IS NULL AND o.starts_at <= %(wall_at)s
    AND o.expires_at > %(wall_at)s AND (o.max_uses IS NULL OR o.used < o.max_uses)
"""

SNAPSHOT = f"""
  json_build_object(
    'account_version', coalesce(k.version, 0),
    'account_environment', s.environment,
    'states', ({STATES}), 'permit', ({PERMIT}), 'allowed_symbols', ({ALLOWED}),
    'instrument', ({INSTRUMENT}), 'setting', ({SETTING}), 'prices', ({PRICES}), 'balance', ({BALANCE}),
    'anchors', ({ANCHORS}), 'positions', ({POSITIONS}), 'pending', ({PENDING}),
    'orphan_protections', ({ORPHANS}), 'entries_today', ({ENTRIES_TODAY}),
    'reconciliation', ({RECONCILIATION}),
    'global_risk', (SELECT json_build_object('level', g.level, 'checked_at', g.checked_at)
      FROM risk_globalrisk g ORDER BY g.id DESC LIMIT 1),
    'messages_last_minute', ({MESSAGES}),
    'conditional_orders', (SELECT c.number FROM conditional c),
    'activity', ({ACTIVITY}), 'correlations', ({CORRELATIONS}), 'allotments', ({ALLOTMENTS}),
    'overrides', ({OVERRIDES}))
"""  # noqa: S608 - made of the constants above
OF_SUBJECT = "FROM subject s LEFT JOIN risk_accountbook k ON k.account_id = s.account_id"

LOAD_INTENT = f"""
WITH {SUBJECT}, {BOOK}, {CONDITIONAL}, {NAMED}
SELECT json_build_object(
  'intent', s.intent, 'snapshot', {SNAPSHOT}, 'account_id', s.account_id, 'state', s.state,
  'version', s.version, 'execute', s.execute)::text
{OF_SUBJECT}
"""

# The same facts of an account, for a strategy and a symbol, without an intent.
WITHOUT_INTENT = """
  SELECT a.id AS account_id, v.id AS venue_account_id, %(strategy)s::text AS strategy,
    %(symbol)s::text AS symbol, a.name AS account, a.environment, v.venue,
    a.created_at AS opened_at, v.priority, v.created_at AS placed_at
  FROM trading_venueaccount v JOIN trading_account a ON a.id = v.account_id
"""
LOAD_FACTS = f"""
WITH subject AS MATERIALIZED ({WITHOUT_INTENT} WHERE v.id = %(place)s), {BOOK}, {CONDITIONAL}, {NAMED}
SELECT {SNAPSHOT}::text
{OF_SUBJECT}
"""

# The same at the primary venue of an account that is known by its name, with the rows of both.
ACCOUNT_COLUMNS = ("id", "name", "environment", "created_at")
PLACE_COLUMNS = ("id", "account_id", "venue", "priority", "created_at")
LOAD_PRIMARY = f"""
WITH subject AS MATERIALIZED ({WITHOUT_INTENT} WHERE a.name = %(account)s AND v.priority = 0),
{BOOK}, {CONDITIONAL}, {NAMED}
SELECT {SNAPSHOT}::text, s.account_id, s.account, s.environment, s.opened_at,
  s.venue_account_id, s.account_id, s.venue, s.priority, s.placed_at
{OF_SUBJECT}
"""

# The whole of what one account holds and may still fill.
LOAD_BOOK = f"""
WITH subject AS MATERIALIZED (SELECT %(account_id)s::bigint AS account_id), {BOOK}
SELECT json_build_object('positions', ({POSITIONS}), 'pending', ({PENDING}))::text
"""
