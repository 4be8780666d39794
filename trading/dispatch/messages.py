"""How many requests leave for a venue each second (RTS 6 art. 15: submissions, changes, cancellations).

Each venue account has sixty rows, one for each second of the minute, written over and over; the gate
sums those of the last minute. The door's own statement counts the order that it lets out; every other
request is counted here, right before it leaves.
"""

import logging

from django.db import Error, connection

logger = logging.getLogger(__name__)

# What both statements do where the slot's row is of this second already, or of a minute ago.
AGAIN = """
ON CONFLICT (venue_account_id, slot) DO UPDATE SET second_at = EXCLUDED.second_at,
  count = CASE WHEN held.second_at = EXCLUDED.second_at THEN held.count + 1 ELSE 1 END
"""

# Whoever holds the row does so for a moment. Should a process die slowly with it, we do not wait for it.
COUNT = f"""
WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', '250ms', true)), moment AS MATERIALIZED (
  SELECT clock_timestamp() AS at FROM patience
)
INSERT INTO trading_messageslot AS held (venue_account_id, slot, second_at, count)
SELECT %s, floor(extract(second FROM m.at)), date_trunc('second', m.at), 1 FROM moment m
{AGAIN}
"""  # noqa: S608 - made of the constants above


def count_message(venue_account_id: int) -> None:
    """Count one request that is about to leave; where that fails, it leaves uncounted.

    Nothing here may keep a cancel or a protection from the venue.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(COUNT, [venue_account_id])
    except Error:
        logger.exception("venue account %s: a request is not counted", venue_account_id)
