"""The charts of a replay: what each of them shows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from controlplane.documents import Chart
from risk.core.values import RiskLevel
from risk.replay.charts import (
    BAD,
    BLUE,
    GOOD,
    PALETTE,
    VIOLET,
    WARN,
    Lane,
    Mark,
    Span,
    TimeAxis,
    draw_bars,
    draw_lanes,
    draw_lines,
    legend,
)
from risk.replay.measures import list_entries
from risk.replay.tape import to_time
from risk.replay.values import Result
from risk.replay.watch import USES
from trading.core.values import Side, TradingStateName

LEVELS = {RiskLevel.OK: GOOD, RiskLevel.WARNING: WARN, RiskLevel.CRITICAL: BAD}
STATES = {
    TradingStateName.ACTIVE: GOOD,
    TradingStateName.REDUCING: WARN,
    TradingStateName.HALTED: BAD,
}
OTHERS = "others"
WARN_FROM, BAD_FROM = 0.5, 0.9
SAFETY_KEYS = (
    ("OK, ACTIVE", GOOD),
    ("WARNING, REDUCING", WARN),
    ("CRITICAL, HALTED", BAD),
    ("long", BLUE),
    ("short", VIOLET),
)
USE_KEYS = (("below half", GOOD), ("half and more", WARN), ("90 % and more", BAD))


def draw_figures(result: Result) -> Iterator[Chart]:
    """From what happened to why: the same moments stand above each other in all of them."""
    axis = TimeAxis(start_ms=result.started_ms, end_ms=result.ended_ms)
    lanes = (*_safety_lanes(result), *_position_lanes(result))
    svg = draw_lanes(axis, lanes, "trading state, global risk and positions over time")
    yield Chart("Safe to trade, and what was held", svg + legend(SAFETY_KEYS))
    equity = [(at_ms, float(value)) for at_ms, value in result.equity]
    yield Chart(
        "Equity, USDT",
        draw_lines(axis, equity, label="equity in USDT", unit="", bands=tuple(_bands(result))),
        "Shaded: global risk WARNING (amber) and CRITICAL (red).",
    )
    yield _drawdown_chart(result, axis, equity)
    yield _denial_chart(result, axis)
    yield Chart(
        "Limits in use",
        draw_lanes(axis, tuple(_use_lanes(result)), "share of each limit in use") + legend(USE_KEYS),
        "The largest share of each limit in use; the stronger the colour, the less is left.",
    )


def _safety_lanes(result: Result) -> tuple[Lane, ...]:
    states = [(item.at_ms, STATES[item.state], f"{item.state}: {item.reason}") for item in result.states]
    levels = [
        (item.at_ms, LEVELS[item.level], "; ".join(item.reasons) or str(item.level))
        for item in result.stretches
    ]
    return (
        Lane(name="trading state", spans=_stretch(states, result.ended_ms)),
        Lane(name="global risk", spans=_stretch(levels, result.ended_ms)),
    )


def _stretch(points: Sequence[tuple[int, str, str]], end_ms: int) -> tuple[Span, ...]:
    """Calm stretches first, so that a short bad one is drawn over them."""
    ends = [*points[1:], (end_ms, "", "")]
    spans = [
        Span(start_ms=at_ms, end_ms=until[0], colour=colour, title=f"{to_time(at_ms):%d %b %H:%M} {title}")
        for (at_ms, colour, title), until in zip(points, ends, strict=True)
    ]
    return tuple(sorted(spans, key=lambda span: span.colour != GOOD))


def _position_lanes(result: Result) -> Iterator[Lane]:
    for symbol in result.symbols:
        spans = tuple(
            Span(
                start_ms=trip.opened_ms,
                end_ms=trip.closed_ms,
                colour=BLUE if trip.side is Side.BUY else VIOLET,
                title=f"{trip.strategy} {trip.side.value} {trip.quantity:f} {symbol}: {trip.net:+.2f} USDT,"
                f" {trip.closed_by}",
            )
            for trip in result.trips
            if trip.symbol == symbol
        )
        yield Lane(name=symbol, spans=spans)


def _bands(result: Result) -> Iterator[Span]:
    ends = [item.at_ms for item in result.stretches[1:]] + [result.ended_ms]
    for item, end_ms in zip(result.stretches, ends, strict=True):
        if item.level is not RiskLevel.OK:
            yield Span(
                start_ms=item.at_ms,
                end_ms=end_ms,
                colour=LEVELS[item.level],
                title="; ".join(item.reasons),
                opacity=0.3,
            )


def _drawdown_chart(result: Result, axis: TimeAxis, equity: Sequence[tuple[int, float]]) -> Chart:
    limit = -100 * float(result.plan.limits.capital_loss_stop_ratio)
    svg = draw_lines(
        axis,
        _drawdowns(equity),
        label="drawdown in percent",
        unit=" %",
        height=130,
        marks=(Mark(value=limit, title=f"capital loss stop {limit:.2f} %"),),
        falls=True,
    )
    return Chart("Drawdown, %", svg)


def _drawdowns(equity: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    peak, points = equity[0][1], []
    for at_ms, value in equity:
        peak = max(peak, value)
        points.append((at_ms, 100 * (value / peak - 1)))
    return points


def _denial_chart(result: Result, axis: TimeAxis) -> Chart:
    denied = [(item.at_ms, item.reason) for item in list_entries(result) if not item.decision.allowed]
    common = [name for name, _ in Counter(name for _, name in denied).most_common(len(PALETTE) - 1)]
    rest = [OTHERS] if any(name not in common for _, name in denied) else []
    events = [(at_ms, name if name in common else OTHERS) for at_ms, name in denied]
    svg = draw_bars(axis, events, (*common, *rest), label="denied entries over time, by code")
    return Chart("Denied entries", svg, "By the code that named the denial.")


def _use_lanes(result: Result) -> Iterator[Lane]:
    starts = [result.started_ms, *(item.at_ms for item in result.uses)]
    for name in USES:
        yield Lane(
            name=name,
            spans=tuple(
                _use_span(start, end, item.shares[name])
                for (start, end), item in zip(pairwise(starts), result.uses, strict=True)
                if item.shares[name] > 0
            ),
        )


def _use_span(start_ms: int, end_ms: int, share: float) -> Span:
    colour = BAD if share >= BAD_FROM else WARN if share >= WARN_FROM else GOOD
    return Span(
        start_ms=start_ms,
        end_ms=end_ms,
        colour=colour,
        title=f"{to_time(end_ms):%d %b %H:%M}: {100 * share:.0f} %",
        opacity=0.15 + 0.85 * min(1.0, share),
    )
