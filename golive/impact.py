"""What other limits would have made of the account's recorded decisions, in figures for a request.

Fills of orders that were denied are modelled: each counts as filled whole at its own price.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from controlplane.audit.canonical import digest_of
from risk.core.values import Limits, PendingFacts, PositionFacts, Snapshot
from risk.models import Decision
from risk.replay.impact import Change, JudgedAgain, judge_again
from risk.replay.recorded import load_recorded
from trading.models import Account

DIGEST_DOMAIN = "impact-preview-v1"
ZERO = Decimal(0)


def preview_impact(
    account: Account, limits: Limits, *, now: datetime, window: timedelta, newest: int
) -> dict[str, Any]:
    """Figures of the account's newest decisions within the window, judged again; named by a digest.

    Money in USDT. `lost` is the net result of trades that would not have been.
    """
    rows = Decision.objects.filter(account=account, decided_at__gte=now - window).order_by("-decided_at")
    times = list(rows.values_list("decided_at", flat=True)[:newest])
    judged: list[JudgedAgain] = []
    unreadable = 0
    if times:
        recording = load_recorded(since=times[-1], until=now)
        own = (item for item in recording.decisions if item.intent.account == account.name)
        judged, unreadable = [judge_again(item, limits) for item in own], recording.unreadable
    figures = _sum_up(judged) | {"unreadable": unreadable, "since": times[-1] if times else None}
    return figures | {"digest": digest_of(DIGEST_DOMAIN, figures)}


def _sum_up(judged: list[JudgedAgain]) -> dict[str, Any]:
    changes = Counter(item.change for item in judged)
    then = Counter(item.recorded.codes[0] for item in judged if item.recorded.codes)
    now = Counter(item.breaches[0].code.value for item in judged if item.breaches)
    return {
        "judged": len(judged),
        "allowed_then": sum(item.recorded.allowed for item in judged),
        "allowed_now": sum(item.allowed for item in judged),
        **{change.value: changes[change] for change in Change},
        "denied_then": dict(then),
        "denied_now": dict(now),
        "recorded_pnl": sum((item.recorded.trade_pnl or ZERO for item in judged), ZERO),
        "lost": sum((item.removed_pnl or ZERO for item in judged), ZERO),
        "peak_exposure_then": _peak((item, item.recorded.quantity) for item in judged),
        "peak_exposure_now": _peak((item, item.quantity) for item in judged),
    }


def _peak(orders: Iterable[tuple[JudgedAgain, Decimal]]) -> Decimal:
    """The largest gross exposure that an order would have led to, on top of what was then held."""
    return max((_expose(item, quantity) for item, quantity in orders), default=ZERO)


def _expose(item: JudgedAgain, quantity: Decimal) -> Decimal:
    intent, snapshot = item.recorded.intent, item.recorded.snapshot
    if not intent.purpose.adds_risk:
        quantity = ZERO
    mark = None if snapshot.prices is None else snapshot.prices.mark
    return _hold(snapshot) + quantity * (intent.price or mark or ZERO)


def _hold(snapshot: Snapshot) -> Decimal:
    held = sum((_notional(item) for item in snapshot.positions), ZERO)
    return held + sum((_notional(item) for item in snapshot.pending), ZERO)


def _notional(item: PositionFacts | PendingFacts) -> Decimal:
    return abs(item.quantity) * (item.mark or ZERO)
