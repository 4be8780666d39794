"""What must be so before a stop may end: one condition after another, each with its own code. Pure.

What is not known is not met. Times are wall time (UTC).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from risk.core.emergency_stop import StopSource

LOSS_STOPS = frozenset({StopSource.CAPITAL_LOSS, StopSource.DAILY_DRAWDOWN, StopSource.LOSING_RUN})
# What is measured of the account all the time; without a reading nobody knows how it stands.
EQUITY_STOPS = frozenset({StopSource.CAPITAL_LOSS, StopSource.DAILY_DRAWDOWN})
# One person alone waits so long after a loss (RISK.md 3.1), and for the next UTC day.
SOLO_LOSS_WAIT = timedelta(hours=12)
BOOKS_AGE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFacts:
    """The newest complete pre-flight for re-arming that speaks for the scope."""

    run_id: int
    code_version: str
    is_passed: bool
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the trigger measures now; `is_beyond` None is not known."""

    measured: str
    threshold: str
    is_beyond: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RearmFacts:
    """Everything that decides, read at `now`.

    `stopped_at` is None until the venues have confirmed the stop. `cool_down` and `preflight_age` are
    the rules in force. `unclear_books` names each venue account whose newest comparison is missing, from
    before the stop, too old or not clean. `unsettled` counts entries that may still reach a venue or rest
    there. `rebases` says that the capital base is to be set anew.
    """

    now: datetime
    scope: str
    source: StopSource
    tripped_at: datetime
    stopped_at: datetime | None
    is_solo: bool
    cool_down: timedelta
    preflight_age: timedelta
    code_version: str
    check: CheckFacts | None
    unclear_books: tuple[str, ...]
    unsettled: int
    reading: Reading | None
    rebases: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that must be so. `code` is why it is not, "" where it is; `next` is what to do."""

    name: str
    code: str
    text: str
    next: str = ""

    @property
    def is_met(self) -> bool:
        return not self.code


def list_conditions(facts: RearmFacts) -> tuple[Condition, ...]:
    """Every condition in the order in which they come true; all of them must be met."""
    return tuple(check(facts) for check in CONDITIONS)


def earliest_alone(tripped_at: datetime) -> datetime:
    """When one person alone may re-arm a loss stop: on the next UTC day, and 12 h after the trip."""
    next_day = datetime.combine(tripped_at.date() + timedelta(days=1), time(), tzinfo=tripped_at.tzinfo)
    return max(next_day, tripped_at + SOLO_LOSS_WAIT)


def confirms_stopped(facts: RearmFacts) -> Condition:
    if facts.stopped_at is None:
        text = "not every venue has confirmed that nothing rests there that could add risk"
        step = f"python3 manage.py emergency_stop rearm-status --scope {facts.scope}"
        return Condition(name="stopped", code="not_stopped", text=text, next=step)
    return Condition(name="stopped", code="", text="every venue has confirmed the stop")


def has_cooled_down(facts: RearmFacts) -> Condition:
    """Counted from the venues' confirmation."""
    if facts.stopped_at is None:
        text = f"{_minutes(facts.cool_down)} begin when the venues have confirmed the stop"
        return Condition(name="cool_down", code="cooling_down", text=text, next="wait")
    over_at = facts.stopped_at + facts.cool_down
    is_over = facts.now >= over_at
    from_when = f"{'since' if is_over else 'from'} {_at(over_at)}"
    text = f"{_minutes(facts.cool_down)} after the confirmed stop, {from_when}"
    return Condition(
        name="cool_down",
        code="" if is_over else "cooling_down",
        text=text,
        next="" if is_over else f"wait until {_at(over_at)}",
    )


