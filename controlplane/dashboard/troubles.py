"""What is wrong, worst first: each with where to look and what to do next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from django.conf import settings
from django.urls import reverse

from controlplane.alerts.selectors import count_undelivered, list_alerts, list_channels
from controlplane.approvals.core import RequestState
from controlplane.approvals.selectors import list_open_requests
from controlplane.audit.selectors import get_chain_status
from controlplane.dashboard.facts import AccountFacts
from controlplane.dashboard.words import age_text, count_text
from golive.core.values import CheckStatus
from golive.drift import UNLOADED
from golive.models import PreflightRun
from risk.global_risk.page import tell_gravest
from risk.models import StopEvent
from risk.overrides import list_active_overrides
from risk.selectors import ScopeStatus, get_global_risk, list_unfinished_stops
from risk.throttles import list_throttled
from trading import models, selectors
from trading.core.values import Clocks, OrderState, TradingStateName

# Processes whose silence must be noticed; a silent worker trades nothing, a silent guard stops nothing.
WATCHED = ("worker", "beat", "guard:sweep", "guard:triggers", "guard:recovery", "guard:leases", "guard:risk")
SILENCE = timedelta(seconds=15)
RECONCILIATION_AGE = timedelta(seconds=60)
PRICE_READ_AGE = timedelta(seconds=90)
PRICE_MARKET_AGE = timedelta(minutes=3)
RISK_AGE = timedelta(seconds=30)
UNKNOWN_AGE = timedelta(seconds=10)
SEAL_AGE = timedelta(seconds=60)
PREFLIGHT_AGE = timedelta(days=1)
PASSING = (CheckStatus.PASS.value, CheckStatus.NOT_APPLICABLE.value)


class Weight(IntEnum):
    CRITICAL = 0
    WARNING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong, in words; `link` shows the facts, `command` is what to run."""

    weight: Weight
    text: str
    detail: str = ""
    link: str = ""
    command: str = ""

    @property
    def is_critical(self) -> bool:
        return self.weight is Weight.CRITICAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the checks look at."""

    clocks: Clocks
    states: Sequence[ScopeStatus]
    accounts: Sequence[AccountFacts]
    places: Sequence[models.VenueAccount]


def list_troubles(seen: Seen) -> list[Trouble]:
    """Run every check; one that finds nothing says nothing."""
    found = [trouble for check in CHECKS for trouble in check(seen)]
    return sorted(found, key=lambda trouble: trouble.weight)


def _page(name: str) -> str:
    return reverse(f"admin:{name}_changelist")


def stopped_scopes(seen: Seen) -> Iterable[Trouble]:
    stops = {event.scope: event.pk for event in StopEvent.objects.filter(ended_at__isnull=True)}
    for row in seen.states:
        if row.state is TradingStateName.ACTIVE:
            continue
        halted = row.state is TradingStateName.HALTED
        yield Trouble(
            weight=Weight.CRITICAL if halted else Weight.WARNING,
            text=f"{row.scope} is {row.state}",
            detail=row.reason,
            link=reverse("stop_event", args=[stops[row.scope]])
            if row.scope in stops
            else reverse("restrictions"),
        )


def unfinished_stops(seen: Seen) -> Iterable[Trouble]:
    for event in list_unfinished_stops():
        yield Trouble(
            weight=Weight.CRITICAL,
            text=f"The stop of {event.scope} is not finished",
            detail=f"a venue has yet to confirm it, after {age_text(seen.clocks.wall_at - event.tripped_at)}",
            link=reverse("stop_event", args=[event.pk]),
        )


def missing_permits(seen: Seen) -> Iterable[Trouble]:
    for account in seen.accounts:
        if account.permit is None:
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"{account.name} has no permit",
                detail="no order that adds risk is allowed",
                link=_page("trading_permit"),
            )
        elif not account.may_trade:
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"The lease of {account.name} has run out",
                detail="the guard renews it while its own checks are well: look at the guard",
                link=_page("trading_heartbeat"),
            )


def unprotected_positions(seen: Seen) -> Iterable[Trouble]:
    for account in seen.accounts:
        for row in account.positions:
            if row.stop_verified_at is None:
                yield Trouble(
                    weight=Weight.CRITICAL,
                    text=f"{row.symbol} has no verified stop-loss",
                    detail=f"{row.quantity.normalize():f} at {row.venue} ({account.name})",
                    link=_page("trading_position"),
                )


def silent_processes(seen: Seen) -> Iterable[Trouble]:
    beats = selectors.list_heartbeats()
    for name in WATCHED:
        row = beats.get(name)
        if row is None:
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"{name} has never shown life",
                link=_page("trading_heartbeat"),
            )
        elif (age := seen.clocks.wall_at - row.beat_at) > SILENCE:
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"{name} is silent for {age_text(age)}",
                link=_page("trading_heartbeat"),
            )


def books_not_compared(seen: Seen) -> Iterable[Trouble]:
    for place in seen.places:
        run = selectors.latest_reconciliation(place)
        if run is None:
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"{place} was never compared with the venue",
                command=f"manage.py reconcile --account {place.account.name}",
            )
            continue
        age = seen.clocks.wall_at - run.finished_at
        if age > RECONCILIATION_AGE:
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"{place} was last compared with the venue {age_text(age)} ago",
                link=_page("trading_reconciliationrun"),
            )
        if not run.is_clean:
            found = count_text(len(run.differences), "difference")
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"{place}: {found} between our book and the venue's",
                link=reverse("admin:trading_reconciliationrun_change", args=[run.pk]),
            )


def stale_prices(seen: Seen) -> Iterable[Trouble]:
    """A price is stale when it was not read lately, or the venue's own time stands still."""
    for place in seen.places:
        rows = {row.symbol: row for row in models.MarketPrice.objects.filter(venue=place.venue)}
        stale = [
            symbol
            for symbol in selectors.list_symbols(place.account)
            if symbol not in rows or _is_stale(rows[symbol], seen.clocks)
        ]
        if stale:
            yield Trouble(
                weight=Weight.CRITICAL,
                text=f"No fresh price of {', '.join(stale)} at {place.venue}",
                detail="a stale price denies every new entry",
                link=_page("trading_marketprice"),
            )


