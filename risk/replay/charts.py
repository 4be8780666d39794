"""Charts as inline SVG: no script, nothing from elsewhere. All charts of a report share one time axis."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import escape

from risk.replay.tape import to_time

WIDTH, LEFT, RIGHT = 1080, 132, 26
PLOT = WIDTH - LEFT - RIGHT
LANE, GAP = 18, 6
AXIS = 22
INK, FAINT, GRID = "#1d2433", "#667085", "#e4e7ec"
GOOD, WARN, BAD, BLUE, VIOLET = "#2e9e6b", "#e8a317", "#d33a3f", "#2563b8", "#8a4fc7"
PALETTE = ("#2563b8", "#e8742c", "#8a4fc7", "#2e9e6b", "#c2417c", "#0f8b9d", "#98a2b3")
MINUTE = 60_000
TICKS = tuple(
    int(timedelta(minutes=minutes).total_seconds() * 1000)
    for minutes in (5, 15, 30, 60, 180, 360, 720, 1440, 2880, 7200, 14400, 43200, 129600, 525600)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time in one colour; `title` is shown on pointing at it."""

    start_ms: int
    end_ms: int
    colour: str
    title: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A level to compare with, drawn across the chart."""

    value: float
    title: str
    colour: str = BAD


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    start_ms: int
    end_ms: int

    def x(self, at_ms: float) -> float:
        share = (at_ms - self.start_ms) / max(1, self.end_ms - self.start_ms)
        return LEFT + PLOT * min(1.0, max(0.0, share))

    def ticks(self) -> Iterator[tuple[float, str]]:
        """At most nine round moments in UTC."""
        length = self.end_ms - self.start_ms
        step = next((size for size in TICKS if length / size <= 9), TICKS[-1])
        at_ms = -(-self.start_ms // step) * step
        while at_ms <= self.end_ms:
            midnight = at_ms % TICKS[7] == 0
            yield self.x(at_ms), to_time(at_ms).strftime("%d %b" if midnight else "%H:%M")
            at_ms += step

    def draw(self, top: float, bottom: float) -> Iterator[str]:
        for x, label in self.ticks():
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{GRID}"/>'
            yield _text(x, bottom + 15, label, anchor="middle", colour=FAINT)


def draw_lanes(axis: TimeAxis, lanes: Sequence[Lane], label: str) -> str:
    """Rows of coloured stretches."""
    bottom = len(lanes) * (LANE + GAP)
    parts = list(axis.draw(0, bottom))
    for number, lane in enumerate(lanes):
        top = number * (LANE + GAP) + GAP / 2
        parts.append(_text(LEFT - 8, top + LANE - 5, lane.name, anchor="end"))
        parts += [_rect(axis, span, top, LANE) for span in lane.spans]
    return _svg(parts, bottom + AXIS, label)


def draw_lines(
    axis: TimeAxis,
    points: Sequence[tuple[int, float]],
    *,
    label: str,
    unit: str,
    height: int = 190,
    marks: Sequence[Mark] = (),
    bands: Sequence[Span] = (),
    falls: bool = False,
) -> str:
    """One line that keeps its value until the next point; `falls` draws it as an area hanging from 0."""
    values = [value for _, value in points] + [mark.value for mark in marks]
    low, high = _padded(min(values), 0.0 if falls else max(values))
    scale = _Scale(low=low, high=high, height=height)
    parts = [_rect(axis, band, 0, height) for band in bands]
    parts += [*scale.draw(unit), *axis.draw(0, height)]
    path = _path(axis, scale, thin(points))
    if falls:
        left, right = axis.x(points[0][0]), axis.x(axis.end_ms)
        area = f"M{left:.1f},{scale.y(0):.1f}L{path}L{right:.1f},{scale.y(0):.1f}Z"
        parts.append(f'<path d="{area}" fill="{BAD}" fill-opacity=".22"/>')
    colour = BAD if falls else BLUE
    parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    for mark in marks:
        y = scale.y(mark.value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{mark.colour}"'
            ' stroke-dasharray="5 4"/>'
        )
        parts.append(_text(WIDTH - RIGHT - 4, y - 4, mark.title, anchor="end", colour=mark.colour))
    return _svg(parts, height + AXIS, label)


def draw_bars(
    axis: TimeAxis, events: Sequence[tuple[int, str]], names: Sequence[str], *, label: str, height: int = 150
) -> str:
    """Stacked counts of events over time, one colour a name; `names` from the bottom up."""
    count = 90
    width = (axis.end_ms - axis.start_ms) / count
    stacks = [dict.fromkeys(names, 0) for _ in range(count)]
    for at_ms, name in events:
        stacks[min(count - 1, int((at_ms - axis.start_ms) / width))][name] += 1
    most = max((sum(stack.values()) for stack in stacks), default=0)
    scale = _Scale(low=0.0, high=float(max(most, 1)), height=height)
    parts = [*scale.draw(""), *axis.draw(0, height)]
    for number, stack in enumerate(stacks):
        below = 0
        start = axis.start_ms + number * width
        for colour, (name, size) in zip(PALETTE, stack.items(), strict=False):
            if not size:
                continue
            top, bottom = scale.y(below + size), scale.y(below)
            x = axis.x(start)
            title = f"{name}: {size} from {to_time(int(start)):%d %b %H:%M}"
            parts.append(
                f'<rect x="{x + 0.5:.1f}" y="{top:.1f}" width="{PLOT / count - 1:.1f}"'
                f' height="{bottom - top:.1f}" fill="{colour}"><title>{escape(title)}</title></rect>'
            )
            below += size
    return legend(zip(names, PALETTE, strict=False)) + _svg(parts, height + AXIS, label)


def legend(items: Iterable[tuple[str, str]]) -> str:
    keys = (f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in items)
    return f'<p class="legend">{"".join(keys)}</p>'


def thin(points: Sequence[tuple[int, float]], most: int = 1500) -> list[tuple[int, float]]:
    """Fewer points of the same outline: of each slice the first, the lowest, the highest and the last."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) * 4 // most)
    kept: list[tuple[int, float]] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        chosen = {part[0], part[-1], min(part, key=lambda item: item[1]), max(part, key=lambda item: item[1])}
        kept += sorted(chosen)
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    low: float
    high: float
    height: int

    def y(self, value: float) -> float:
        return self.height - (value - self.low) / ((self.high - self.low) or 1.0) * self.height

    def draw(self, unit: str) -> Iterator[str]:
        """Four or five round values."""
        step = _round_step((self.high - self.low) / 4)
        value = -(-self.low // step) * step
        while value <= self.high:
            y = self.y(value)
            yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
            yield _text(LEFT - 8, y + 4, f"{value:,.10g}{unit}", anchor="end", colour=FAINT)
            value = round(value + step, 10)


def _round_step(rough: float) -> float:
    power = 10.0 ** (len(f"{int(rough)}") - 1) if rough >= 1 else 1e-6
    while rough / power > 10:
        power *= 10
    return next((size * power for size in (1, 2, 5) if rough <= size * power), 10 * power)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.001
    return low - room, high + (room if high else 0.0)


def _path(axis: TimeAxis, scale: _Scale, points: Sequence[tuple[int, float]]) -> str:
    """Steps: a value holds until the next one."""
    corners: list[str] = []
    before: float | None = None
    for at_ms, value in points:
        x, y = axis.x(at_ms), scale.y(value)
        corners.append(f"{x:.1f},{y:.1f}" if before is None else f"{x:.1f},{before:.1f}L{x:.1f},{y:.1f}")
        before = y
    corners.append(f"{axis.x(axis.end_ms):.1f},{before or 0.0:.1f}")
    return "L".join(corners)


def _rect(axis: TimeAxis, span: Span, top: float, height: float) -> str:
    """However short a stretch is, it can be seen."""
    x = axis.x(span.start_ms)
    width = max(2.0, axis.x(span.end_ms) - x)
    return (
        f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{span.colour}"'
        f' fill-opacity="{span.opacity:.2f}"><title>{escape(span.title)}</title></rect>'
    )


def _text(x: float, y: float, text: str, *, anchor: str, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _svg(parts: Iterable[str], height: float, label: str) -> str:
    head = f'<svg viewBox="0 -6 {WIDTH} {height + 8:.0f}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"
