"""Rows of a live account's record, built plainly: market time is the database's clock."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from controlplane.code_version import get_code_version
from golive.uptime import SLOT, floor_to_slot
from risk.models import Drill, GlobalRisk, Restriction, StopEvent
from tests import factories
from tests.risk import desk
from trading.models import Account, EquitySample, Permit, Trade, VenueAccount

DAY = timedelta(days=1)


def make_live(*, profile: str = "MICRO", days: int = 15, name: str = "main") -> Permit:
    """An account on a whole desk whose live permit began so many days ago, with nothing recorded since."""
    account = desk.make_desk(name=name, profile=profile)
    return become(account, kind="LIVE", created_at=timezone.now() - days * DAY)


def become(account: Account, **changes: Any) -> Permit:
    """The account's permit ends, and another begins that differs in this."""
    rows = Permit.objects.filter(account=account, active=True)
    old = rows.get()
    rows.update(active=False, ended_at=timezone.now())
    facts = {
        "account": account,
        "kind": old.kind,
        "environment": old.environment,
        "profile": old.profile,
        "limit_set_digest": old.limit_set_digest,
        "fencing_token": old.fencing_token + 1,
        "active": True,
        "lease_expires_at": old.lease_expires_at,
        "created_at": old.created_at,
    }
    return Permit.objects.create(**(facts | changes))


def place_of(account: Account) -> VenueAccount:
    return VenueAccount.objects.get(account=account, priority=0)


def sample(account: Account, at: datetime, equity: Any, *, flow: Any = 0) -> EquitySample:
    return factories.EquityFactory(
        venue_account=place_of(account),
        equity=Decimal(equity),
        wallet=Decimal(equity),
        net_flow=Decimal(flow),
        market_at=at,
        at=at,
    )


def trip(
    account: Account,
    at: datetime,
    pnl: Any,
    *,
    risk: Any = 2,
    closed_by: str = "exit",
    fill: Any = None,
    **changes: Any,
) -> Trade:
    """A closed round trip of `trend` in ETHUSDT (stop 2430), 1 h long."""
    place = place_of(account)
    facts = {
        "venue_account": place,
        "entry_intent": factories.IntentFactory(venue_account=place),
        "net_pnl": Decimal(pnl),
        "risk_amount": None if risk is None else Decimal(risk),
        "closed_by": closed_by,
        "exit_price": Decimal(fill or "2510"),
        "opened_at": at - timedelta(hours=1),
        "closed_at": at,
    }
    return factories.TradeFactory(**(facts | changes))


def be_up(account: Account, since: datetime, until: datetime) -> None:
    """Every slot from one moment to another is up."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO golive_uptimeslot (account_id, slot_at, is_up)"
            " SELECT %s, at, true FROM generate_series(%s, %s, %s::interval) at",
            [account.pk, floor_to_slot(since), until, SLOT],
        )


def assess(level: str, since: datetime, span: timedelta) -> GlobalRisk:
    return GlobalRisk.objects.create(
        level=level, since_at=since, checked_at=since + span, market_at=since + span
    )


def restrict(account: Account, cause: str, at: datetime, *, scope: str = "", **changes: Any) -> Restriction:
    facts = {
        "scope": scope or f"account:{account.name}",
        "cause": cause,
        "reason": "as the test says",
        "market_at": at,
        "since_at": at,
    }
    return Restriction.objects.create(**(facts | changes))


def stop(scope: str, source: str, at: datetime, *, stands: bool = True) -> StopEvent:
    """A stop that stands, or (a drill's) ended a minute later."""
    event = StopEvent.objects.create(
        scope=scope, source=source, actor="x", reason="as the test says", market_at=at
    )
    if not stands:
        rows = StopEvent.objects.filter(pk=event.pk)
        rows.update(progress="STOPPED", stopped_at=at)
        rows.update(ended_at=at + timedelta(minutes=1), ended_by="x", root_cause="drill")
    return event


def rehearse(account: Account) -> Drill:
    """A drill of this code that passed, a minute ago."""
    event = stop(f"account:{account.name}", "drill", timezone.now() - timedelta(minutes=2), stands=False)
    return Drill.objects.create(
        event=event,
        account=account.name,
        code_version=get_code_version(),
        is_passed=True,
        seconds=Decimal("1.5"),
        proof={"faults": []},
    )


def earn(permit: Permit, *, days: int = 15) -> None:
    """Everything that MICRO asks for: up, 24 trips of which two stopped, equity that grew, calm risk."""
    account, now = permit.account, timezone.now()
    began = now - days * DAY
    sample(account, began, 1000)
    for number in range(24):
        at = began + (number + 1) * timedelta(hours=12)
        is_stop = number % 12 == 5
        trip(
            account,
            at,
            -2 if is_stop else "0.9",
            closed_by="stop_loss" if is_stop else "exit",
            fill="2429" if is_stop else None,
        )
    for number in range(1, days):
        sample(account, began + number * DAY, 1000 + number)
    be_up(account, began, now)
    GlobalRisk.objects.all().delete()
    assess("OK", began, now - began)