def has_waited_alone(facts: RearmFacts) -> Condition:
    """A desk of one person sleeps over a loss; another person makes the wait needless."""
    name = "next_day"
    if not facts.is_solo or facts.source not in LOSS_STOPS:
        return Condition(name=name, code="", text="asked only of one person alone, after a loss stop")
    since = earliest_alone(facts.tripped_at)
    if facts.now >= since:
        return Condition(name=name, code="", text=f"the next UTC day and 12 h, since {_at(since)}")
    return Condition(
        name=name,
        code="solo_loss_wait",
        text=f"one person alone re-arms a loss stop on the next UTC day and after 12 h: from {_at(since)}",
        next=f"wait until {_at(since)}",
    )


def has_fresh_preflight(facts: RearmFacts) -> Condition:
    """Complete, for re-arming, on this code, begun after the stop and not too old."""
    found = _judge_check(facts)
    if found is None and facts.check is not None:
        return Condition(
            name="preflight",
            code="",
            text=f"run {facts.check.run_id} passed, begun {_at(facts.check.started_at)}",
        )
    code, text = found or ("preflight_missing", "none was run")
    step = "python3 manage.py preflight --purpose rearm"
    return Condition(name="preflight", code=code, text=text, next=step)


def _judge_check(facts: RearmFacts) -> tuple[str, str] | None:
    check, stopped_at = facts.check, facts.stopped_at
    if check is None or stopped_at is None or check.started_at <= stopped_at:
        return "preflight_missing", "no complete pre-flight for re-arming was begun after the confirmed stop"
    if check.code_version != facts.code_version:
        return "preflight_other_code", f"run {check.run_id} speaks for another version of the code"
    if not check.is_passed:
        return "preflight_failed", f"run {check.run_id}, the newest, did not pass"
    if facts.now - check.started_at > facts.preflight_age:
        return "preflight_stale", f"run {check.run_id} is older than {_minutes(facts.preflight_age)}"
    return None


def has_clean_books(facts: RearmFacts) -> Condition:
    if not facts.unclear_books:
        text = "our book and every venue's agree since the stop"
        return Condition(name="books", code="", text=text)
    return Condition(
        name="books",
        code="open_mismatch",
        text="; ".join(facts.unclear_books),
        next="python3 manage.py reconcile",
    )


def has_no_open_entries(facts: RearmFacts) -> Condition:
    if facts.unsettled == 0:
        return Condition(name="entries", code="", text="no entry rests or is of unknown outcome")
    return Condition(
        name="entries",
        code="unsettled_entries",
        text=f"entries that rest or are of unknown outcome: {facts.unsettled}",
        next="python3 manage.py emergency_stop sweep",
    )


def is_trigger_quiet(facts: RearmFacts) -> Condition:
    """A run of losses ends by trading only, so it is counted anew instead; a new capital base is too."""
    name, reading = "trigger", facts.reading
    if facts.source is StopSource.CAPITAL_LOSS and facts.rebases:
        return Condition(name=name, code="", text="capital loss is measured from a new base")
    if facts.source is StopSource.LOSING_RUN:
        return Condition(name=name, code="", text="losing trades are counted anew from here")
    is_known = reading is not None and reading.is_beyond is not None
    if facts.source in EQUITY_STOPS and not is_known:
        text = f"{facts.source} is not measured now"
        return Condition(
            name=name, code="trigger_unread", text=text, next="python3 manage.py emergency_stop status"
        )
    if reading is None or not reading.is_beyond:
        return Condition(name=name, code="", text="the trigger does not read beyond its threshold")
    text = f"{facts.source} reads {reading.measured}, the threshold is {reading.threshold}"
    return Condition(name=name, code="trigger_still_breached", text=text, next=_quieten(facts.source))


def _quieten(source: StopSource) -> str:
    if source is StopSource.CAPITAL_LOSS:
        return "ask with --rebase, which shows the new base to whoever approves"
    return "wait, or remove the cause"


def _minutes(span: timedelta) -> str:
    return f"{span // timedelta(minutes=1)} min"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


CONDITIONS: tuple[Callable[[RearmFacts], Condition], ...] = (
    confirms_stopped,
    has_cooled_down,
    has_waited_alone,
    has_fresh_preflight,
    has_clean_books,
    has_no_open_entries,
    is_trigger_quiet,
)
