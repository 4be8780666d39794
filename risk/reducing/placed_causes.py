"""Causes that a venue account has in a symbol: unprotected, mismatched, oversize.

The restriction of a symbol keeps, in its evidence, for which venue accounts it stands and when each was
last seen to have the cause; it ends with the last of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from risk import models
from risk.core.consequences import UNPROTECTED_FOR, Finding, Held, Standing, judge_oversize
from risk.core.emergency_stop import Cause, parse_scope
from risk.core.values import BalanceFacts, Limits
from risk.reducing.restrictions import lift, restrict
from risk.stops.emergency import lapse_entries
from trading import selectors
from trading.core.reconciliation import DifferenceKind
from trading.core.values import Clocks
from trading.models import Account, Position, ReconciliationRun, VenueAccount

ACTOR = "guard:consequences"
PLACES = "places"
CAUSES = (Cause.UNPROTECTED, Cause.MISMATCH, Cause.OVERSIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What one venue account has now; `clean_at` is when its last comparison without the cause began."""

    findings: dict[tuple[str, Cause], Finding]
    compared_at: datetime | None


def follow_places(
    *, account: Account, places: Iterable[VenueAccount], limits: Limits | None, clocks: Clocks
) -> None:
    """Restrict what has such a cause at a venue account, and lift what has it nowhere any more."""
    for place in places:
        placed = _judge(account, place, limits, clocks)
        for (scope, _), finding in placed.findings.items():
            if finding.standing is Standing.PRESENT:
                _begin(scope, place, finding, clocks)
        for row in _list_of(place):
            if _is_over(row, place, placed):
                _leave(row.pk, place, clocks)


def _judge(account: Account, place: VenueAccount, limits: Limits | None, clocks: Clocks) -> Placed:
    positions = list(selectors.list_open_positions(place))
    run = selectors.latest_reconciliation(place)
    found: dict[tuple[str, Cause], Finding] = {}
    for finding, scope in [
        *_list_oversize(place, positions, limits),
        *_list_differences(account, run),
        *_list_unprotected(positions, clocks),
    ]:
        found[scope, finding.cause] = finding
    return Placed(findings=found, compared_at=None if run is None else run.started_at)


def _list_unprotected(positions: list[Position], clocks: Clocks) -> Iterable[tuple[Finding, str]]:
    for row in positions:
        since = row.unprotected_since
        if since is not None and clocks.wall_at - since > UNPROTECTED_FOR:
            text = (
                f"{row.symbol}: a position of {row.quantity.normalize():f} has no stop at {row.venue_account}"
            )
            yield _present(Cause.UNPROTECTED, text), f"symbol:{row.symbol}"


def _list_differences(account: Account, run: ReconciliationRun | None) -> Iterable[tuple[Finding, str]]:
    """What the last comparison found; a difference that names no symbol is the account's."""
    if run is None or run.is_clean:
        return
    for item in run.differences or [{}]:
        symbol, kind = item.get("symbol", ""), item.get("kind", "unknown")
        cause = Cause.UNPROTECTED if kind == DifferenceKind.UNPROTECTED else Cause.MISMATCH
        scope = f"symbol:{symbol}" if symbol else f"account:{account.name}"
        ours, theirs = item.get("ours", ""), item.get("theirs", "")
        text = f"{symbol or account.name}: {kind.replace('_', ' ')}, ours {ours}, the venue's {theirs}"
        yield _present(cause, text), scope


def _list_oversize(
    place: VenueAccount, positions: list[Position], limits: Limits | None
) -> Iterable[tuple[Finding, str]]:
    if limits is None:
        for row in positions:
            yield Finding(cause=Cause.OVERSIZE, standing=Standing.UNKNOWN), f"symbol:{row.symbol}"
        return
    prices = selectors.list_prices(place.venue, [row.symbol for row in positions])
    balance = _read_balance(place)
    for row in positions:
        price = prices.get(row.symbol)
        held = Held(
            symbol=row.symbol,
            quantity=row.quantity,
            entry_price=row.entry_price or row.quantity * 0,
            mark=None if price is None else price.mark,
        )
        yield judge_oversize(held, balance, limits), f"symbol:{row.symbol}"


def _read_balance(place: VenueAccount) -> BalanceFacts | None:
    row = selectors.latest_equity(place)
    if row is None:
        return None
    return BalanceFacts(
        wallet=row.wallet,
        equity=row.equity,
        initial_margin=row.initial_margin,
        maintenance_margin=row.maintenance_margin,
        market_at=row.market_at,
        read_at=row.at,
    )


def _present(cause: Cause, reason: str) -> Finding:
    return Finding(cause=cause, standing=Standing.PRESENT, reason=reason)


def _list_of(place: VenueAccount) -> QuerySet[models.Restriction]:
    return models.Restriction.objects.filter(
        lifted_at__isnull=True,
        cause__in=[cause.value for cause in CAUSES],
        evidence__places__has_key=str(place.pk),
    ).order_by("id")


def _is_over(row: models.Restriction, place: VenueAccount, placed: Placed) -> bool:
    """Oversize: inside, or flat. The others: gone, and compared clean since they were last seen."""
    cause = Cause(row.cause)
    finding = placed.findings.get((row.scope, cause))
    if cause is Cause.OVERSIZE:
        return finding is None or finding.standing is Standing.OVER
    if finding is not None or placed.compared_at is None:
        return False
    return placed.compared_at > datetime.fromisoformat(row.evidence[PLACES][str(place.pk)])


@transaction.atomic
def _begin(scope: str, place: VenueAccount, finding: Finding, clocks: Clocks) -> None:
    """Restrict for this venue account too; what is approved and not yet sent lapses."""
    seen = {str(place.pk): clocks.wall_at.isoformat()}
    rows = models.Restriction.objects.select_for_update()
    row = rows.filter(scope=scope, cause=finding.cause.value, lifted_at__isnull=True).first()
    if row is not None:
        evidence = row.evidence | {PLACES: row.evidence.get(PLACES, {}) | seen}
        models.Restriction.objects.filter(pk=row.pk).update(evidence=evidence)
        return
    lapse_entries(parse_scope(scope))
    restrict(
        scope=scope,
        cause=finding.cause,
        reason=finding.reason,
        actor=ACTOR,
        clocks=clocks,
        evidence={**finding.evidence, PLACES: seen},
    )


@transaction.atomic
def _leave(restriction_id: int, place: VenueAccount, clocks: Clocks) -> None:
    """The cause is over at this venue account; where it was the last, the restriction ends."""
    row = models.Restriction.objects.select_for_update().get(pk=restriction_id)
    left = {name: at for name, at in row.evidence.get(PLACES, {}).items() if name != str(place.pk)}
    if row.lifted_at is not None:
        return
    if left:
        models.Restriction.objects.filter(pk=row.pk).update(evidence=row.evidence | {PLACES: left})
        return
    cause = Cause(row.cause)
    because = "inside the limits" if cause is Cause.OVERSIZE else "the books were compared and agree"
    lift(scope=row.scope, cause=cause, because=because, actor=ACTOR, clocks=clocks)
