"""The reference price: a rolling average of mark that one false print cannot move far (pure)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from trading.core.values import Bar

WINDOW = timedelta(minutes=15)
SEED_BAR = timedelta(minutes=1)
SEED_BARS = WINDOW // SEED_BAR
# One step moves the average by at most this share of itself, however wrong the print and however long
# ago the last one: a venue once printed 323.00 for ETHUSDT while the market was at 120.20. A market that
# really moves further is followed over some more steps, and until then is "too far from its average".
MAX_STEP_RATIO = Decimal("0.01")
PLACES = Decimal("1e-10")


def roll_reference(
    previous: Decimal | None, previous_at: datetime | None, mark: Decimal, at: datetime, window: timedelta
) -> Decimal | None:
    """r' = r + (1 - exp(-dt / window)) (m - r), with |r' - r| <= 1 % of r; USDT, rounded to 10 places.

    m is mark at `at`, r the average of `previous_at`, dt = at - previous_at in market time. A look that
    is not newer leaves r as it is. None, which is unknown, where there is no r or dt > window: then an
    average must be found elsewhere (`average_closes`), as one print is none.
    """
    if previous is None or previous_at is None or at - previous_at > window:
        return None
    passed = max(at - previous_at, timedelta(0))
    weight = 1 - (-Decimal(passed // timedelta(microseconds=1)) / (window // timedelta(microseconds=1))).exp()
    most = previous * MAX_STEP_RATIO
    step = min(most, max(-most, weight * (mark - previous)))
    return (previous + step).quantize(PLACES)


def average_closes(bars: Sequence[Bar], at: datetime) -> Decimal | None:
    """Mean close (USDT) of the last fifteen 1-minute bars that are closed at a (market) moment.

    `bars` ascend and may end with one that is forming. None where there are fewer, or where they do not
    span the last quarter of an hour (two minutes' grace for a venue that dates its prices earlier).
    """
    closed = [bar for bar in bars if bar.open_at + SEED_BAR <= at][-SEED_BARS:]
    if len(closed) < SEED_BARS or at - closed[0].open_at > WINDOW + 2 * SEED_BAR:
        return None
    total = sum((bar.close for bar in closed), Decimal(0))
    return (total / SEED_BARS).quantize(PLACES)
