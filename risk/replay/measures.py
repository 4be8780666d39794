"""What a replay's result says, in numbers; money in USDT, ratios of 1, shares of the replayed time."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from controlplane.audit.canonical import digest_of
from risk.core.reasons import DESCRIPTIONS
from risk.core.values import Breach, RiskLevel
from risk.replay.curve import DAY_MS
from risk.replay.values import HOLD, Result, Ruling, Trip
from trading.core.values import OrderPurpose, TradingStateName

ZERO = Decimal(0)
Name = TypeVar("Name", RiskLevel, TradingStateName)
DIGEST_DOMAIN = "replay-v1"
CENT = Decimal("0.01")
RATIO_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """The deepest fall of RISK.md's index: 1 - U / max U, from its peak to its trough."""

    ratio: Decimal
    peak_ms: int
    trough_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One code: how many entries it named, at how many it was breached at all, and the last example."""

    code: str
    text: str
    named: int
    breached: int
    first_ms: int
    last_ms: int
    example: Breach


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """Figures of closed trips; `profit_factor` and `mean_r` are None where nothing can be divided by.

    `worst_slippage` is of stops: how far beyond its trigger the worst one filled, as a ratio.
    """

    count: int
    wins: int
    gross: Decimal
    fees: Decimal
    funding: Decimal
    profit_factor: Decimal | None
    mean_r: Decimal | None
    best: Decimal
    worst: Decimal
    worst_slippage: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a trader asks first."""

    net: Decimal
    net_ratio: Decimal
    drawdown: Drawdown
    worst_day_ms: int
    worst_day: Decimal
    trades: TradeFigures
    entries: int
    allowed: int
    resized: int
    refused: int
    exits: int
    exits_denied: int
    denials: tuple[Denial, ...]
    level_shares: dict[RiskLevel, float]
    state_shares: dict[TradingStateName, float]


def summarise(result: Result) -> Summary:
    entries = list_entries(result)
    exits = [ruling for ruling in result.rulings if ruling.purpose is OrderPurpose.EXIT]
    start, end = result.equity[0][1], result.equity[-1][1]
    worst_day_ms, worst_day = find_worst_day(result.equity)
    return Summary(
        net=end - start,
        net_ratio=((end - start) / start).quantize(RATIO_PLACES),
        drawdown=find_drawdown(result.equity),
        worst_day_ms=worst_day_ms,
        worst_day=worst_day,
        trades=measure_trades([trip for trip in result.trips if trip.closed_by != "open"]),
        entries=len(entries),
        allowed=sum(ruling.decision.allowed for ruling in entries),
        resized=sum(bool(ruling.decision.resized_for) for ruling in entries),
        refused=sum(bool(ruling.refusal) for ruling in result.rulings),
        exits=len(exits),
        exits_denied=sum(not ruling.decision.allowed for ruling in exits),
        denials=count_denials(entries),
        level_shares=_shares([(item.at_ms, item.level) for item in result.stretches], result.ended_ms),
        state_shares=_shares([(item.at_ms, item.state) for item in result.states], result.ended_ms),
    )


def list_entries(result: Result) -> list[Ruling]:
    return [ruling for ruling in result.rulings if ruling.purpose is OrderPurpose.ENTRY]


def find_drawdown(equity: Sequence[tuple[int, Decimal]]) -> Drawdown:
    """Without external flows U_t moves as equity does: U_t = U_{t-1} E_t / E_{t-1}."""
    peak_ms, peak = equity[0]
    worst = Drawdown(ratio=ZERO, peak_ms=peak_ms, trough_ms=peak_ms)
    for at_ms, value in equity:
        if value >= peak:
            peak_ms, peak = at_ms, value
        elif (ratio := 1 - value / peak) > worst.ratio:
            worst = Drawdown(ratio=ratio, peak_ms=peak_ms, trough_ms=at_ms)
    return worst


