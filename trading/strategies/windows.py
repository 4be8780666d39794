"""Indicators at the end of every window of a series at once: the same arithmetic as one window at a time.

A window is `length` closes; the first one ends at index `length - 1`. Every array has one value per
window. The order of the additions is that of the library that the strategies ask.
"""

import numpy as np

from trading.strategies.protocol import Flags, Floats

# Relative; what is that close to a threshold counts as on either side of it.
TOLERANCE = 1e-9


def spread_over(flags: Flags, count: int) -> Flags:
    """Flags per window as flags per bar; bars that end no window say no."""
    spread = np.zeros(count, dtype=np.bool_)
    if len(flags):
        spread[count - len(flags) :] = flags
    return spread


def average_windows(closes: Floats, length: int, period: int) -> tuple[Floats, Floats]:
    """Exponential average of each window at its last close and at the one before it.

    Begins with the plain mean of the first `period` closes; k = 2 / (period + 1).
    """
    count = max(0, len(closes) - length + 1)
    total = np.zeros(count)
    for offset in range(period):
        total += closes[offset : offset + count]
    average, before = total / period, total
    share = 2.0 / (period + 1)
    for offset in range(period, length):
        before = average
        average = (closes[offset : offset + count] - average) * share + average
    return average, before


def strength_windows(closes: Floats, length: int, period: int) -> Floats:
    """Relative strength index (0 to 100, Wilder's smoothing) of each window at its last close."""
    count = max(0, len(closes) - length + 1)
    changes = np.diff(closes)
    gain, loss = np.zeros(count), np.zeros(count)
    for offset in range(length - 1):
        change = changes[offset : offset + count]
        smooths = offset >= period
        if smooths:
            gain, loss = gain * (period - 1), loss * (period - 1)
        gain, loss = gain + np.maximum(change, 0.0), loss - np.minimum(change, 0.0)
        if smooths or offset == period - 1:
            gain, loss = gain / period, loss / period
    total = gain + loss
    return np.divide(100.0 * gain, total, out=np.zeros(count), where=total != 0.0)
