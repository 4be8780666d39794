"""Watches every permitted account, strategy and venue, and trips the stop where the rules say so.

One pass a second, by one process at a time; what a pass needs to know of those before is in the rows of
Watch, so that whoever watches next goes on counting. Nothing here resets a stop.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from time import monotonic
from typing import Any

from django.conf import settings

from controlplane.approvals.core import Actor, ActorKind
from risk import models
from risk.core import triggers
from risk.core.emergency_stop import Cause, StopRules, StopSource
from risk.core.global_risk import show
from risk.core.triggers import Reading, Verdict, WatchState
from risk.core.values import Limits
from risk.limits import get_limits
from risk.reducing import restrictions
from risk.snapshot import load_book
from risk.stops import symptoms
from risk.stops.emergency import trip_emergency_stop
from risk.stops.escalation import get_loss
from risk.stops.readings import AccountReading, read_account
from risk.stops.rules import get_stop_rules
from risk.stops.side_by_side import run_side_by_side
from risk.stops.symptoms import Symptom, as_seconds
from trading import locks, selectors
from trading.core.values import Clocks, TradingStateName
from trading.models import Account, Permit, TradingState

logger = logging.getLogger(__name__)

GUARD = Actor(name="triggers", kind=ActorKind.GUARD)
LOCK = "triggers"
# Whoever watches is done within this, or is not watching.
PATIENCE = timedelta(seconds=10)
# Readings must have been back for so long (wall time) before the account may take new risk again.
FRESH_FOR = timedelta(seconds=60)
RATIO_PLACES = 10
# How long accounts are read one by one, which is cheaper, before the rest is read side by side.
ONE_BY_ONE_SECONDS = 2.0

CallSweeper = Callable[[int], None] | None


def watch_all(*, clocks: Clocks, began_at: datetime, call_sweeper: CallSweeper = None) -> None:
    """One look at everything; `began_at` is when this process began to watch (wall time).

    What fails for one account keeps no other unwatched; the first failure is raised at the end. Raises
    LockBusy where another process has not finished its pass for ten seconds.
    """
    with locks.hold(LOCK, patience=PATIENCE):
        Pass(clocks=clocks, began_at=began_at, call_sweeper=call_sweeper).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """An account with an active permit in this environment, and the limits it trades under."""

    account: Account
    limits: Limits | None

    @property
    def scope(self) -> str:
        return f"account:{self.account.name}"


def list_watched() -> list[Watched]:
    rows = Permit.objects.select_related("account").filter(
        active=True, environment=settings.TRADING_ENVIRONMENT
    )
    return [
        Watched(account=row.account, limits=get_limits(row.limit_set_digest))
        for row in rows.order_by("account__name")
    ]


class Pass:
    """Everything that one look needs: the rules, the clocks, and what was noted before."""

    def __init__(self, *, clocks: Clocks, began_at: datetime, call_sweeper: CallSweeper) -> None:
        self.rules: StopRules = get_stop_rules()
        self.clocks, self.began_at = clocks, began_at
        self._call_sweeper = call_sweeper
        self._rows = {(row.trigger, row.scope): row for row in models.Watch.objects.all()}

    def run(self) -> None:
        watched = list_watched()
        losses = attempt_soon([partial(self._watch_equity, item) for item in watched])
        others = [failure for look in self._list_looks(watched) if (failure := attempt(look))]
        raise_first([*losses, *others])

    def _list_looks(self, watched: list[Watched]) -> Iterator[Callable[[], None]]:
        """What is read from rows, after the losses; each look on its own."""
        rules, clocks = self.rules, self.clocks
        accounts = [item.account for item in watched]
        yield partial(self._watch_strategies, accounts)
        yield partial(self._watch_prices, watched)
        for account in accounts:
            yield partial(self._weigh, partial(symptoms.find_errors, account, rules, clocks))
            yield partial(self._weigh, partial(symptoms.find_mismatch, account, rules))
        yield partial(self._weigh, partial(symptoms.find_critical, rules, clocks))
        yield partial(self._weigh, partial(symptoms.find_silence, rules, clocks, self.began_at))

    # Equity -------------------------------------------------------------------------------------

    def _watch_equity(self, item: Watched) -> None:
        reading = read_account(
            account=item.account,
            limits=item.limits,
            rules=self.rules,
            clocks=self.clocks,
            actor=GUARD.audit_name,
        )
        self._note_presence(item, reading)
        if item.limits is None:
            return
        for source, value, threshold in (
            (StopSource.CAPITAL_LOSS, reading.capital_loss, item.limits.capital_loss_stop_ratio),
            (StopSource.DAILY_DRAWDOWN, reading.drawdown, item.limits.daily_drawdown_stop_ratio),
        ):
            self._count(item, reading, source, value, threshold)

    def _count(
        self,
        item: Watched,
        reading: AccountReading,
        source: StopSource,
        value: Decimal | None,
        threshold: Decimal,
    ) -> None:
        after, verdict = triggers.advance(
            self._state_of(source, item.scope),
            Reading(value=value, market_at=reading.market_at),
            threshold,
            wall_at=self.clocks.wall_at,
            began_at=self.began_at,
            rules=self.rules,
        )
        # Plain ratios: who sweeps compares them with those of the trip.
        measured, limit = _as_ratio(value), _as_ratio(threshold)
        detail = reading.detail if value is None else ""
        self._note(source, item.scope, after, measured=measured, threshold=limit, detail=detail)
        # What is absent is one thing for the whole account, and has its own watch.
        if verdict is Verdict.TRIP and value is not None:
            name, shown = source.value.replace("_", " "), show(threshold, "ratio")
            reason = (
                f"{name} {show(value, 'ratio')}, at or above {shown} in {after.breaches} readings in a row"
            )
            numbers = {"measured": measured, "threshold": limit, "readings": after.breaches}
            self._trip(source, item.scope, reason, numbers | _list_amounts(reading), joins=True)

    def _note_presence(self, item: Watched, reading: AccountReading) -> None:
        """REDUCING, then the stop, while no reading can be believed; back again after a while of them."""
        key = (StopSource.STALE_DATA, item.scope)
        before = self._state_of(*key)
        after = triggers.note_presence(before, is_present=reading.is_believed, wall_at=self.clocks.wall_at)
        self._note(
            *key,
            after,
            measured="believed" if reading.is_believed else "absent",
            threshold=as_seconds(self.rules.absent_trip),
            detail=reading.detail,
        )
        if reading.is_believed:
            self._lift_if_fresh(item)
            return
        verdict = triggers.judge_absence(after, self.clocks.wall_at, self.began_at, self.rules)
        if verdict is Verdict.NOTHING:
            return
        reason = f"no reading of equity can be believed: {reading.detail}"
        restrictions.restrict(
            scope=item.scope,
            cause=Cause.STALE_READING,
            reason=reason,
            actor=GUARD.audit_name,
            clocks=self.clocks,
            evidence={"absent_since": _as_text(after.absent_since), "detail": reading.detail},
        )
        if verdict is Verdict.TRIP:
            evidence = {
                "measured": _as_text(after.absent_since),
                "threshold": as_seconds(self.rules.absent_trip),
                "readings": 0,
                "detail": reading.detail,
            }
            self._trip(StopSource.STALE_DATA, item.scope, reason, evidence)

    def _lift_if_fresh(self, item: Watched) -> None:
        standing = restrictions.list_restrictions(item.scope).filter(cause=Cause.STALE_READING.value)
        if not standing.exists():
            return
        # The row was written when readings came back, and not since.
        back_since = max(self._rows[(StopSource.STALE_DATA, item.scope)].updated_at, self.began_at)
        if self.clocks.wall_at - back_since >= FRESH_FOR:
            restrictions.lift(
                scope=item.scope,
                cause=Cause.STALE_READING,
                because=f"readings of equity have been back for {as_seconds(FRESH_FOR)}",
                actor=GUARD.audit_name,
                clocks=self.clocks,
            )

    # Everything else ----------------------------------------------------------------------------

    def _watch_strategies(self, accounts: list[Account]) -> None:
        trading: dict[str, list[Account]] = {}
        for account in accounts:
            for row in selectors.list_assignments(account):
                trading.setdefault(row.strategy, []).append(account)
        run_each(
            partial(self._weigh, partial(symptoms.find_losing_run, strategy, on, self.rules))
            for strategy, on in sorted(trading.items())
        )

    def _watch_prices(self, watched: list[Watched]) -> None:
        """Every venue on which something is held or waits, and every one that was watched before."""
        needed: dict[str, set[str]] = {}
        for item in watched:
            for held in (fact for facts in load_book(item.account.pk) for fact in facts):
                needed.setdefault(held.venue, set()).add(held.symbol)
        limits = [item.limits.max_divergence_ratio for item in watched if item.limits is not None]
        before = {scope.removeprefix("venue:") for _, scope in self._rows if scope.startswith("venue:")}
        for venue in sorted(needed.keys() | before):
            self._watch_venue(venue, needed.get(venue, set()), min(limits, default=Decimal(1)))

    def _watch_venue(self, venue: str, symbols: Collection[str], max_divergence: Decimal) -> None:
        rules, scope, wall_at = self.rules, f"venue:{venue}", self.clocks.wall_at
        key = (StopSource.STALE_DATA, scope)
        newest = symptoms.find_newest_price(venue, symbols, max_divergence) if symbols else wall_at
        since = newest or self._state_of(*key).absent_since or wall_at
        age = wall_at - max(since, self.began_at)
        is_present = newest is not None and age <= rules.absent_reducing
        state = WatchState(absent_since=None if is_present else since)
        shown = "fresh" if is_present else as_seconds(age)
        detail = ", ".join(sorted(symbols)) if symbols else "nothing is held there"
        self._note(*key, state, measured=shown, threshold=as_seconds(rules.stale_data), detail=detail)
        if age > rules.stale_data:
            reason = f"{venue}: no usable price of {detail} for {as_seconds(age)}"
            evidence = {"measured": as_seconds(age), "threshold": as_seconds(rules.stale_data)}
            self._trip(*key, reason, evidence | {"symbols": sorted(symbols)})

    def _weigh(self, find: Callable[[], Symptom]) -> None:
        symptom = find()
        state = WatchState(breaches=int(symptom.is_beyond))
        self._note(
            symptom.trigger,
            symptom.scope,
            state,
            measured=symptom.measured,
            threshold=symptom.threshold,
            detail=symptom.reason if symptom.is_beyond else "",
        )
        if symptom.is_beyond:
            numbers = {"measured": symptom.measured, "threshold": symptom.threshold}
            self._trip(symptom.trigger, symptom.scope, symptom.reason, numbers | symptom.evidence)

    # Rows ---------------------------------------------------------------------------------------

    def _state_of(self, trigger: StopSource, scope: str) -> WatchState:
        row = self._rows.get((trigger, scope))
        if row is None:
            return WatchState()
        return WatchState(breaches=row.breaches, read_at=row.read_at, absent_since=row.absent_since)

    def _note(self, trigger: StopSource, scope: str, state: WatchState, **texts: str) -> None:
        """Write the row where something changed."""
        columns: dict[str, Any] = {
            "breaches": state.breaches,
            "read_at": state.read_at,
            "absent_since": state.absent_since,
            **texts,
        }
        row = self._rows.get((trigger, scope))
        if row is not None and all(getattr(row, name) == value for name, value in columns.items()):
            return
        self._rows[(trigger, scope)], _ = models.Watch.objects.update_or_create(
            trigger=trigger.value, scope=scope, defaults=columns | {"updated_at": self.clocks.wall_at}
        )

    def _trip(
        self, source: StopSource, scope: str, reason: str, evidence: dict[str, Any], *, joins: bool = False
    ) -> None:
        """What is halted stays halted, and its watch goes on.

        A loss `joins` the stop that stands where that was for something else: its sweep then sees
        whether the loss grows.
        """
        if TradingState.objects.filter(scope=scope, state=TradingStateName.HALTED).exists():
            standing = models.StopEvent.objects.filter(scope=scope, ended_at__isnull=True).first()
            if not joins or standing is None or get_loss(standing):
                return
        logger.error("emergency stop of %s: %s", scope, reason)
        trip_emergency_stop(
            scope=scope,
            reason=reason,
            source=source.value,
            actor=GUARD,
            clocks=self.clocks,
            evidence=evidence,
            call_sweeper=self._call_sweeper,
        )


def run_each(looks: Iterable[Callable[[], None]]) -> None:
    """Run every look, whatever becomes of the others; then raise the first failure there was."""
    raise_first([failure for look in looks if (failure := attempt(look))])


def attempt(look: Callable[[], None]) -> Exception | None:
    try:
        look()
    # Raised at the end, so that the heartbeat goes stale and no lease goes on.
    except Exception as failure:
        logger.exception("%s failed", look)
        return failure
    return None


def raise_first(failures: Sequence[Exception]) -> None:
    if failures:
        raise failures[0]


def attempt_soon(looks: Sequence[Callable[[], None]]) -> list[Exception]:
    """One look after the other, and the rest side by side once they have taken too long; the failures.

    However many accounts a venue keeps waiting, the others are watched, and this process shows life.
    """
    began, failures = monotonic(), []
    rest = list(looks)
    while rest and monotonic() - began < ONE_BY_ONE_SECONDS:
        failures.append(attempt(rest.pop(0)))
    failures.extend(run_side_by_side([partial(attempt, look) for look in rest]))
    return [failure for failure in failures if failure is not None]


def _list_amounts(reading: AccountReading) -> dict[str, str | None]:
    """What the losses were measured from, USDT."""
    amounts = {
        "equity": reading.equity,
        "base": reading.base,
        "peak": reading.peak,
        "net_flow": reading.net_flow,
    }
    return {name: None if amount is None else f"{amount:.8f}" for name, amount in amounts.items()}


def _as_ratio(value: Decimal | None) -> str:
    return "" if value is None else f"{round(value, RATIO_PLACES).normalize():f}"


def _as_text(at: datetime | None) -> str:
    return "" if at is None else at.isoformat()
