"""Keeps the metrics folder small: what dead processes left is folded into one file per kind.

Each process writes files of its own into PROMETHEUS_MULTIPROC_DIR. Counters and histograms of a
dead process still count; its live gauges do not. Restarts therefore leave neither files nor series.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

LOCK_NAME = "fold.lock"
FOLDED = "folded"
_NAME = re.compile(r"(?P<kind>[a-z_]+)_(?P<pid>\d+)\.db")
Values = dict[str, tuple[float, float]]


@contextlib.contextmanager
def hold_folder(folder: Path, *, alone: bool) -> Iterator[None]:
    """Readers share the folder; a fold has it alone, so that nothing is counted twice or missed."""
    with open(folder / LOCK_NAME, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def fold_dead_processes(folder: Path) -> int:
    """Fold the files of processes that have ended; returns how many files went.

    All processes that share the folder must share one process namespace.
    """
    if not list_dead(folder):
        return 0
    with hold_folder(folder, alone=True):
        dead = list_dead(folder)
        for kind, paths in dead.items():
            if not kind.startswith("gauge_live"):
                _fold(folder / f"{kind}_{FOLDED}.db", paths, is_sum=not kind.startswith("gauge"))
            for path in paths:
                path.unlink(missing_ok=True)
        return sum(len(paths) for paths in dead.values())


def list_dead(folder: Path) -> dict[str, list[Path]]:
    """Files of processes that have ended, by kind."""
    dead: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.db")):
        found = _NAME.fullmatch(path.name)
        if found and not is_alive(int(found["pid"])):
            dead.setdefault(found["kind"], []).append(path)
    return dead


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fold(target: Path, paths: Iterable[Path], *, is_sum: bool) -> None:
    """Add up counters, keep the newest of gauges, and put the result in place in one step."""
    merged: Values = {}
    for path in (target, *paths):
        for key, value, at in _read(path):
            earlier, earlier_at = merged.get(key, (0.0, 0.0))
            if is_sum:
                merged[key] = (earlier + value, max(earlier_at, at))
            elif key not in merged or at >= earlier_at:
                merged[key] = (value, at)
    unfinished = target.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    file = MmapedDict(str(unfinished))  # type: ignore[no-untyped-call]
    for key, (value, at) in merged.items():
        file.write_value(key, value, at)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]
    os.replace(unfinished, target)


def _read(path: Path) -> Iterator[tuple[str, float, float]]:
    if not path.exists() or path.stat().st_size == 0:
        return
    for key, value, at, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
        yield key, value, at
