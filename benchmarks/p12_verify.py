"""P12: the stand-alone verifier reads at least 100,000 events a second on one core.

    .venv/bin/python -m benchmarks.p12_verify [--events N] [--rounds N] [--json]

A log of governance events as the application writes them, 500 bytes a line, verified as a file by the
functions that `verify.py` runs; beside it the bare SHA-256 of the same bytes, which is the floor. CPU
time, since a core is what the goal counts.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time

from benchmarks.harness import Row, Variant, measure, run_alone
from controlplane.audit.verify import GENESIS, event_hash, event_line, verify_lines

TARGET = 100_000.0
EVENTS = 200_000
START = datetime(2026, 3, 1, tzinfo=UTC)


def run(options: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        head = write_log(path, options.events)

        def verify(count: int) -> list[float]:
            return [timed_verify(path, head) for _ in range(count)]

        def digest(count: int) -> list[float]:
            return [timed_digest(path, options.events) for _ in range(count)]

        measured = measure(
            [Variant(name="sha256", sample=digest), Variant(name="verify", sample=verify)],
            rounds=options.rounds,
            per_round=1,
        )
        rate = options.events / measured.median("verify")
        yield Row(
            goal="P12",
            what=f"events a second, stand-alone verifier, {options.events:,} events",
            ours=f"{rate:,.0f}/s",
            anchor=f"bare SHA-256 of the lines {options.events / measured.median('sha256'):,.0f}/s",
            ratio=rate,
            target=TARGET,
            at_most=False,
            note=f"{measured.ratio('verify'):.2f} x the bare digests; null {measured.null:.2f}",
        )


def write_log(path: Path, count: int) -> str:
    """Write the log; returns its head."""
    prev = GENESIS
    with path.open("wb") as file:
        for seq in range(1, count + 1):
            at = (START + timedelta(milliseconds=seq)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            facts = {
                "action": "risk.restrict",
                "actor": "operator",
                "actor_kind": "user",
                "correlation_id": "",
                "detail": {"account": "paper-main", "cause": "drift", "limit": "1.5", "measured": "2.5"},
                "environment": "paper",
                "reason": "the measured value left its bounds",
                "subject_id": str(seq),
                "subject_type": "restriction",
            }
            body = f'{{"occurred_at":"{at}",{json.dumps(facts, separators=(",", ":"))[1:]}'
            found = event_hash(seq, prev, body.encode())
            file.write(event_line(seq, prev, found, body))
            prev = found
    return prev


def timed_verify(path: Path, head: str) -> float:
    started = process_time()
    with path.open("rb") as file:
        chain, _ = verify_lines(file)
    seconds = process_time() - started
    assert chain.hash == head
    return seconds


def timed_digest(path: Path, events: int) -> float:
    started, count = process_time(), 0
    with path.open("rb") as file:
        for line in file:
            hashlib.sha256(line).hexdigest()
            count += 1
    seconds = process_time() - started
    assert count == events
    return seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=EVENTS)


if __name__ == "__main__":
    run_alone(__doc__, run, add_arguments)
