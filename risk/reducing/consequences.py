"""The guard's duty of consequences: what the facts say is restricted, and lifted once it is over.

Each account is judged by itself, by the gate's own measures. Scopes of a symbol are shared by the
accounts: their restriction names the venue accounts it stands for, and ends with the last of them.
Cancelling what rests is in `withdrawing`, so that a venue that does not answer delays no judgement.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from risk import models
from risk.core import consequences as core
from risk.core.consequences import RELEASE, SETTLING, Finding, Release, Standing
from risk.core.emergency_stop import Cause, parse_scope
from risk.core.values import Limits, Snapshot
from risk.headroom import NOBODY, NOTHING, get_account_limits
from risk.reducing import forced_fills
from risk.reducing.freshness import FRESHNESS, Freshness, find_stale
from risk.reducing.placed_causes import ACTOR, follow_places
from risk.reducing.restrictions import lift, note_again, restrict
from risk.snapshot import load_facts
from risk.stops.emergency import lapse_entries
from trading import selectors
from trading.core.values import Clocks
from trading.models import Account, VenueAccount

OVER_SINCE = "over_since"
LOSSES = (Cause.DAILY_LOSS, Cause.WEEKLY_LOSS)
MEASURED = (*LOSSES, Cause.MAINTENANCE_MARGIN)


def apply_consequences(*, account: Account, clocks: Clocks, freshness: Freshness = FRESHNESS) -> None:
    """Restrict and lift what the account's facts say now; may be repeated by anyone."""
    places = list(selectors.list_venue_accounts(account))
    limits = get_account_limits(account)
    if limits is not None:
        for finding in _judge_account(account, places, limits, clocks, freshness):
            _follow(f"account:{account.name}", finding, clocks)
    follow_places(account=account, places=places, limits=limits, clocks=clocks)
    forced_fills.follow_forced_fills(account=account, places=places, clocks=clocks)


def _judge_account(
    account: Account,
    places: Iterable[VenueAccount],
    limits: Limits,
    clocks: Clocks,
    freshness: Freshness,
) -> list[Finding]:
    """Losses, maintenance margin and staleness of the account, the worst of its venues each."""
    facts = {
        place.priority: load_facts(place_id=place.pk, strategy=NOBODY, symbol=NOTHING, clocks=clocks)
        for place in places
    }
    # A place in reserve that was never read says nothing.
    found = [
        finding
        for priority, snapshot in facts.items()
        if snapshot.balance is not None or priority == 0
        for finding in _judge_place(snapshot, limits)
    ]
    merged = [core.merge(item for item in found if item.cause is cause) for cause in MEASURED]
    stale = find_stale(account, facts.get(0), limits, clocks)
    merged.append(core.judge_staleness(stale, freshness.note(account.pk, stale)))
    return [finding for finding in merged if finding is not None]


def _judge_place(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    balance = snapshot.balance
    if balance is None:
        return [Finding(cause=cause, standing=Standing.UNKNOWN) for cause in MEASURED]
    found = [
        core.judge_daily_loss(snapshot, limits),
        core.judge_weekly_loss(snapshot, limits),
        core.judge_maintenance(balance),
    ]
    is_old = snapshot.wall_at - balance.read_at > limits.max_balance_age
    return [core.doubt(finding) for finding in found] if is_old else found


def _follow(scope: str, finding: Finding, clocks: Clocks) -> None:
    """Begin, keep or end the restriction of one scope and cause, each in a transaction of its own."""
    with transaction.atomic():
        rows = models.Restriction.objects.select_for_update()
        row = rows.filter(scope=scope, cause=finding.cause.value, lifted_at__isnull=True).first()
        if row is None:
            if finding.standing is Standing.PRESENT:
                _begin(scope, finding, clocks)
        elif finding.standing is Standing.PRESENT:
            _keep(row, finding, clocks)
        elif finding.standing is Standing.OVER:
            _end_if_due(row, finding.cause, clocks)
        else:
            _set_evidence(row, {OVER_SINCE: None})


def _begin(scope: str, finding: Finding, clocks: Clocks) -> None:
    """Let what is approved and not yet sent lapse, and restrict, in the caller's transaction."""
    lapse_entries(parse_scope(scope))
    restrict(
        scope=scope,
        cause=finding.cause,
        reason=finding.reason,
        actor=ACTOR,
        clocks=clocks,
        evidence={**finding.evidence, **_name_release(scope, finding.cause, clocks)},
        needs_acknowledgement=finding.cause in LOSSES,
    )


def _name_release(scope: str, cause: Cause, clocks: Clocks) -> dict[str, str]:
    """Whose acknowledgement a loss takes: a person's; of the second in 7 days the quorum's."""
    if cause is Cause.WEEKLY_LOSS:
        return {RELEASE: Release.PROMOTION.value}
    if cause is not Cause.DAILY_LOSS:
        return {}
    earlier = models.Restriction.objects.filter(
        scope=scope, cause=cause.value, market_at__gt=clocks.market_at - core.REPEATED_WITHIN
    )
    return {RELEASE: (Release.QUORUM if earlier.exists() else Release.PERSON).value}


def _keep(row: models.Restriction, finding: Finding, clocks: Clocks) -> None:
    """It goes on; a daily loss that is reached by another day's own is a second one."""
    day = finding.evidence.get("day")
    if finding.cause is not Cause.DAILY_LOSS or day is None:
        _set_evidence(row, {OVER_SINCE: None})
        return
    first = row.evidence.get("day") or row.market_at.date().isoformat()
    if day <= first:
        _set_evidence(row, {OVER_SINCE: None})
        return
    evidence = {**finding.evidence, RELEASE: Release.QUORUM.value}
    note_again(row=row, reason=finding.reason, evidence=evidence, actor=ACTOR, clocks=clocks)


def _end_if_due(row: models.Restriction, cause: Cause, clocks: Clocks) -> None:
    """Lift what may be lifted by itself: a weekly loss never is."""
    if cause is Cause.WEEKLY_LOSS:
        return
    if cause is Cause.DAILY_LOSS:
        if core.is_next_day(row.market_at, clocks.market_at):
            because = "another day, below the limit for 24 h, and acknowledged"
            lift(scope=row.scope, cause=cause, because=because, actor=ACTOR, clocks=clocks)
        return
    since = row.evidence.get(OVER_SINCE)
    if since is None:
        _set_evidence(row, {OVER_SINCE: clocks.wall_at.isoformat()})
    elif clocks.wall_at - datetime.fromisoformat(since) >= SETTLING[cause]:
        because = f"over for {SETTLING[cause].seconds} s"
        lift(scope=row.scope, cause=cause, because=because, actor=ACTOR, clocks=clocks)


def _set_evidence(row: models.Restriction, changes: dict[str, Any]) -> None:
    """Note beside what was measured; a value of None takes the note away."""
    after = {key: value for key, value in {**row.evidence, **changes}.items() if value is not None}
    if after != row.evidence:
        models.Restriction.objects.filter(pk=row.pk).update(evidence=after)
