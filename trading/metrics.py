from prometheus_client import Counter, Gauge

ORDERS_TOTAL = Counter("orders_total", "Orders that came to an end, by how.", ("account", "venue", "outcome"))
RECONCILIATION_AGE_SECONDS = Gauge(
    "reconciliation_age_seconds",
    "Wall time since the account's book was last compared with the venue's; the oldest venue counts.",
    ("account",),
    multiprocess_mode="mostrecent",
)
RECONCILIATION_MISMATCHES_TOTAL = Counter(
    "reconciliation_mismatches_total",
    "Differences between our book and the venue's that two readings confirmed.",
    ("account", "kind"),
)
