"""Weights and order counts pass with market minutes; waiting times are told in wall seconds."""

import pytest

from trading.simulator.errors import VenueError
from trading.simulator.limits import MINUTE_MS, RateLimiter


def test_weights_start_anew_every_market_minute():
    limiter = RateLimiter()
    limiter.charge(0, 60, 2_400, order=False)
    with pytest.raises(VenueError) as refused:
        limiter.charge(30_000, 60, 1, order=False)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, -1003, 1)
    limiter.charge(MINUTE_MS, 60, 2_400, order=False)


def test_the_wait_is_in_wall_seconds():
    limiter = RateLimiter()
    with pytest.raises(VenueError) as refused:
        limiter.charge(0, 1, 2_401, order=False)
    assert refused.value.retry_after == 60


def test_orders_are_counted_per_ten_seconds():
    limiter = RateLimiter()
    for _ in range(300):
        limiter.charge(0, 1, 0, order=True)
    with pytest.raises(VenueError) as refused:
        limiter.charge(9_999, 1, 0, order=True)
    assert (refused.value.status, refused.value.code) == (429, -1015)
    limiter.charge(10_000, 1, 0, order=True)
    assert limiter.headers()["X-MBX-ORDER-COUNT-10S"] == "1"


def test_a_client_that_ignores_the_limit_is_banned_for_two_minutes():
    limiter = RateLimiter()
    limiter.charge(0, 1, 2_400, order=False)
    statuses = []
    for _ in range(22):
        with pytest.raises(VenueError) as refused:
            limiter.charge(1, 1, 1, order=False)
        statuses.append(refused.value.status)
    assert statuses == [429] * 21 + [418]
    limiter.charge(2 * MINUTE_MS + 1, 1, 1, order=False)
