from prometheus_client import Histogram

ALERT_DELIVERY_SECONDS = Histogram(
    "alert_delivery_seconds",
    "From the moment an alert was opened to its acceptance by a channel.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
