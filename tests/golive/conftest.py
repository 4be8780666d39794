"""The desk with a simulated venue, as the order path's tests have it."""

from tests.trading.conftest import desk as venue_desk

__all__ = ["venue_desk"]
