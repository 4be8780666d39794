"""Reads what re-arming stands on: the stop, the rules, the pre-flight, the books, the trigger's reading."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import QuerySet

from controlplane.approvals.core import Mode
from controlplane.approvals.selectors import find_mode, get_database_time
from controlplane.code_version import get_code_version
from controlplane.errors import Unavailable
from risk import models
from risk.core.emergency_stop import StopPolicy, StopSource, parse_scope
from risk.core.rearm import (
    BOOKS_AGE,
    CheckFacts,
    Condition,
    Reading,
    RearmFacts,
    list_conditions,
)
from risk.stops.rules import get_stop_policy, get_stop_rules
from trading.core.values import OrderPurpose, Scope
from trading.models import Account, Order, Permit, VenueAccount
from trading.selectors import (
    UNSETTLED,
    get_account,
    get_primary,
    latest_equity,
    latest_reconciliation,
)


class EquityUnknown(Unavailable):
    """The account's equity is not known of this minute."""

    code = "equity_unknown"


def assess_rearm(event: models.StopEvent, *, rebases: bool) -> tuple[Condition, ...]:
    """Every condition for ending this stop, by the database's clock."""
    return list_conditions(read_facts(event, rebases=rebases))


def read_facts(event: models.StopEvent, *, rebases: bool) -> RearmFacts:
    scope, rules, now = parse_scope(event.scope), get_stop_rules(), get_database_time()
    return RearmFacts(
        now=now,
        scope=event.scope,
        source=find_trigger(event),
        tripped_at=event.tripped_at,
        stopped_at=event.stopped_at,
        is_solo=find_mode() is Mode.SOLO,
        cool_down=find_policy(scope).cool_down,
        preflight_age=rules.preflight_age,
        code_version=get_code_version(),
        check=_find_check(scope),
        unclear_books=tuple(list_unclear_books(scope, since=event.stopped_at, now=now)),
        unsettled=_list_entries(scope).count(),
        reading=_find_reading(event),
        rebases=rebases,
    )


def list_scope_places(scope: Scope) -> list[VenueAccount]:
    """Every venue account where something of the scope may rest."""
    rows = VenueAccount.objects.select_related("account").filter(
        account__environment=settings.TRADING_ENVIRONMENT
    )
    if scope.kind == "venue":
        rows = rows.filter(venue=scope.name)
    if scope.kind == "account":
        rows = rows.filter(account__name=scope.name)
    return list(rows.order_by("account__name", "priority"))


def find_policy(scope: Scope) -> StopPolicy:
    """The strictest of each among the accounts under the scope; without a permit the strictest of all."""
    accounts = {place.account_id for place in list_scope_places(scope)}
    permits = Permit.objects.filter(account_id__in=accounts, active=True)
    profiles = dict(permits.values_list("account_id", "profile"))
    policies = [get_stop_policy(profiles.get(account, "")) for account in accounts] or [get_stop_policy("")]
    return StopPolicy(
        positions=policies[0].positions,
        cool_down=max(policy.cool_down for policy in policies),
        reducing=max(policy.reducing for policy in policies),
    )


def _find_check(scope: Scope) -> CheckFacts | None:
    """The newest that speaks for the scope, of this code where there is one.

    One of a single account speaks for that account only.
    """
    names = ("", scope.name) if scope.kind == "account" else ("",)
    rows = models.RearmCheck.objects.filter(
        environment=settings.TRADING_ENVIRONMENT, account__in=names
    ).order_by("-started_at", "-id")
    row = rows.filter(code_version=get_code_version()).first() or rows.first()
    if row is None:
        return None
    return CheckFacts(
        run_id=row.run_id, code_version=row.code_version, is_passed=row.is_passed, started_at=row.started_at
    )


def list_unclear_books(scope: Scope, *, since: datetime | None, now: datetime) -> list[str]:
    """Why each venue account's book is not known to be clean; nothing where all are."""
    found = [(place, _judge_book(place, since, now)) for place in list_scope_places(scope)]
    return [f"{place}: {trouble}" for place, trouble in found if trouble]


def _judge_book(place: VenueAccount, since: datetime | None, now: datetime) -> str:
    run = latest_reconciliation(place)
    if run is None or since is None or run.started_at <= since:
        return "not compared with the venue since the stop"
    if not run.is_clean:
        return "differs from the venue's"
    return "not compared with the venue for a minute" if now - run.finished_at > BOOKS_AGE else ""


def _list_entries(scope: Scope) -> QuerySet[Order]:
    rows = Order.objects.filter(
        venue_account__in=list_scope_places(scope), purpose=OrderPurpose.ENTRY, state__in=UNSETTLED
    )
    if scope.kind == "strategy":
        return rows.filter(intent__strategy=scope.name)
    return rows.filter(symbol=scope.name) if scope.kind == "symbol" else rows


def find_trigger(event: models.StopEvent) -> StopSource:
    """What tripped it, or what was measured while it stood already (risk.stops.emergency)."""
    return StopSource(event.evidence.get("trigger", event.source))


def _find_reading(event: models.StopEvent) -> Reading | None:
    """What the watch of the trigger shows. Data that is absent is what STALE_DATA is about."""
    trigger = find_trigger(event)
    row = models.Watch.objects.filter(trigger=trigger, scope=event.scope).first()
    if row is None:
        return None
    is_absent, is_beyond = row.absent_since is not None, row.breaches > 0
    if trigger is StopSource.STALE_DATA:
        return Reading(measured=row.measured, threshold=row.threshold, is_beyond=is_absent or is_beyond)
    is_known = bool(row.measured) and not is_absent
    return Reading(measured=row.measured, threshold=row.threshold, is_beyond=is_beyond if is_known else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityNow:
    """What the account is worth (USDT) at its primary venue, as its losses are measured."""

    account: Account
    equity: Decimal


def measure_equity(name: str, *, now: datetime, max_age: timedelta = BOOKS_AGE) -> EquityNow:
    """Raises NotFound, and EquityUnknown where the balance was not read for a minute."""
    account = get_account(name)
    sample = latest_equity(get_primary(account))
    if sample is None or now - sample.at > max_age:
        raise EquityUnknown(f"account {name}: its balance was not read within {max_age.seconds} s")
    return EquityNow(account=account, equity=sample.equity)
