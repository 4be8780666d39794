"""What else the stop is tripped by: each measured against the rules, from rows that others wrote."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce

from controlplane.native import run_native
from risk import models
from risk.core.emergency_stop import StopRules, StopSource
from risk.core.losing_runs import ClosedTrip, count_losing_run
from risk.core.triggers import is_sound
from risk.global_risk.assessment import COUNTED_EVENTS, ERRORS, STRETCH_GAP
from trading import selectors
from trading.core.values import Clocks, TradingStateName
from trading.models import Account, Fill, MarketPrice, ReconciliationRun, Trade, TradingState, VenueAccount

ZERO = timedelta(0)
# More scratches than this between the losses of one run are not looked behind.
COUNTED_TRIPS = 200
COUNTED_STRETCHES = 200
# A longer pause between two comparisons ends a mismatch: the desk was not there.
PAUSE = timedelta(minutes=10)
PROCESSES = ("beat", "worker")
UNKNOWN = "unknown"
# Ages deny by themselves and have their own trigger.
AGES = frozenset({"price_age", "balance_age", "reconciliation_age", "venue_answer_age"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """One trigger of one scope, measured against its threshold, as texts for people.

    `is_beyond` trips; `reason` then says why. `evidence` is what the trip keeps besides.
    """

    trigger: StopSource
    scope: str
    measured: str
    threshold: str
    is_beyond: bool
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


# Of one account --------------------------------------------------------------------------------------


def find_errors(account: Account, rules: StopRules, clocks: Clocks) -> Symptom:
    """Refused and lost orders within the window (wall time); more than `max_errors` are beyond."""
    parameters = {
        "account_id": account.pk,
        "since": clocks.wall_at - rules.error_window,
        "counted_events": COUNTED_EVENTS,
    }
    (count,) = run_native(ERRORS, parameters)[0]
    window = rules.error_window.total_seconds()
    return Symptom(
        trigger=StopSource.EXECUTION_ERRORS,
        scope=f"account:{account.name}",
        measured=str(count),
        threshold=f"{rules.max_errors} in {window:.0f} s",
        is_beyond=int(count) > rules.max_errors,
        reason=f"{count} orders were refused or lost within {window:.0f} s, more than {rules.max_errors}",
    )


def find_mismatch(account: Account, rules: StopRules) -> Symptom:
    """How long every comparison of one of the account's books has found a difference (wall time)."""
    found = [_measure_mismatch(place, rules) for place in selectors.list_venue_accounts(account)]
    lasted, place = max(found, key=lambda item: item[0], default=(ZERO, None))
    where = "" if place is None else place.venue
    newest = None if place is None else selectors.latest_reconciliation(place)
    return Symptom(
        trigger=StopSource.RECONCILIATION,
        scope=f"account:{account.name}",
        measured=as_seconds(lasted),
        threshold=as_seconds(rules.mismatch),
        is_beyond=lasted > rules.mismatch,
        reason=f"our book and {where}'s have differed for {as_seconds(lasted)}",
        evidence={"venue": where, "differences": [] if newest is None else newest.differences},
    )


def _measure_mismatch(place: VenueAccount, rules: StopRules) -> tuple[timedelta, VenueAccount]:
    """From the first to the newest run that differed, without a clean one between."""
    first: datetime | None = None
    newest: datetime | None = None
    runs = ReconciliationRun.objects.filter(venue_account=place).order_by("-finished_at", "-id")
    for is_clean, finished_at in runs.values_list("is_clean", "finished_at")[:COUNTED_STRETCHES]:
        if is_clean or (first is not None and first - finished_at > PAUSE):
            break
        newest, first = newest or finished_at, finished_at
        if newest - first > rules.mismatch:
            break
    return (ZERO if newest is None or first is None else newest - first), place


# Of one strategy -------------------------------------------------------------------------------------


def find_losing_run(strategy: str, accounts: Collection[Account], rules: StopRules) -> Symptom:
    """The longest run of losses that the strategy has on any of the accounts."""
    armed_at = _last_armed_at(f"strategy:{strategy}")
    runs = [(_count_losses(account, strategy, armed_at, rules), account.name) for account in accounts]
    run, account = max(runs, default=(0, ""))
    return Symptom(
        trigger=StopSource.LOSING_RUN,
        scope=f"strategy:{strategy}",
        measured=str(run),
        threshold=str(rules.max_losing_run),
        is_beyond=run > rules.max_losing_run,
        reason=f"{strategy} lost {run} trades in a row on {account}, more than {rules.max_losing_run}",
        evidence={"account": account, "since": None if armed_at is None else armed_at.isoformat()},
    )


