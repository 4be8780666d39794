"""Measures P10: a warm pre-flight takes no longer than its slowest check plus 20 %.

Run it beside a running desk: `.venv/bin/python benchmarks/preflight_p10.py [rounds]`. Nothing is kept.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from controlplane.launch import choose_settings

ROUNDS = 5
ALLOWED = 1.20


def main(rounds: int) -> int:
    choose_settings(["manage.py", "preflight"])
    import django

    django.setup()
    from golive.core.values import CheckName, Purpose
    from golive.preflight.context import Context
    from golive.preflight.runner import run_checks

    context = Context(purpose=Purpose.GOLIVE)
    run_checks(context)  # warm: modules, connections and the venue's markets are loaded
    alone = {name: measure(lambda name=name: run_checks(context, (name,)), rounds) for name in CheckName}
    together = measure(lambda: run_checks(context), rounds)
    for name, seconds in alone.items():
        print(f"{name:<30} {seconds:7.3f} s alone")
    slowest = max(alone.values())
    print(f"{'all together':<30} {together:7.3f} s, {together / slowest:.2f} x the slowest")
    is_kept = together <= slowest * ALLOWED
    print(f"P10 (at most {ALLOWED:.2f} x): {'kept' if is_kept else 'NOT kept'}")
    return 0 if is_kept else 1


def measure(action, rounds: int) -> float:
    """The median of wall times."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
