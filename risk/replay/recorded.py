"""Reads the decisions that the desk has stored, with what became of their entries."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import OuterRef, Subquery

from risk import models
from risk.core.values import Breach, Intent, Snapshot
from risk.evidence import build, parse_text
from risk.replay.impact import RecordedDecision
from trading.models import Trade

CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What `Decision.inputs` holds."""

    intent: Intent
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The decisions in the order they were taken; `unreadable` ones know other facts than the gate asks."""

    decisions: tuple[RecordedDecision, ...]
    unreadable: int


def load_recorded(*, since: datetime | None = None, until: datetime | None = None) -> Recording:
    """Every stored decision taken in [since, until), wall time; None is unbounded."""
    result = Trade.objects.filter(entry_intent=OuterRef("intent_id"), closed_at__isnull=False).order_by("id")
    rows = models.Decision.objects.annotate(trade_pnl=Subquery(result.values("net_pnl")[:1])).order_by("id")
    if since is not None:
        rows = rows.filter(decided_at__gte=since)
    if until is not None:
        rows = rows.filter(decided_at__lt=until)
    found, unreadable = [], 0
    for row in rows.iterator(chunk_size=CHUNK):
        try:
            found.append(_read(row, row.trade_pnl))
        except (KeyError, TypeError):
            unreadable += 1
    return Recording(decisions=tuple(found), unreadable=unreadable)


def _read(row: models.Decision, trade_pnl: Decimal | None) -> RecordedDecision:
    """Raises KeyError where the facts have other names than today's."""
    inputs = build(_Inputs, parse_text(row.inputs))
    breaches = [build(Breach, item) for item in parse_text(row.breaches)]
    return RecordedDecision(
        decision_id=str(row.pk),
        at=row.decided_at,
        intent=inputs.intent,
        snapshot=inputs.snapshot,
        allowed=row.allowed,
        quantity=row.quantity if row.allowed else Decimal(0),
        codes=tuple(item.code.value for item in breaches),
        trade_pnl=trade_pnl,
        code_version=row.code_version,
    )