def _last_armed_at(scope: str) -> datetime | None:
    """Wall time of the scope's last re-arming; what ended before it has had its stop."""
    ended = models.StopEvent.objects.filter(scope=scope, ended_at__isnull=False)
    return ended.order_by("-ended_at").values_list("ended_at", flat=True).first()


def _count_losses(account: Account, strategy: str, armed_at: datetime | None, rules: StopRules) -> int:
    rows = Trade.objects.filter(
        venue_account__account=account, strategy=strategy, closed_at__isnull=False
    ).order_by("-closed_at", "-id")
    if armed_at is not None:
        # A round trip is dated by the market; when it ended by the wall its last fill knows.
        last_fill = Fill.objects.filter(
            venue_account=OuterRef("venue_account"),
            symbol=OuterRef("symbol"),
            market_at=OuterRef("closed_at"),
        ).order_by("-id")
        rows = rows.annotate(ended_at=Coalesce(Subquery(last_fill.values("at")[:1]), F("closed_at")))
        rows = rows.filter(ended_at__gt=armed_at)
    trips = (
        ClosedTrip(net=net, risk=risk)
        for net, risk in rows.values_list("net_pnl", "risk_amount")[:COUNTED_TRIPS]
        if net is not None
    )
    return count_losing_run(trips, rules.scratch_ratio)


# Of one venue ----------------------------------------------------------------------------------------


def find_newest_price(venue: str, symbols: Collection[str], max_divergence: Decimal) -> datetime | None:
    """When any of the symbols had a price that can be used (wall time); None where none has now."""
    rows = MarketPrice.objects.filter(venue=venue, symbol__in=symbols).order_by("-read_at")
    for row in rows:
        if is_sound(selectors.price_value(row), max_divergence):
            return row.read_at
    return None


# Of the desk -----------------------------------------------------------------------------------------


def find_critical(rules: StopRules, clocks: Clocks) -> Symptom:
    """How long global risk has been CRITICAL for something that was measured (wall time).

    What is unknown or old denies by itself. What an account or venue measures that is halted has had
    its stop already: its losses do not go away by halting the others.
    """
    lasted, reasons = _measure_critical(rules, clocks)
    return Symptom(
        trigger=StopSource.GLOBAL_RISK,
        scope="all",
        measured=as_seconds(lasted),
        threshold=as_seconds(rules.global_risk),
        is_beyond=lasted > rules.global_risk,
        reason=f"global risk has been CRITICAL for {as_seconds(lasted)}: {'; '.join(reasons)}",
        evidence={"reasons": reasons},
    )


def _measure_critical(rules: StopRules, clocks: Clocks) -> tuple[timedelta, list[str]]:
    halted = frozenset(
        TradingState.objects.filter(state=TradingStateName.HALTED).values_list("scope", flat=True)
    )
    newest: models.GlobalRisk | None = None
    reasons: list[str] = []
    # An assessment that is not made any more is old, and what is old is not measured.
    since = clocks.wall_at
    for row in models.GlobalRisk.objects.order_by("-id")[:COUNTED_STRETCHES].iterator(chunk_size=4):
        measured = list(_list_measured(row, halted))
        if not measured or since - row.checked_at > STRETCH_GAP:
            break
        newest, reasons = newest or row, reasons or measured
        since = row.since_at
        if newest.checked_at - since > rules.global_risk:
            break
    return (ZERO if newest is None else newest.checked_at - since), reasons


def _list_measured(row: models.GlobalRisk, halted: Collection[str]) -> Iterator[str]:
    if row.level != "CRITICAL":
        return
    for finding in row.inputs.get("findings", []):
        scopes = {f"account:{finding['account']}", f"venue:{finding['venue']}"}
        is_measured = finding["measured"] != UNKNOWN and finding["code"] not in AGES
        if finding["level"] == "CRITICAL" and is_measured and scopes.isdisjoint(halted):
            yield f"{finding['account']}: {finding['text']}"


def find_silence(rules: StopRules, clocks: Clocks, began_at: datetime) -> Symptom:
    """How long both schedule and workers have shown no life, while somebody watched (wall time).

    A desk on which neither ever lived is starting.
    """
    beats = selectors.list_heartbeats()
    last = max((beats[name].beat_at for name in PROCESSES if name in beats), default=None)
    silent = ZERO if last is None else max(ZERO, clocks.wall_at - max(last, began_at))
    return Symptom(
        trigger=StopSource.HEARTBEAT,
        scope="all",
        measured=as_seconds(silent if silent > SHORT else ZERO),
        threshold=as_seconds(rules.heartbeat),
        is_beyond=silent > rules.heartbeat,
        reason=f"neither schedule nor workers have shown life for {as_seconds(silent)}",
        evidence={"last_beat_at": None if last is None else last.isoformat()},
    )


# What is shorter is not shown: between two beats there is always a moment.
SHORT = timedelta(seconds=15)


def as_seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"