def find_worst_day(equity: Sequence[tuple[int, Decimal]]) -> tuple[int, Decimal]:
    """The UTC day with the lowest change of equity, and that change (0 where no day lost)."""
    changes: dict[int, Decimal] = {}
    before = equity[0][1]
    for at_ms, value in equity[1:]:
        # What moved up to midnight belongs to the day that ends there.
        day = (at_ms - 1) // DAY_MS
        changes[day] = changes.get(day, ZERO) + value - before
        before = value
    if not changes or min(changes.values()) >= 0:
        return equity[0][0] // DAY_MS * DAY_MS, ZERO
    worst = min(changes, key=lambda day: (changes[day], day))
    return worst * DAY_MS, changes[worst]


def measure_trades(trips: Sequence[Trip]) -> TradeFigures:
    nets = [trip.net for trip in trips]
    gained, lost = sum((net for net in nets if net > 0), ZERO), sum((-net for net in nets if net < 0), ZERO)
    in_r = [trip.net / trip.risk for trip in trips if trip.risk > 0]
    return TradeFigures(
        count=len(trips),
        wins=sum(net > 0 for net in nets),
        gross=sum((trip.gross for trip in trips), ZERO),
        fees=sum((trip.fees for trip in trips), ZERO),
        funding=sum((trip.funding for trip in trips), ZERO),
        profit_factor=(gained / lost).quantize(CENT) if lost else None,
        mean_r=(sum(in_r, ZERO) / len(in_r)).quantize(CENT) if in_r else None,
        best=max(nets, default=ZERO),
        worst=min(nets, default=ZERO),
        worst_slippage=max((trip.slippage for trip in trips if trip.closed_by == "stop"), default=ZERO),
    )


def count_denials(rulings: Iterable[Ruling]) -> tuple[Denial, ...]:
    """Every code that denied, the one that named most denials first."""
    denied = [ruling for ruling in rulings if not ruling.decision.allowed]
    named = Counter(ruling.reason for ruling in denied)
    found: dict[str, list[tuple[int, Breach]]] = {}
    for ruling in denied:
        for item in ruling.breaches:
            found.setdefault(item.code.value, []).append((ruling.at_ms, item))
    made = [
        Denial(
            code=code,
            text=DESCRIPTIONS[items[-1][1].code],
            named=named[code],
            breached=len(items),
            first_ms=items[0][0],
            last_ms=items[-1][0],
            example=items[-1][1],
        )
        for code, items in found.items()
    ]
    return tuple(sorted(made, key=lambda item: (-item.named, -item.breached, item.code)))


def _shares(points: Sequence[tuple[int, Name]], end_ms: int) -> dict[Name, float]:
    """How much of the time each value was in force, each from its moment to the next one."""
    spans: dict[Name, int] = {}
    ends = [at_ms for at_ms, _ in points[1:]] + [end_ms]
    for (at_ms, name), until_ms in zip(points, ends, strict=True):
        spans[name] = spans.get(name, 0) + until_ms - at_ms
    total = sum(spans.values())
    return {name: round(span / total, 6) if total else 0.0 for name, span in spans.items()}


def list_hold_rulings(result: Result) -> list[Ruling]:
    return [ruling for ruling in result.rulings if ruling.strategy == HOLD]


def digest_result(result: Result) -> str:
    """Names everything that was found: equal inputs give equal digests."""
    return digest_of(
        DIGEST_DOMAIN,
        {
            "candles": result.candles_digest,
            "limits": result.plan.limits.digest,
            "equity": [[at_ms, value] for at_ms, value in result.equity],
            "rulings": [
                [
                    ruling.at_ms,
                    ruling.strategy,
                    ruling.symbol,
                    ruling.side,
                    ruling.purpose,
                    ruling.decision.quantity,
                    [item.code for item in ruling.breaches],
                    ruling.refusal,
                ]
                for ruling in result.rulings
            ],
            "trips": [[trip.intent_id, trip.closed_ms, trip.net, trip.closed_by] for trip in result.trips],
            "stretches": [[item.at_ms, item.level, list(item.reasons)] for item in result.stretches],
            "states": [[item.at_ms, item.state, item.reason] for item in result.states],
        },
    )