def _is_stale(row: models.MarketPrice, clocks: Clocks) -> bool:
    return clocks.wall_at - row.read_at > PRICE_READ_AGE or clocks.market_at - row.at > PRICE_MARKET_AGE


def global_risk(seen: Seen) -> Iterable[Trouble]:
    row = get_global_risk()
    if row is None:
        yield Trouble(weight=Weight.CRITICAL, text="Global risk was never assessed")
        return
    age = seen.clocks.wall_at - row.checked_at
    if age > RISK_AGE:
        yield Trouble(
            weight=Weight.CRITICAL,
            text=f"Global risk was last assessed {age_text(age)} ago",
            link=_page("risk_globalrisk"),
        )
    if row.level != "OK":
        yield Trouble(
            weight=Weight.CRITICAL if row.level == "CRITICAL" else Weight.WARNING,
            text=f"Global risk is {row.level}",
            detail=tell_gravest(row),
            link=reverse("admin:risk_globalrisk_change", args=[row.pk]),
        )


def unknown_orders(seen: Seen) -> Iterable[Trouble]:
    rows = models.Order.objects.filter(
        state__in=[OrderState.UNKNOWN, OrderState.SENDING], sent_at__lt=seen.clocks.wall_at - UNKNOWN_AGE
    )
    if count := rows.count():
        yield Trouble(
            weight=Weight.WARNING,
            text=f"{count_text(count, 'order')} of unknown outcome",
            detail="each is looked up at the venue until it is settled, and counts as filled until then",
            link=_page("trading_order") + "?state__exact=unknown",
        )


def preflight(seen: Seen) -> Iterable[Trouble]:
    run = PreflightRun.objects.filter(finished_at__isnull=False).order_by("-id").first()
    if run is None:
        yield Trouble(weight=Weight.WARNING, text="Preflight was never run", command="manage.py preflight")
        return
    link = reverse("admin:golive_preflightrun_change", args=[run.pk])
    age = seen.clocks.wall_at - run.started_at
    if not run.is_passed:
        failing = run.checks.filter(is_counted=True).exclude(status__in=PASSING).order_by("id")
        names = ", ".join(check.name.removeprefix("check_") for check in failing)
        yield Trouble(weight=Weight.WARNING, text="Preflight fails", detail=names, link=link)
    elif age > PREFLIGHT_AGE:
        yield Trouble(weight=Weight.WARNING, text=f"Preflight is {age_text(age)} old", link=link)


