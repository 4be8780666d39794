"""Fills that the venue forced: after ADL or settlement the symbol may only reduce, a liquidation stops."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

from django.db import transaction

from controlplane.approvals.core import Actor, ActorKind
from controlplane.errors import DomainError
from risk import models
from risk.core.emergency_stop import Cause, StopSource, parse_scope
from risk.reducing.placed_causes import ACTOR
from risk.reducing.restrictions import lift, restrict
from risk.stops.emergency import lapse_entries, trip_emergency_stop
from trading import forced
from trading.core.forced import ForcedKind
from trading.core.values import Clocks
from trading.models import Account, Fill, VenueAccount

logger = logging.getLogger(__name__)

WATCHER = Actor(name="consequences", kind=ActorKind.GUARD)
FILLS = "fills"
REMEMBERED_FOR = timedelta(days=1)


def follow_forced_fills(*, account: Account, places: Iterable[VenueAccount], clocks: Clocks) -> None:
    """Find new ones, act on each once, and lift what a person has acknowledged."""
    _lift_acknowledged(clocks)
    since = _last_rearmed_at(account)
    is_stopped = models.StopEvent.objects.filter(scope=_scope(account), ended_at__isnull=True).exists()
    for place in places:
        liquidated: dict[str, object] = {}
        for row in forced.list_liquidation_income(place, since=since, market_at=clocks.market_at):
            liquidated = {"symbol": row.symbol, "income": row.pk, "amount": f"{row.amount:f}"}
        for fill, kind in _list_forced(place, clocks):
            if kind is not ForcedKind.LIQUIDATION:
                _restrict(fill, kind, clocks)
            elif since is None or fill.at > since:
                liquidated = {"symbol": fill.symbol, "fill": fill.pk}
        if liquidated and not is_stopped:
            _stop(account, place, liquidated, clocks)


def _scope(account: Account) -> str:
    return f"account:{account.name}"


def _last_rearmed_at(account: Account) -> datetime | None:
    """What happened before people armed the account again, they knew of."""
    ended = models.StopEvent.objects.filter(scope=_scope(account), ended_at__isnull=False)
    return ended.order_by("-ended_at").values_list("ended_at", flat=True).first()


def _list_forced(place: VenueAccount, clocks: Clocks) -> list[tuple[Fill, ForcedKind]]:
    """A venue that does not answer is asked again in the next round."""
    found = []
    for fill in forced.list_foreign_fills(place, wall_at=clocks.wall_at):
        try:
            kind = _ask(fill)
        except DomainError as refusal:
            logger.warning("%s: whose fill %s was is not known yet: %s", place, fill.pk, refusal)
            continue
        if kind is not None:
            found.append((fill, kind))
    return found


@lru_cache(maxsize=1024)
def _ask(fill: Fill) -> ForcedKind | None:
    """An answer does not change: once in a process is enough."""
    return forced.ask_forced_kind(fill)


@transaction.atomic
def _restrict(fill: Fill, kind: ForcedKind, clocks: Clocks) -> None:
    scope, cause = f"symbol:{fill.symbol}", Cause.FORCED_FILL
    rows = models.Restriction.objects.select_for_update().filter(scope=scope, cause=cause.value)
    recent = list(rows.filter(since_at__gt=clocks.wall_at - REMEMBERED_FOR).order_by("id"))
    if any(fill.pk in row.evidence.get(FILLS, ()) for row in recent):
        return
    standing = next((row for row in recent if row.lifted_at is None), None)
    if standing is not None:
        evidence = standing.evidence | {FILLS: [*standing.evidence.get(FILLS, ()), fill.pk]}
        models.Restriction.objects.filter(pk=standing.pk).update(evidence=evidence)
        return
    lapse_entries(parse_scope(scope))
    restrict(
        scope=scope,
        cause=cause,
        reason=f"{fill.symbol}: the venue forced a fill of {fill.quantity.normalize():f} ({kind.value})",
        actor=ACTOR,
        clocks=clocks,
        evidence={FILLS: [fill.pk], "kind": kind.value},
        needs_acknowledgement=True,
    )


def _lift_acknowledged(clocks: Clocks) -> None:
    rows = models.Restriction.objects.filter(
        cause=Cause.FORCED_FILL.value, lifted_at__isnull=True, acknowledged_at__isnull=False
    )
    for scope in rows.values_list("scope", flat=True):
        lift(scope=scope, cause=Cause.FORCED_FILL, because="acknowledged", actor=ACTOR, clocks=clocks)


def _stop(account: Account, place: VenueAccount, evidence: dict[str, object], clocks: Clocks) -> None:
    trip_emergency_stop(
        scope=_scope(account),
        reason=f"{place} was liquidated in {evidence['symbol']}",
        source=StopSource.LIQUIDATION,
        actor=WATCHER,
        clocks=clocks,
        evidence=evidence,
    )
