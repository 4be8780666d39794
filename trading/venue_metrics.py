from prometheus_client import Counter

# `selected` where no venue was healthy: new entries are blocked.
NO_VENUE = "none"

EXCHANGE_FAILOVER_EVENTS_TOTAL = Counter(
    "exchange_failover_events_total",
    "New entries that were moved from the primary venue to another, or blocked for want of one.",
    ("primary", "selected"),
)