def alerts(seen: Seen) -> Iterable[Trouble]:
    if count := count_undelivered():
        yield Trouble(
            weight=Weight.WARNING,
            text=f"{count_text(count, 'open alert')} reached nobody",
            detail="no channel has accepted them" if settings.ALERT_URLS else "ALERT_URLS names no channel",
            link=_page("alerts_alert"),
        )
    for channel in list_channels():
        if channel.failing_since is not None:
            since = age_text(seen.clocks.wall_at - channel.failing_since)
            yield Trouble(
                weight=Weight.WARNING,
                text=f"The alert channel {channel.channel} has accepted nothing for {since}",
                detail=channel.error,
                link=_page("alerts_channelhealth"),
                command="manage.py alerts test",
            )
    waiting = [row for row in list_alerts() if row.severity == "critical" and row.acknowledged_at is None]
    if waiting:
        yield Trouble(
            weight=Weight.WARNING,
            text=f"Not acknowledged: {count_text(len(waiting), 'critical alert')}",
            detail=waiting[0].text,
            link=_page("alerts_alert"),
        )


def unloaded_files(seen: Seen) -> Iterable[Trouble]:
    """As the guard last saw it: this process may have read its files at another time."""
    for row in reversed(list_alerts()):
        if row.code == UNLOADED:
            yield Trouble(
                weight=Weight.WARNING,
                text=f"The file of {row.scope} is not what is loaded",
                detail=row.text,
                link=_page("alerts_alert"),
                command="manage.py golive config diff",
            )


def unsealed_records(seen: Seen) -> Iterable[Trouble]:
    status = get_chain_status(now=seen.clocks.wall_at)
    waiting = sum(status.unsealed.values())
    if waiting and (status.last_seal_age is None or status.last_seal_age > SEAL_AGE):
        since = "never" if status.last_seal_age is None else f"{age_text(status.last_seal_age)} ago"
        yield Trouble(
            weight=Weight.WARNING,
            text=f"{count_text(waiting, 'record')} not sealed into the audit log",
            detail=f"last sealed {since}",
            link=_page("audit_seal"),
        )


def late_cycles(seen: Seen) -> Iterable[Trouble]:
    for account in seen.accounts:
        run = models.CycleRun.objects.filter(account__name=account.name).order_by("-id").first()
        if run is not None and run.state == "failed":
            yield Trouble(
                weight=Weight.WARNING,
                text=f"The last cycle of {account.name} failed",
                detail=str(run.detail.get("error", "")),
                link=reverse("admin:trading_cyclerun_change", args=[run.pk]),
            )


def raised_limits(seen: Seen) -> Iterable[Trouble]:
    for row in list_active_overrides():
        left = age_text(row.expires_at - seen.clocks.wall_at)
        uses = "" if row.max_uses is None else f", {count_text(row.max_uses - row.used, 'order')} left"
        yield Trouble(
            weight=Weight.WARNING,
            text=f"{row.limit} of {row.account.name} is raised to {row.value.normalize():f}",
            detail=f"for {left} more{uses}; asked by {row.requested_by}, approved by {row.approved_by}",
            link=reverse("admin:risk_override_change", args=[row.pk]),
            command=f"manage.py override end {row.pk}",
        )


def throttled_strategies(seen: Seen) -> Iterable[Trouble]:
    for row in list_throttled():
        yield Trouble(
            weight=Weight.WARNING,
            text=f"{row.strategy} is throttled in {row.symbol} ({row.account.name})",
            detail=f"entries in its window: {row.entries}; a person must let it enter again",
            link=reverse("throttle_reenable", args=[row.pk]),
        )


def waiting_requests(seen: Seen) -> Iterable[Trouble]:
    for row in list_open_requests():
        until = row.approve_by if row.state == RequestState.PROPOSED else row.execute_by
        if until > seen.clocks.wall_at:
            yield Trouble(
                weight=Weight.WARNING,
                text=f"{row.proposer_name} asks: {row.kind}",
                detail=f"{row.state}, for {age_text(until - seen.clocks.wall_at)} more: {row.reason}",
                link=reverse("admin:approvals_approvalrequest_change", args=[row.pk]),
            )


CHECKS: tuple[Callable[[Seen], Iterable[Trouble]], ...] = (
    stopped_scopes,
    unfinished_stops,
    unprotected_positions,
    missing_permits,
    silent_processes,
    books_not_compared,
    stale_prices,
    global_risk,
    unknown_orders,
    late_cycles,
    raised_limits,
    throttled_strategies,
    waiting_requests,
    preflight,
    unloaded_files,
    alerts,
    unsealed_records,
)
