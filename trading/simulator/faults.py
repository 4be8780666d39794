"""Fault injection: what goes wrong, on which requests, and how many times."""

from collections import deque
from dataclasses import asdict, dataclass
from random import Random
from threading import Lock
from typing import Any

BEFORE = ("error_before", "rate_limited", "hang")
AFTER = ("error_after", "lost_answer", "empty_body")
KINDS = ("delay", *BEFORE, *AFTER, "drift", "gap", "freeze")
MAX_FAULTS = 100
MAX_TIMES = 1_000_000
MAX_SECONDS = 600
_MARKET_KINDS = ("drift", "gap", "freeze")


class FaultError(Exception):
    """A fault cannot be set; names the field."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault.

    `times` is how often it still fires, `probability` how likely it is for a request that matches
    `method` and `path` (empty matches all; a path may end in *). `delay`/`hang` use `seconds` of wall
    time; errors `status`, `code` and `text`; `rate_limited` `status` (429 or 418) and `retry_after`;
    `drift` `milliseconds` of the venue's server time; `gap` `symbol`, `percent` and `seconds` of market
    time (0: for ever); `freeze` stops prices and candles until it is deleted.
    """

    fault_id: int
    kind: str
    method: str = ""
    path: str = ""
    times: int = 1
    probability: float = 1.0
    seconds: float = 0.0
    status: int = 503
    code: int = 0
    text: str = ""
    retry_after: int = 1
    milliseconds: int = 0
    symbol: str = ""
    percent: str = "0"
    fired: int = 0

    def matches(self, method: str, path: str) -> bool:
        if self.method and self.method != method:
            return False
        if self.path.endswith("*"):
            return path.startswith(self.path[:-1])
        return not self.path or self.path == path


_TYPES: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "path": str,
    "times": int,
    "probability": (int, float),
    "seconds": (int, float),
    "status": int,
    "code": int,
    "text": str,
    "retry_after": int,
    "milliseconds": int,
    "symbol": str,
    "percent": (str, int),
}
_RANGES: dict[str, tuple[float, float]] = {
    "times": (1, MAX_TIMES),
    "probability": (0, 1),
    "seconds": (0, 86_400),
    "status": (400, 599),
    "retry_after": (0, 86_400),
    "milliseconds": (-86_400_000, 86_400_000),
}


class Faults:
    """The faults that are set, and a bounded record of those that fired."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._lock = Lock()
        self._next_id = 1
        self.active: list[Fault] = []
        self.fired: deque[dict[str, Any]] = deque(maxlen=500)

    def add(self, asked: Any) -> Fault:
        """Set a fault from JSON; raises FaultError naming the field."""
        with self._lock:
            fault = self._checked(asked)
            if len(self.active) >= MAX_FAULTS:
                raise FaultError(f"kind: at most {MAX_FAULTS} faults at a time")
            self._next_id += 1
            self.active.append(fault)
            return fault

    def _checked(self, asked: Any) -> Fault:
        if not isinstance(asked, dict):
            raise FaultError("body: expected a JSON object")
        if asked.get("kind") not in KINDS:
            raise FaultError(f"kind: expected one of {', '.join(KINDS)}")
        for name, value in asked.items():
            if name != "kind":
                _check_field(name, value)
        if asked["kind"] in ("delay", "hang") and float(asked.get("seconds", 0)) > MAX_SECONDS:
            raise FaultError(f"seconds: at most {MAX_SECONDS}")
        fields = {**asked, "percent": str(asked.get("percent", "0"))}
        fields.setdefault("status", 429 if asked["kind"] == "rate_limited" else 503)
        return Fault(fault_id=self._next_id, **fields)

    def clear(self, fault_id: int | None = None) -> list[Fault]:
        """Remove one fault, or all; returns what was removed."""
        with self._lock:
            removed = [fault for fault in self.active if fault_id in (None, fault.fault_id)]
            self.active = [fault for fault in self.active if fault not in removed]
            return removed

    def strike(self, method: str, path: str) -> list[Fault]:
        """The faults that hit this request: every delay, and the first of the others. Uses them up."""
        struck: list[Fault] = []
        with self._lock:
            for fault in list(self.active):
                taken = fault.kind != "delay" and any(other.kind != "delay" for other in struck)
                if taken or not self._hits(fault, method, path):
                    continue
                struck.append(fault)
                self._use(fault, method, path)
        return struck

    def _hits(self, fault: Fault, method: str, path: str) -> bool:
        if fault.kind in _MARKET_KINDS or not fault.matches(method, path):
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability

    def _use(self, fault: Fault, method: str, path: str) -> None:
        fault.times -= 1
        fault.fired += 1
        self.fired.append({"fault_id": fault.fault_id, "kind": fault.kind, "method": method, "path": path})
        if fault.times <= 0:
            self.active.remove(fault)

    @property
    def drift_ms(self) -> int:
        """How far the venue's server time is off, in milliseconds."""
        return sum(fault.milliseconds for fault in self.active if fault.kind == "drift")

    def listed(self) -> dict[str, Any]:
        return {"active": [asdict(fault) for fault in self.active], "fired": list(self.fired)}


def _check_field(name: str, value: object) -> None:
    kind = _TYPES.get(name)
    if kind is None:
        raise FaultError(f"{name}: unknown field")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise FaultError(f"{name}: has the wrong type")
    if name in _RANGES and isinstance(value, int | float):
        low, high = _RANGES[name]
        if not low <= value <= high:
            raise FaultError(f"{name}: expected {low:g} to {high:g}")
