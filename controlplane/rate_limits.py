"""How often somebody may do something, counted in the memory of each process: it works with Redis down.

Each web process counts for itself, so that with n of them n times as much may get through.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, UnreadablePostError
from ninja.throttling import BaseThrottle

from controlplane.approvals.http import ActorRequest

CACHE = "rate_limits"
# Removing risk is never blocked: neither by a limit nor by its own unfinished repetition.
NEVER_HELD_UP = frozenset({"roll_back", "trip_emergency_stop"})


class Allowance:
    """So many uses of a key at once, and so many a period in the long run (the generic cell rate algorithm).

    What is kept of a key is one number: when it will have recovered wholly. `clock` is in seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()

    def seconds_until(self, key: str, rate: tuple[int, int]) -> float:
        """How long until the key may be used again; 0 is now. `rate` is (uses, seconds)."""
        now = self._clock()
        return self._wait(self._recovered_at(key, now), now, rate)

    def take(self, key: str, rate: tuple[int, int]) -> float:
        """Use the key once and return 0, or return how many seconds it takes until that is possible."""
        uses, seconds = rate
        with self._lock:
            now = self._clock()
            recovered_at = self._recovered_at(key, now)
            wait = self._wait(recovered_at, now, rate)
            if wait == 0:
                caches[CACHE].set(self._place(key), recovered_at + seconds / uses, timeout=seconds + 1)
            return wait

    def _recovered_at(self, key: str, now: float) -> float:
        return max(now, float(caches[CACHE].get(self._place(key), now)))

    @staticmethod
    def _wait(recovered_at: float, now: float, rate: tuple[int, int]) -> float:
        uses, seconds = rate
        # A hair is forgiven, because the sum of many intervals is not quite the period.
        late = recovered_at - now - seconds + seconds / uses
        return late if late > 1e-6 else 0.0

    def _place(self, key: str) -> str:
        # A key may be anything that somebody typed.
        return f"{self._name}:{hashlib.sha256(key.encode()).hexdigest()}"


class TokenThrottle(BaseThrottle):
    """The rate that a setting allows each token; `allow_request` and `wait` are asked in the same thread."""

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._allowance = Allowance(setting)
        self._asked = threading.local()

    def allow_request(self, request: HttpRequest) -> bool:
        if is_never_held_up(request):
            return True
        rate: tuple[int, int] = getattr(settings, self._setting)
        self._asked.wait = self._allowance.take(token_of(request), rate)
        return self._asked.wait == 0 or self.is_exempt(request)

    def is_exempt(self, request: HttpRequest) -> bool:
        """Asked only of a request that is too many."""
        return False

    def wait(self) -> float | None:
        return getattr(self._asked, "wait", None)


class OrderThrottle(TokenThrottle):
    """The rate of orders asked for; one that can only reduce a position is never too many."""

    def is_exempt(self, request: HttpRequest) -> bool:
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError, RequestDataTooBig, UnreadablePostError):
            return False
        return isinstance(body, dict) and body.get("reduce_only") is True


def token_of(request: HttpRequest) -> str:
    """The name of the living token that the request was signed in with."""
    return cast(ActorRequest, request).auth.audit_name


def is_never_held_up(request: HttpRequest) -> bool:
    """Whether the request asks for something that only removes risk."""
    return request.resolver_match is not None and request.resolver_match.url_name in NEVER_HELD_UP
