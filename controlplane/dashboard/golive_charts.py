"""Charts of the go-live pages as inline SVG: no script, in the theme's colours, and each with its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from html import escape

from django.utils.safestring import SafeString, mark_safe

WIDTH, LEFT, RIGHT = 760, 74, 20
PLOT = WIDTH - LEFT - RIGHT
STEP = 34
RUNGS = ("none", "paper", "MICRO", "SMALL", "MEDIUM", "LARGE")
TONES = {"good": "svg-good", "warn": "svg-warn", "bad": "svg-bad"}
# Narrow, so that it fits a phone as it is.
PAIRS_WIDTH, VALUE_WIDTH = 340, 90
BAR, PAIR = 14, 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From one moment to another an account stood on one rung."""

    start_at: datetime
    end_at: datetime
    rung: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened; `sign` is one character."""

    at: datetime
    rung: str
    sign: str
    tone: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One figure as it was and as it would be; lengths share the scale of the row."""

    name: str
    then: Decimal
    now: Decimal
    then_text: str
    now_text: str
    tone: str


def draw_staircase(stretches: Sequence[Stretch], marks: Sequence[Mark], until: datetime) -> SafeString:
    """Which rung the account stood on, over wall time, with what happened on the way."""
    if not stretches and not marks:
        return mark_safe("")
    times = [item.start_at for item in stretches] + [mark.at for mark in marks]
    start = min(times)
    span = max(1.0, (until - start).total_seconds())

    def x(at: datetime) -> float:
        return LEFT + PLOT * min(1.0, max(0.0, (at - start).total_seconds() / span))

    parts = [*_draw_rungs(), *_draw_ends(start, until)]
    parts += [_draw_stretch(x(item.start_at), x(item.end_at), item) for item in stretches]
    parts += [_draw_mark(x(mark.at), mark) for mark in marks]
    words = ", ".join(f"{item.rung} from {item.start_at:%Y-%m-%d %H:%M}" for item in stretches)
    return _svg(parts, WIDTH, len(RUNGS) * STEP + 22, f"Rungs of the account: {words or 'none yet'}")


def draw_pairs(pairs: Sequence[Pair], label: str) -> SafeString:
    """Two bars a figure: as recorded, and as it would be."""
    parts: list[str] = []
    for number, pair in enumerate(pairs):
        parts += _draw_pair(number * PAIR, pair)
    words = "; ".join(f"{pair.name}: {pair.then_text} then, {pair.now_text} now" for pair in pairs)
    return _svg(parts, PAIRS_WIDTH, len(pairs) * PAIR, f"{label}. {words}", css="desk-pairs")


def _draw_pair(top: int, pair: Pair) -> list[str]:
    most = max(abs(pair.then), abs(pair.now)) or Decimal(1)
    parts = [_text(0, top + 13, pair.name, "svg-ink")]
    rows = ((pair.then, pair.then_text, "svg-then"), (pair.now, pair.now_text, TONES[pair.tone]))
    for place, (value, shown, css) in enumerate(rows):
        y = top + 20 + place * (BAR + 3)
        width = float(abs(value) / most) * (PAIRS_WIDTH - VALUE_WIDTH)
        title = f"<title>{escape(f'{pair.name}: {shown}')}</title>"
        parts.append(
            f'<rect x="0" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" class="{css}">{title}</rect>'
        )
        parts.append(_text(width + 7, y + BAR - 3, shown, "svg-quiet"))
    return parts


def _y(rung: str) -> float:
    known = RUNGS.index(rung) if rung in RUNGS else 0
    return (len(RUNGS) - 1 - known) * STEP + STEP / 2


def _draw_rungs() -> list[str]:
    lines = []
    for rung in RUNGS:
        y = _y(rung)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" class="svg-line"/>')
        lines.append(_text(LEFT - 10, y + 4, rung, "svg-quiet", anchor="end"))
    return lines


def _draw_ends(start: datetime, until: datetime) -> list[str]:
    y = len(RUNGS) * STEP + 14
    return [
        _text(LEFT, y, f"{start:%Y-%m-%d %H:%M} UTC", "svg-quiet"),
        _text(WIDTH - RIGHT, y, f"{until:%Y-%m-%d %H:%M} UTC", "svg-quiet", anchor="end"),
    ]


def _draw_stretch(left: float, right: float, item: Stretch) -> str:
    """However short a stretch is, it can be seen."""
    y, css = _y(item.rung), "svg-paper" if item.rung in {"none", "paper"} else "svg-live"
    return (
        f'<rect x="{left:.1f}" y="{y - 6}" width="{max(3.0, right - left):.1f}" height="12" rx="2"'
        f' class="{css}"><title>{escape(item.title)}</title></rect>'
    )


def _draw_mark(x: float, mark: Mark) -> str:
    y = _y(mark.rung)
    return (
        f'<g><title>{escape(mark.title)}</title><circle cx="{x:.1f}" cy="{y}" r="9" class="{TONES[mark.tone]}'
        f' svg-ring"/>{_text(x, y + 4, mark.sign, "svg-sign", anchor="middle")}</g>'
    )


def _text(x: float, y: float, text: str, css: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(text)}</text>'


def _svg(parts: Sequence[str], width: int, height: float, label: str, css: str = "") -> SafeString:
    box = f'viewBox="0 0 {width} {height:.0f}"'
    head = f'<svg class="desk-svg {css}" {box} role="img" aria-label="{escape(label)}">'
    # Every text in it went through escape().
    return mark_safe(f"{head}{''.join(parts)}</svg>")  # noqa: S308
