"""Request weights and order counts, metered in market time as the venue's minutes pass there."""

from dataclasses import dataclass, field

from trading.simulator.errors import VenueError

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
WEIGHT_LIMIT = 2_400
ORDERS_PER_MINUTE = 1_200
ORDERS_PER_TEN_SECONDS = 300
_IGNORED_BEFORE_BAN = 20
_BAN_MS = 2 * MINUTE_MS


@dataclass(slots=True)
class _Window:
    """A count that starts anew with every full period."""

    length_ms: int
    limit: int
    opened_ms: int = 0
    used: int = 0

    def add(self, now_ms: int, amount: int) -> bool:
        """Count, and say whether the limit still holds."""
        opened = now_ms // self.length_ms * self.length_ms
        if opened != self.opened_ms:
            self.opened_ms, self.used = opened, 0
        self.used += amount
        return self.used <= self.limit


@dataclass(slots=True)
class RateLimiter:
    """Weights per minute, orders per ten seconds and per minute; a client that goes on is banned."""

    weight: _Window = field(default_factory=lambda: _Window(MINUTE_MS, WEIGHT_LIMIT))
    orders_minute: _Window = field(default_factory=lambda: _Window(MINUTE_MS, ORDERS_PER_MINUTE))
    orders_short: _Window = field(default_factory=lambda: _Window(TEN_SECONDS_MS, ORDERS_PER_TEN_SECONDS))
    ignored: int = 0
    banned_until_ms: int = 0

    def charge(self, now_ms: int, speed: int, weight: int, *, order: bool) -> None:
        """Count one request; raises VenueError 429 above a limit and 418 while banned."""
        if now_ms < self.banned_until_ms:
            text = f"Way too many requests; IP banned until {self.banned_until_ms}."
            raise VenueError(
                -1003, text, status=418, retry_after=_wall_seconds(self.banned_until_ms - now_ms, speed)
            )
        within = self.weight.add(now_ms, weight)
        if within and order:
            within = self.orders_short.add(now_ms, 1) & self.orders_minute.add(now_ms, 1)
            if not within:
                self._refuse(
                    now_ms, speed, -1015, "Too many new orders; current limit is 300 orders per TEN_SECONDS."
                )
        if not within:
            text = f"Too many requests; current limit of IP(127.0.0.1) is {WEIGHT_LIMIT} requests per minute."
            self._refuse(now_ms, speed, -1003, text)
        self.ignored = 0

    def _refuse(self, now_ms: int, speed: int, code: int, text: str) -> None:
        self.ignored += 1
        if self.ignored > _IGNORED_BEFORE_BAN:
            self.banned_until_ms, self.ignored = now_ms + _BAN_MS, 0
        left = MINUTE_MS - now_ms % MINUTE_MS
        raise VenueError(code, text, status=429, retry_after=_wall_seconds(left, speed))

    def headers(self) -> dict[str, str]:
        return {
            "X-MBX-USED-WEIGHT-1M": str(self.weight.used),
            "X-MBX-ORDER-COUNT-10S": str(self.orders_short.used),
            "X-MBX-ORDER-COUNT-1M": str(self.orders_minute.used),
        }


def _wall_seconds(market_ms: int, speed: int) -> int:
    return max(1, -(-market_ms // (1000 * speed)))
