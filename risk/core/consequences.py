"""What follows from losses, margin, stale facts and oversize: REDUCING, and when it is over (RISK.md part 2).

Each judgement is of one cause at one venue account, and has three answers: what is not known neither
begins a restriction nor ends one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from risk.core.emergency_stop import Cause
from risk.core.measures import ZERO, equity_for_risk, loss_amount
from risk.core.values import Anchor, AnchorName, BalanceFacts, Limits, Snapshot

DAILY = (AnchorName.DAY, AnchorName.ROLLING_DAY)
WEEKLY = (AnchorName.WEEK, AnchorName.ROLLING_WEEK)
# RISK.md 3.18: maintenance margin of half of equity.
MAINTENANCE_RATIO = Decimal("0.5")
# How long these must be over before they are lifted (wall time).
SETTLING = {
    Cause.MAINTENANCE_MARGIN: timedelta(seconds=60),
    Cause.STALE_DATA: timedelta(seconds=60),
}
# A position may be so long on its way to its stop (wall time).
UNPROTECTED_FOR = timedelta(seconds=5)
# A second daily loss within this (market time) takes the quorum.
REPEATED_WITHIN = timedelta(days=7)


class Standing(StrEnum):
    PRESENT = "present"
    OVER = "over"
    UNKNOWN = "unknown"


class Release(StrEnum):
    """Whose acknowledgement it takes; kept in a restriction's evidence under RELEASE."""

    PERSON = "person"
    QUORUM = "quorum"
    PROMOTION = "promotion"


RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause as judged; `evidence` is what was measured, as texts."""

    cause: Cause
    standing: Standing
    reason: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A position: base units (signed), USDT per unit; `mark` None is not known."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The worst loss over some anchors as a ratio of that anchor's equity, and where it began."""

    ratio: Decimal
    anchor: Anchor


def measure_loss(snapshot: Snapshot, names: Iterable[AnchorName]) -> Loss | None:
    """max over a of max(0, (E_a + F - E) / E_a); None where an anchor is unknown or not above zero."""
    known = {anchor.name: anchor for anchor in snapshot.anchors}
    wanted = [known.get(name) for name in names]
    anchors = [anchor for anchor in wanted if anchor is not None and anchor.equity > 0]
    if snapshot.balance is None or len(anchors) < len(wanted):
        return None
    losses = [Loss(ratio=loss_amount(a, snapshot.balance) / a.equity, anchor=a) for a in anchors]
    return max(losses, key=lambda loss: loss.ratio)


def judge_daily_loss(snapshot: Snapshot, limits: Limits) -> Finding:
    """Reached: loss >= the daily limit since 00:00 UTC or in 24 h. Over: both are below."""
    finding = _judge_loss(Cause.DAILY_LOSS, snapshot, DAILY, limits.max_daily_loss_ratio)
    today = measure_loss(snapshot, (AnchorName.DAY,))
    is_of_today = today is not None and today.ratio >= limits.max_daily_loss_ratio
    if finding.standing is not Standing.PRESENT or not is_of_today:
        return finding
    day = snapshot.market_at.date().isoformat()
    return Finding(
        cause=finding.cause,
        standing=finding.standing,
        reason=finding.reason,
        evidence={**finding.evidence, "day": day},
    )


def judge_weekly_loss(snapshot: Snapshot, limits: Limits) -> Finding:
    return _judge_loss(Cause.WEEKLY_LOSS, snapshot, WEEKLY, limits.max_weekly_loss_ratio)


def _judge_loss(cause: Cause, snapshot: Snapshot, names: Iterable[AnchorName], limit: Decimal) -> Finding:
    loss = measure_loss(snapshot, names)
    if loss is None:
        return Finding(cause=cause, standing=Standing.UNKNOWN)
    if loss.ratio < limit:
        return Finding(cause=cause, standing=Standing.OVER)
    since = f"{loss.anchor.at:%Y-%m-%d %H:%M} UTC"
    return Finding(
        cause=cause,
        standing=Standing.PRESENT,
        reason=f"lost {show_ratio(loss.ratio)} since {since}, the limit is {show_ratio(limit)}",
        evidence={"measured": f"{loss.ratio:f}", "limit": f"{limit:f}", "anchor": loss.anchor.name.value},
    )


def judge_maintenance(balance: BalanceFacts) -> Finding:
    """Reached: maintenance margin >= half of equity, or no equity is left."""
    cause, share = Cause.MAINTENANCE_MARGIN, MAINTENANCE_RATIO
    if balance.maintenance_margin < share * balance.equity:
        return Finding(cause=cause, standing=Standing.OVER)
    return Finding(
        cause=cause,
        standing=Standing.PRESENT,
        reason=f"maintenance margin {balance.maintenance_margin:.2f} of equity {balance.equity:.2f} USDT,"
        f" the limit is {show_ratio(share)}",
        evidence={"maintenance_margin": f"{balance.maintenance_margin:f}", "equity": f"{balance.equity:f}"},
    )


def judge_oversize(held: Held, balance: BalanceFacts | None, limits: Limits) -> Finding:
    """Above the largest position, or above the symbol's share of E_r.

    |quantity| x min(mark, entry price), USDT: what was entered within the limits does not become
    oversize because its price moved, but it is once the limits are lower; inside by mark is inside.
    """
    cause = Cause.OVERSIZE
    if held.mark is None or balance is None:
        return Finding(cause=cause, standing=Standing.UNKNOWN)
    notional = abs(held.quantity) * min(held.mark, held.entry_price)
    share = limits.max_symbol_share_ratio * max(ZERO, equity_for_risk(balance, limits))
    cap = min(limits.max_position_notional, share)
    if notional <= cap:
        return Finding(cause=cause, standing=Standing.OVER)
    return Finding(
        cause=cause,
        standing=Standing.PRESENT,
        reason=f"{held.symbol}: a position of {notional:.2f} USDT, the limits allow {cap:.2f}",
        evidence={"measured": f"{notional:f}", "limit": f"{cap:f}"},
    )


def judge_staleness(stale: Iterable[str], was_fresh: Iterable[str]) -> Finding:
    """Begins with what was fresh and is no longer; over once nothing is stale.

    What never was fresh is not known: a desk that starts is denied by the gate, not restricted.
    """
    names = tuple(stale)
    if not names:
        return Finding(cause=Cause.STALE_DATA, standing=Standing.OVER)
    lost = sorted(set(names) & set(was_fresh))
    if not lost:
        return Finding(cause=Cause.STALE_DATA, standing=Standing.UNKNOWN)
    text = f"stale: {', '.join(lost)}"
    return Finding(
        cause=Cause.STALE_DATA, standing=Standing.PRESENT, reason=text, evidence={"stale": ", ".join(lost)}
    )


def doubt(finding: Finding) -> Finding:
    """The same judged by facts that are old: they may begin a restriction, and end none."""
    if finding.standing is not Standing.OVER:
        return finding
    return Finding(cause=finding.cause, standing=Standing.UNKNOWN)


def merge(findings: Iterable[Finding]) -> Finding | None:
    """One cause at several venues: the worst; over only where it is over everywhere."""
    order = (Standing.PRESENT, Standing.UNKNOWN, Standing.OVER)
    return min(findings, key=lambda item: order.index(item.standing), default=None)


def is_next_day(began_at: datetime, market_at: datetime) -> bool:
    """Whether another UTC day has begun since (market time)."""
    return market_at.date() > began_at.date()


def show_ratio(ratio: Decimal) -> str:
    """0.0123 as 1.23 %."""
    return f"{ratio * 100:.2f} %"
