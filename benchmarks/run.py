"""Runs the benchmarks and prints one table: goal, ours, anchor, ratio, target, met.

    .venv/bin/python -m benchmarks.run [P1 P2 P3 P4 P5 P7 P9] [--rounds N] [--json]

Every benchmark runs in a process of its own, one after another. Servers that `DATABASE_OWNER_URL`,
`DATABASE_URL` and `REDIS_URL` name are used; where they are not set, servers are started for this run.
Nothing else should run on the machine meanwhile. Exits 1 where a goal is not met.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.anchors import ROOT
from benchmarks.database import servers
from benchmarks.harness import ROUNDS, Row, from_json, to_json, to_markdown

MODULES = {
    "P1": "p1_decision",
    "P2": "p2_recorded",
    "P3": "p3_history",
    "P4": "p4_stop",
    "P5": "p5_parallel",
    "P7": "p7_http",
    "P8": "p8_pages",
    "P9": "p9_replay",
    "P12": "p12_verify",
}


def main() -> int:
    options = read_options()
    rows: list[Row] = []
    with servers():
        for goal in options.goals or MODULES:
            for row in run_one(goal, options.rounds):
                rows.append(row)
                if options.json:
                    print(to_json(row), flush=True)
    if not options.json:
        print(to_markdown(rows))
    return int(any(row.met not in {"", "yes"} for row in rows))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("goals", nargs="*", type=str.upper, metavar="GOAL", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--json", action="store_true", help="one line of JSON a row instead of the table")
    options = parser.parse_args()
    if unknown := set(options.goals) - MODULES.keys():
        parser.error(f"no benchmark of {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    return options


def run_one(goal: str, rounds: int) -> Iterator[Row]:
    """The rows of one benchmark; one that fails says so in the table."""
    print(f"{goal} …", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{MODULES[goal]}", "--json", "--rounds", str(rounds)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    rows = [from_json(line) for line in done.stdout.splitlines() if line.startswith("{")]
    yield from rows
    if done.returncode not in {0, 1} or not rows:
        note = f"ended with {done.returncode} before its end"
        yield Row(goal=goal, what=MODULES[goal], ours="", anchor="", target=0.0, note=note)


if __name__ == "__main__":
    sys.exit(main())
