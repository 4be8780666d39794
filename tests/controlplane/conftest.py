"""The venue's desk, judged by the real gate under MICRO's limits."""

from tests.risk.conftest import venue_desk
from tests.risk.test_execution import desk

__all__ = ["desk", "venue_desk"]
