"""The two clocks of a simulated venue, in milliseconds: market time and wall time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Market time runs `speed` times as fast as wall time."""

    @property
    def speed(self) -> int: ...
    def market_ms(self) -> int: ...
    def wall_ms(self) -> int: ...


def system_ms() -> int:
    """Wall time of this machine."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedClock:
    """market = anchor + speed x (wall - started)."""

    anchor_ms: int
    started_ms: int
    speed: int
    wall: Callable[[], int] = system_ms

    def market_ms(self) -> int:
        return self.anchor_ms + self.speed * (self.wall_ms() - self.started_ms)

    def wall_ms(self) -> int:
        return self.wall()


@dataclass(slots=True, kw_only=True)
class ManualClock:
    """A clock that stands until it is moved: for tests and replays."""

    market: int
    wall: int
    speed: int = 1

    def market_ms(self) -> int:
        return self.market

    def wall_ms(self) -> int:
        return self.wall

    def pass_ms(self, milliseconds: int) -> None:
        """Let market time pass, and the wall time that goes with it."""
        self.market += milliseconds
        self.wall += milliseconds // self.speed
