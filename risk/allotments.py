"""Divides the limits that span accounts among them, and keeps each account's parts as rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from risk import models
from risk.core.allotments import divide, measure_usage
from risk.exposure import Exposure, get_exposure
from risk.snapshot import load_book
from trading.models import Account, Permit, StrategyAssignment, VenueAccount

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An account that takes part. `usage` by scope is None where something it holds has no price.

    `shares` marks those that may add: they have a permit. `stored` are its parts as they are.
    """

    account_id: int
    shares: bool
    scopes: frozenset[str]
    usage: Mapping[str, Decimal] | None
    stored: Mapping[str, models.Allotment]

    def used_in(self, scope: str) -> Decimal:
        """What it has in use of the scope; where that cannot be measured, the part it has stays its own."""
        if self.usage is not None:
            return self.usage.get(scope, ZERO)
        return self.stored[scope].max_notional if scope in self.stored else ZERO


@transaction.atomic
def divide_exposure(*, expected: Account | None = None) -> int:
    """Divide every limit anew among the desk's accounts; returns how many accounts' parts changed.

    Every account's book is held meanwhile, in order, so that nobody reserves under a part that is
    being taken away; an account whose parts changed gets a new version of its book. An account with
    a permit, and `expected`, which is about to get one, shares what is free. Without limits in force
    nothing is allotted, and that denies.
    """
    exposure = get_exposure()
    if exposure is None:
        return 0
    parties = _list_parties(expected)
    parts = {party.account_id: dict[str, Decimal]() for party in parties}
    for scope in sorted(frozenset().union(*(party.scopes for party in parties))):
        for account_id, part in _divide_scope(scope, exposure, parties).items():
            parts[account_id][scope] = part
    changed = [
        party.account_id for party in parties if _write_parts(party, parts[party.account_id], exposure.digest)
    ]
    models.AccountBook.objects.filter(account_id__in=changed).update(version=F("version") + 1)
    return len(changed)


def _divide_scope(scope: str, exposure: Exposure, parties: list[Party]) -> dict[int, Decimal]:
    """Whose usage cannot be measured keeps its part and gets no share."""
    inside = {party.account_id: party for party in parties if scope in party.scopes}
    parts = divide(
        exposure.limit_of(scope),
        {str(account_id): party.used_in(scope) for account_id, party in inside.items()},
        {str(account_id) for account_id, party in inside.items() if party.shares and party.usage is not None},
    )
    return {int(name): part for name, part in parts.items()}


def _write_parts(party: Party, parts: Mapping[str, Decimal], digest: str) -> bool:
    changed = False
    for scope, part in parts.items():
        row = party.stored.get(scope)
        if row is not None and row.max_notional == part and row.exposure_digest == digest:
            continue
        models.Allotment.objects.update_or_create(
            account_id=party.account_id,
            scope=scope,
            defaults={"max_notional": part, "exposure_digest": digest, "divided_at": Now()},
        )
        changed = True
    gone = party.stored.keys() - parts.keys()
    if gone:
        models.Allotment.objects.filter(account_id=party.account_id, scope__in=gone).delete()
    return changed or bool(gone)


def _list_parties(expected: Account | None) -> list[Party]:
    """Every account of the desk's environment that has a book; the books are locked, in order."""
    books = models.AccountBook.objects.select_for_update(of=("self",)).order_by("account_id")
    ids = list(
        books.filter(account__environment=settings.TRADING_ENVIRONMENT).values_list("account_id", flat=True)
    )
    heirs = set(Permit.objects.filter(account_id__in=ids, active=True).values_list("account_id", flat=True))
    if expected is not None:
        heirs.add(expected.pk)
    return [_measure_party(account_id, shares=account_id in heirs) for account_id in ids]


def _measure_party(account_id: int, *, shares: bool) -> Party:
    positions, pending = load_book(account_id)
    usage = measure_usage([*positions, *pending])
    stored = {row.scope: row for row in models.Allotment.objects.filter(account_id=account_id)}
    scopes = _list_scopes(account_id) | (stored.keys() if usage is None else usage.keys())
    return Party(account_id=account_id, shares=shares, scopes=scopes, usage=usage, stored=stored)


def _list_scopes(account_id: int) -> frozenset[str]:
    """Every scope that some order of the account uses a part of."""
    venues = VenueAccount.objects.filter(account_id=account_id).values_list("venue", flat=True)
    assigned = list(StrategyAssignment.objects.filter(account_id=account_id, enabled=True))
    return frozenset(
        {
            "all",
            *(f"venue:{venue}" for venue in venues),
            *(f"strategy:{row.strategy}" for row in assigned),
            *(f"symbol:{symbol}" for row in assigned for symbol in row.symbols),
        }
    )
