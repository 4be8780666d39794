"""The seven stress scenarios and how old their last success may be."""

from collections.abc import Mapping
from datetime import timedelta

WEEK, MONTH = timedelta(days=7), timedelta(days=30)

MAX_AGES: Mapping[str, timedelta] = {
    "flash_crash": MONTH,
    "binance_outage": WEEK,
    "redis_outage": WEEK,
    "signal_flood_30": MONTH,
    "model_promotion_mid_trade": MONTH,
    "ess_trigger_and_recovery": WEEK,
    "federation_v3_sync": MONTH,
}
