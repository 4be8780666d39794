"""P9: candles a second of `manage.py replay` beside freqtrade's backtest of a like strategy; at least 1 x.

    CANDLES=DIR .venv/bin/python -m benchmarks.p9_replay [--rounds N] [--json]

Both read the same folder of SYMBOL.csv.gz (by default the one-minute set of ../shared/data) and follow
EMA(8) over EMA(21), both ways. Ours goes through the gate and the matching engine, under LARGE limits so
that most orders pass; theirs runs in a process of its own. What is timed begins with the candles on disk
and ends with the trades; interpreters and imports are outside. Needs no database.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.anchors import FOLDER, FREQTRADE, ROOT, AnchorMissing
from benchmarks.harness import Measured, Row, Variant, measure, run_alone

TARGET = 1.0
DEFAULT_CANDLES = ROOT.parent / "shared" / "data" / "candles" / "binance_usdm_1m_2025-06"
PROFILE, STRATEGY = "LARGE", "trend"
# One run takes seconds, so that a tenth of the other benchmarks' rounds is enough.
SHARE_OF_ROUNDS = 10
# Measured once, candles a second; used, and named, where freqtrade cannot be installed.
PUBLISHED_RATE = 40_000


class Backtest:
    """freqtrade in a process of its own, asked for one backtest at a time."""

    def __init__(self, candles: Path, home: str) -> None:
        command = [str(FREQTRADE.ensure()), str(FOLDER / "freqtrade_backtest.py"), str(candles), home]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self._read()
        self.version, self.candles, self.trades = first["version"], first["candles"], 0

    def sample(self, count: int) -> list[float]:
        """Seconds a candle of each run."""
        return [self._run() / self.candles for _ in range(count)]

    def _run(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self._read()
        self.trades = answer["trades"]
        assert self.trades > 0
        return float(answer["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise AnchorMissing("freqtrade ended without an answer")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


class Replay:
    """What `manage.py replay` does, without the printing."""

    def __init__(self, candles: Path) -> None:
        from controlplane.launch import choose_settings

        choose_settings(["manage.py", "replay"])
        import django

        django.setup()
        self.candles = candles
        self.counted, self.trades, self.entries = 0, 0, 0

    def sample(self, count: int) -> list[float]:
        """Seconds a candle of each run; counted are the candles at which something may be judged."""
        return [self._run() / self.counted for _ in range(count)]

    def _run(self) -> float:
        started = perf_counter()
        data = self._replay()
        seconds = perf_counter() - started
        self.counted, self.trades = data["candles"], data["trades"]["closed"]
        self.entries = data["decisions"]["entries"]
        assert self.trades > 0
        assert self.entries >= data["decisions"]["allowed"] > 0
        return seconds

    def _replay(self) -> dict[str, Any]:
        from risk.management.commands.replay import make_plan, read_limits, read_tape
        from risk.replay.output import as_data
        from risk.replay.run import run_replay

        nothing = dict.fromkeys(("balance", "hold_at", "since", "until"))
        plan = make_plan(read_limits(None, PROFILE), {"strategy": STRATEGY, "hold": "", **nothing})
        return as_data(run_replay(read_tape(self.candles), plan))


def run(options: argparse.Namespace) -> Iterator[Row]:
    candles = Path(os.environ.get("CANDLES", DEFAULT_CANDLES))
    if not candles.is_dir():
        print(f"no candles in {candles}: set CANDLES", file=sys.stderr)
        yield Row(goal="P9", what="replay", ours="", anchor="", target=TARGET, note="no candles: set CANDLES")
        return
    rounds = max(3, options.rounds // SHARE_OF_ROUNDS)
    replay = Replay(candles)
    ours = Variant(name="replay", sample=replay.sample)
    with tempfile.TemporaryDirectory(prefix="cp-bench-freqtrade-") as home:
        try:
            backtest = Backtest(candles, home)
        except AnchorMissing as missing:
            yield row_without(replay, measure([ours], rounds=rounds, per_round=1), str(missing))
            return
        theirs = Variant(name="freqtrade", sample=backtest.sample)
        measured = measure([theirs, ours], rounds=rounds, per_round=1)
        backtest.close()
        yield make_row(replay, backtest, measured)


def make_row(replay: Replay, backtest: Backtest, measured: Measured) -> Row:
    return Row(
        goal="P9",
        what="candles/s through strategy, gate and matching engine",
        ours=f"{1 / measured.median('replay'):,.0f}/s",
        anchor=f"freqtrade {backtest.version}: {1 / measured.median('freqtrade'):,.0f}/s",
        ratio=1 / measured.ratio("replay"),
        target=TARGET,
        at_most=False,
        null=measured.null,
        note=(
            f"{replay.counted:,} candles, {replay.entries} entries judged, {replay.trades} trades;"
            f" theirs {backtest.candles:,} candles, {backtest.trades} trades"
        ),
    )


def row_without(replay: Replay, measured: Measured, why: str) -> Row:
    rate = 1 / measured.median("replay")
    return Row(
        goal="P9",
        what="candles/s through strategy, gate and matching engine",
        ours=f"{rate:,.0f}/s",
        anchor=f"published figure {PUBLISHED_RATE:,}/s, not of this run",
        ratio=rate / PUBLISHED_RATE,
        target=TARGET,
        at_most=False,
        null=measured.null,
        note=f"{why}; {replay.trades} trades",
    )


if __name__ == "__main__":
    run_alone(__doc__, run)
