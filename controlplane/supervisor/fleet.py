"""Keeps processes running: start in order, restart with backoff, stop in the opposite order."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from controlplane.desk import DeskError, write_private
from controlplane.process import (
    reap_group,
    signal_child,
    start_child,
    stop_child,
    tie_to_this_process,
    wait_child,
)

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0
# One that lived this long has recovered; its next end is a first one again.
STEADY_SECONDS = 30.0

StopSteps = Sequence[tuple[signal.Signals, float]]


class Runnable(Protocol):
    """A process the fleet can start; `stage` orders start (upwards) and stop (downwards)."""

    @property
    def name(self) -> str: ...
    @property
    def stage(self) -> int: ...
    @property
    def stop_steps(self) -> StopSteps: ...
    def start(self) -> subprocess.Popen[bytes]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One of the project's own processes."""

    name: str
    stage: int
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_steps: StopSteps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
    death_signal: signal.Signals = signal.SIGTERM

    def start(self) -> subprocess.Popen[bytes]:
        return start_child(
            tie_to_this_process(self.command, self.death_signal), log=self.log, env=self.environment
        )


@dataclass(slots=True)
class Member:
    """A runnable and what became of it."""

    runnable: Runnable
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    retry_at: float = 0.0


@dataclass(slots=True)
class Fleet:
    """The processes of one desk. While the file `hold/NAME` exists, NAME is kept down."""

    state_dir: Path
    say: Callable[[str], None]
    members: list[Member] = field(default_factory=list)

    def start(self, *runnables: Runnable) -> None:
        for runnable in runnables:
            member = Member(runnable)
            self.members.append(member)
            self._start(member)
        self._write_pids()

    def _start(self, member: Member) -> None:
        member.process = member.runnable.start()
        member.started_at = time.monotonic()

    def tend(self) -> None:
        """Restart what has ended and its time has come; called a few times a second."""
        changed = [member for member in self.members if self._tend(member, time.monotonic())]
        if changed:
            self._write_pids()

    def _tend(self, member: Member, now: float) -> bool:
        """Whether the member's process changed."""
        if self._is_held(member):
            return self._hold(member)
        if member.process is not None and member.process.poll() is None:
            return False
        if member.process is not None:
            self._note_end(member, now)
            return True
        if now < member.retry_at:
            return False
        try:
            self._start(member)
        except (DeskError, OSError) as error:
            self.say(f"{member.runnable.name}: {error}")
            self._schedule(member, now)
        return True

    def _is_held(self, member: Member) -> bool:
        return (self.state_dir / "hold" / member.runnable.name).exists()

    def _hold(self, member: Member) -> bool:
        if member.process is None:
            return False
        self.say(f"{member.runnable.name}: held down")
        stop_child(member.process, steps=member.runnable.stop_steps)
        member.process, member.failures, member.retry_at = None, 0, 0.0
        return True

    def _note_end(self, member: Member, now: float) -> None:
        process = member.process
        if process is None:
            return
        reap_group(process)
        if now - member.started_at > STEADY_SECONDS:
            member.failures = 0
        self.say(f"{member.runnable.name}: ended with {process.returncode}, restarting")
        member.process = None
        self._schedule(member, now)

    def _schedule(self, member: Member, now: float) -> None:
        member.retry_at = now + min(LONGEST_DELAY, FIRST_DELAY * 2**member.failures)
        member.failures += 1

    def failing(self) -> list[str]:
        """Names of those that ended again and again."""
        return [member.runnable.name for member in self.members if member.failures >= 3]

    def stop(self, *names: str) -> None:
        """Stop the named members, or all: the highest stage first, together within one stage."""
        chosen = [member for member in self.members if not names or member.runnable.name in names]
        for stage in sorted({member.runnable.stage for member in chosen}, reverse=True):
            stop_together([member for member in chosen if member.runnable.stage == stage])
        self.members = [member for member in self.members if member not in chosen]
        self._write_pids()

    def _write_pids(self) -> None:
        pids = {
            member.runnable.name: member.process.pid for member in self.members if member.process is not None
        }
        write_private(self.state_dir / "processes.json", json.dumps(pids))


def stop_together(members: Sequence[Member]) -> None:
    """Tell all at once, then wait for each; whoever takes too long is told more firmly."""
    running = [
        (member.runnable.stop_steps, member.process) for member in members if member.process is not None
    ]
    for steps, process in running:
        signal_child(process, steps[0][0])
    told_at = time.monotonic()
    for steps, process in running:
        if not wait_child(process, deadline=told_at + steps[0][1]):
            stop_child(process, steps=steps[1:])
        reap_group(process)


def forget_dead_gauges(metrics_dir: Path) -> None:
    """Drop the live gauges of processes that are gone, however they went."""
    for path in metrics_dir.glob("gauge_live*.db"):
        found = re.search(r"_(\d+)\.db$", path.name)
        if found and not is_alive(int(found.group(1))):
            path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
