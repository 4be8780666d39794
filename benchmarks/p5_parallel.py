"""P5: four deciding processes on accounts of their own beside one, at least 2 x; on one account no overshoot.

    .venv/bin/python -m benchmarks.p5_parallel [--rounds N] [--json]

Every process registers and judges entries that reserve headroom. On one account the four race for
the last free positions; after each round the approved orders are counted against the limit.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.database import own_database, settle
from benchmarks.harness import Row, Variant, format_number, measure, run_alone

if TYPE_CHECKING:
    from trading.models import Account

TARGET = 2.0
PROCESSES = 4
PER_ROUND = 25
OVERSHOOT_ROUNDS = 20
MAX_POSITIONS = 5


class Decider:
    """A process that decides on command."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.decider"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.read() == {"ready": True}

    def ask(self, **wish: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "a deciding process has died"
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


def decide_together(deciders: list[Decider], accounts: list[str], **wish: object) -> tuple[float, Counter]:
    """Seconds from the first start to the last end, and the outcomes of all."""
    for decider, account in zip(deciders, accounts, strict=True):
        decider.ask(account=account, **wish)
    answers = [decider.read() for decider in deciders]
    seen: Counter[str] = Counter()
    for answer in answers:
        seen.update(answer["seen"])
    wall = max(item["ended"] for item in answers) - min(item["started"] for item in answers)
    return wall, seen


def run(options: argparse.Namespace) -> Iterator[Row]:
    with own_database("p5"):
        from benchmarks import desk

        accounts = [desk.make_busy_account(f"own{number}") for number in range(PROCESSES)]
        shared = desk.make_account("shared", max_positions=MAX_POSITIONS)
        desk.add_shared_symbols(shared)
        settle()
        deciders = [Decider() for _ in range(PROCESSES)]
        try:
            yield compare(accounts, deciders, options)
            yield from race(shared, deciders)
        finally:
            for decider in deciders:
                decider.close()


def compare(accounts: list["Account"], deciders: list[Decider], options: argparse.Namespace) -> Row:
    from benchmarks import desk

    names = [account.name for account in accounts]

    def sample(many: int) -> Variant:
        def seconds_each(count: int) -> list[float]:
            wall, seen = decide_together(
                deciders[:many], names[:many], symbols=[desk.SYMBOL], count=count, keeps=False
            )
            assert seen == {"none": many * count}, seen
            return [wall / (many * count)]

        return Variant(name=str(many), sample=seconds_each)

    measured = measure(
        [sample(1), sample(2), sample(PROCESSES)],
        rounds=options.rounds,
        per_round=PER_ROUND,
        before_round=desk.keep_fresh(accounts),
    )
    four = str(PROCESSES)
    return Row(
        goal="P5",
        what="four processes on accounts of their own, decisions/s",
        ours=f"{1 / measured.median(four):,.0f}/s",
        anchor=f"one: {1 / measured.median('1'):,.0f}/s",
        ratio=1 / measured.ratio(four),
        target=TARGET,
        at_most=False,
        null=measured.null,
        note=f"two: {format_number(1 / measured.ratio('2'))} x",
    )


def race(account: "Account", deciders: list[Decider]) -> Iterator[Row]:
    """All on one account, each after every symbol; never more approved than the limit."""
    from benchmarks import desk

    symbols = list(desk.SHARED_SYMBOLS)
    worst, rates, total = 0, [], Counter()
    for _ in range(OVERSHOOT_ROUNDS):
        desk.refresh_all([account])
        names = [account.name] * PROCESSES
        wall, seen = decide_together(deciders, names, symbols=symbols, count=len(symbols), keeps=True)
        total += seen
        rates.append(sum(seen.values()) / wall)
        approved = desk.count_approved(account)
        assert approved == seen["none"], (approved, seen)
        worst = max(worst, approved)
        desk.forget(account, desk.SHARED_SYMBOLS)
    assert worst <= MAX_POSITIONS, f"{worst} approved where {MAX_POSITIONS} are allowed"
    assert worst == MAX_POSITIONS, f"only {worst} approved: the race did not happen"
    outcomes = ", ".join(f"{count} {name}" for name, count in total.most_common())
    yield Row(
        goal="P5",
        what=f"four processes on one account: approved entries, worst of {OVERSHOOT_ROUNDS} rounds",
        ours=f"{worst} ({statistics.median(rates):,.0f} decisions/s)",
        anchor=f"limit {MAX_POSITIONS}",
        ratio=worst / MAX_POSITIONS,
        target=1.0,
        note=outcomes,
    )


if __name__ == "__main__":
    run_alone(__doc__, run)
