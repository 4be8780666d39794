"""What a guard says of a reading, and what becomes of its verdicts. Pure.

No data is never a pass: without samples, with too few, with old ones or with numbers that are none, a
guard is inconclusive.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from golive.core.words import GuardVerdict

NO_LIMIT = -1


class GuardName(StrEnum):
    """The guards of a fresh activation; each must have a rule while one stands."""

    LOSS = "loss"
    DRAWDOWN = "drawdown"
    UNPROTECTED = "unprotected"
    RECONCILIATION = "reconciliation"
    EXECUTION_ERRORS = "execution_errors"
    DENIALS = "denials"
    GLOBAL_RISK = "global_risk"
    FRESHNESS = "freshness"
    STOP_STATE = "stop_state"
    DRIFT = "drift"
    SLIPPAGE = "slippage"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRule:
    """One guard: above `limit` it fails. Its words are in config/programme.yaml.

    More than `fail_limit` fails in a row trip it, more than `error_limit` errors do too, and more than
    `inconclusive_limit` hold the account. Fewer than `min_samples`, or data older than `max_age` (wall
    time), say nothing. With NO_LIMIT a guard may wait for its samples: it neither passes nor holds.
    """

    limit: Decimal
    fail_limit: int
    inconclusive_limit: int
    error_limit: int
    min_samples: int
    max_age: timedelta

    @property
    def waits(self) -> bool:
        return self.inconclusive_limit == NO_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a guard measured; `as_of` None is now. `value` None is not known, `detail` says why or what."""

    value: Decimal | None
    samples: int = 1
    as_of: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardResult:
    """One guard's verdict, as texts for people."""

    guard: str
    verdict: GuardVerdict
    measured: str
    threshold: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often in a row a guard did not pass; each kind of not passing is counted by itself."""

    fails: int = 0
    inconclusives: int = 0
    errors: int = 0


class Consequence(StrEnum):
    """What follows from the counts: nothing, a hold, or the way back."""

    NONE = "none"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


def judge_reading(name: str, rule: GuardRule, reading: Reading, now: datetime) -> GuardResult:
    """Pass or fail where there is something to judge, else inconclusive. `now` is wall time."""
    doubt = _find_doubt(rule, reading, now)
    if doubt or reading.value is None:
        return _result(name, rule, GuardVerdict.INCONCLUSIVE, reading, doubt)
    verdict = GuardVerdict.FAIL if reading.value > rule.limit else GuardVerdict.PASS
    return _result(name, rule, verdict, reading, reading.detail)


def judge_age(name: str, rule: GuardRule, reading: Reading, now: datetime) -> GuardResult:
    """An age in seconds: young passes, old is no data, and older than the limit fails."""
    found = judge_reading(name, rule, reading, now)
    is_old = reading.value is not None and reading.value > rule.max_age.total_seconds()
    if found.verdict is GuardVerdict.PASS and is_old:
        return _result(name, rule, GuardVerdict.INCONCLUSIVE, reading, reading.detail)
    return found


def judge_state(name: str, rule: GuardRule, reading: Reading, now: datetime) -> GuardResult:
    """A level of which only 0 is in order; one up to the limit says nothing, above it fails."""
    found = judge_reading(name, rule, reading, now)
    if found.verdict is GuardVerdict.PASS and reading.value != 0:
        return _result(name, rule, GuardVerdict.INCONCLUSIVE, reading, reading.detail)
    return found


def _find_doubt(rule: GuardRule, reading: Reading, now: datetime) -> str:
    """Why the reading says nothing; "" where it says something."""
    if reading.value is None:
        return reading.detail or "nothing was measured"
    if not reading.value.is_finite():
        return "what was measured is no number"
    if reading.samples < max(1, rule.min_samples):
        return f"{reading.samples} samples, {max(1, rule.min_samples)} are needed"
    if reading.as_of is not None and now - reading.as_of > rule.max_age:
        return f"the data is {(now - reading.as_of).total_seconds():.0f} s old"
    return ""


def _result(name: str, rule: GuardRule, verdict: GuardVerdict, reading: Reading, detail: str) -> GuardResult:
    measured = "unknown" if reading.value is None else f"{reading.value.normalize():f}"
    return GuardResult(
        guard=name, verdict=verdict, measured=measured[:80], threshold=f"{rule.limit:f}", detail=detail
    )


def count_verdict(before: Count, verdict: GuardVerdict) -> Count:
    """The counts after one more verdict: a pass ends every row, another verdict all rows but its own."""
    return Count(
        fails=before.fails + 1 if verdict is GuardVerdict.FAIL else 0,
        inconclusives=before.inconclusives + 1 if verdict is GuardVerdict.INCONCLUSIVE else 0,
        errors=before.errors + 1 if verdict is GuardVerdict.ERROR else 0,
    )


def find_consequence(rule: GuardRule, count: Count) -> Consequence:
    """What the counts call for."""
    if count.fails > rule.fail_limit or count.errors > rule.error_limit:
        return Consequence.ROLL_BACK
    is_blind = count.inconclusives > rule.inconclusive_limit and not rule.waits
    return Consequence.HOLD if is_blind else Consequence.NONE


def sum_up(results: Iterable[GuardResult], rules: Mapping[str, GuardRule]) -> GuardVerdict:
    """The worst verdict; without any guard nothing was seen. One that waits for samples is left out."""
    waiting = {name for name, rule in rules.items() if rule.waits}
    found = [
        item.verdict
        for item in results
        if item.verdict is not GuardVerdict.INCONCLUSIVE or item.guard not in waiting
    ]
    order = (GuardVerdict.FAIL, GuardVerdict.ERROR, GuardVerdict.INCONCLUSIVE, GuardVerdict.PASS)
    return min(found, key=order.index, default=GuardVerdict.INCONCLUSIVE)
