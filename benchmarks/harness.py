"""Measures variants side by side: rounds in random order, a warm-up, medians, and a null variant.

Every goal is a ratio of two things measured in the same run. The null variant is the base once more;
where it does not come out within 0.95 to 1.05 the run says nothing, and is repeated.
"""

import argparse
import dataclasses
import json
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

ROUNDS = 30
ATTEMPTS = 3
NULL_LOW, NULL_HIGH = 0.95, 1.05

Sample = Callable[[int], Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One side: `sample(n)` does n operations, asserts what they did, and returns the seconds of each.

    `weight` times as many as the others in a round, for what is much quicker.
    """

    name: str
    sample: Sample
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. Without a target it only informs; `null` is the base against itself."""

    goal: str
    what: str
    ours: str
    anchor: str
    ratio: float | None = None
    target: float | None = None
    at_most: bool = True
    null: float | None = None
    note: str = ""

    @property
    def met(self) -> str:
        if self.target is None:
            return ""
        if self.ratio is None:
            return "not measured"
        if self.null is not None and not NULL_LOW <= self.null <= NULL_HIGH:
            return "unclear: null out of bounds"
        return "yes" if (self.ratio <= self.target) == self.at_most or self.ratio == self.target else "no"


class Measured:
    """The times of every variant by round; the first variant is the base."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.rounds: dict[str, list[list[float]]] = {}

    def add(self, name: str, times: Sequence[float]) -> None:
        self.rounds.setdefault(name, []).append(list(times))

    def times(self, name: str) -> list[float]:
        return [seconds for times in self.rounds[name] for seconds in times]

    def median(self, name: str) -> float:
        return statistics.median(self.times(name))

    def p99(self, name: str) -> float:
        times = sorted(self.times(name))
        return times[min(len(times) - 1, int(len(times) * 0.99))]

    def ratio(self, name: str, base: str | None = None) -> float:
        """The median over rounds of (median of the variant / median of the base in the same round).

        What slows the whole machine for a while slows both sides of a round.
        """
        pairs = zip(self.rounds[name], self.rounds[base or self.base], strict=True)
        return statistics.median(statistics.median(own) / statistics.median(other) for own, other in pairs)

    @property
    def null(self) -> float:
        return self.ratio(null_name(self.base))

    def text(self, name: str) -> str:
        return f"{format_seconds(self.median(name))} (p99 {format_seconds(self.p99(name))})"


def null_name(base: str) -> str:
    return f"{base} again"


def measure(
    variants: Sequence[Variant],
    *,
    rounds: int,
    per_round: int,
    before_round: Callable[[], None] = lambda: None,
) -> Measured:
    """Measure the base (the first), itself again, and the others, until the null variant is in bounds.

    The last attempt is returned as it is; its row then says "unclear".
    """
    for _ in range(ATTEMPTS):
        measured = _measure_once(variants, rounds, per_round, before_round)
        if NULL_LOW <= measured.null <= NULL_HIGH:
            break
    return measured


def _measure_once(
    variants: Sequence[Variant], rounds: int, per_round: int, before_round: Callable[[], None]
) -> Measured:
    base = variants[0]
    everyone = [*variants, dataclasses.replace(base, name=null_name(base.name))]
    measured = Measured(base.name)
    before_round()
    for variant in everyone:
        variant.sample(per_round * variant.weight)  # warm: plans, caches and pages
    for _ in range(rounds):
        before_round()
        for variant in random.sample(everyone, len(everyone)):
            measured.add(variant.name, variant.sample(per_round * variant.weight))
    return measured


def timed(operation: Callable[[], None], after: Callable[[], None] = lambda: None) -> Sample:
    """Samples of an operation; `after` tidies up outside the measured time."""

    def sample(count: int) -> list[float]:
        times = []
        for _ in range(count):
            started = perf_counter()
            operation()
            times.append(perf_counter() - started)
            after()
        return times

    return sample


def format_seconds(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def format_number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


HEADINGS = ("goal", "what", "ours", "anchor", "ratio", "target", "null", "met?", "note")


def _cells(row: Row) -> tuple[str, ...]:
    sign = "≤" if row.at_most else "≥"
    target = "" if row.target is None else f"{sign} {row.target:g}"
    numbers = (format_number(row.ratio), target, format_number(row.null), row.met)
    return (row.goal, row.what, row.ours, row.anchor, *numbers, row.note)


def to_markdown(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *map(_cells, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def to_text(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(_pad(line, widths) for line in lines)


def _pad(line: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def to_json(row: Row) -> str:
    return json.dumps(dataclasses.asdict(row) | {"met": row.met})


def from_json(line: str) -> Row:
    data = json.loads(line)
    data.pop("met")
    return Row(**data)


def run_alone(
    description: str | None,
    run: Callable[[argparse.Namespace], Iterator[Row]],
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """The `main` of one benchmark; exits 1 where a goal is not met."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="one line of JSON a row")
    add_arguments(parser)
    options = parser.parse_args()
    rows = []
    for row in run(options):
        rows.append(row)
        if options.json:
            print(to_json(row), flush=True)
    if not options.json:
        print(to_text(rows))
    sys.exit(any(row.met not in {"", "yes"} for row in rows))
