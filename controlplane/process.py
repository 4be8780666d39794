"""Child processes: those that cannot outlive their supervisor, and those that must outlive their caller."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TRAMPOLINE = Path(__file__).with_name("trampoline.py")
MANAGE = Path(__file__).resolve().parent.parent / "manage.py"


def tie_to_this_process(command: Sequence[str], death_signal: signal.Signals) -> list[str]:
    """The command that runs `command` and has it signalled when this process dies."""
    return [sys.executable, "-I", "-S", str(TRAMPOLINE), str(int(death_signal)), str(os.getpid()), *command]


def start_child(
    command: Sequence[str], *, log: Path, env: Mapping[str, str], user: int | None = None
) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, so that Ctrl-C reaches the supervisor only.

    Output goes straight to the log file: no child ever waits for its supervisor to read.
    Call it from the main thread, because a child is told of the death of the thread that made it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab", buffering=0) as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )


def signal_child(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)


def wait_child(child: subprocess.Popen[bytes], *, deadline: float) -> bool:
    """Whether the child ended before the monotonic deadline."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=max(0.0, deadline - time.monotonic()))
    return child.poll() is not None


def reap_group(child: subprocess.Popen[bytes]) -> None:
    """Kill whatever the child left behind in its own session's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def stop_child(child: subprocess.Popen[bytes], *, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send each signal in turn, waiting its seconds, until the child is gone; then kill its group."""
    for number, seconds in steps:
        signal_child(child, number)
        if wait_child(child, deadline=time.monotonic() + seconds):
            break
    reap_group(child)
    child.wait()


def start_detached(*arguments: str) -> None:
    """Run `manage.py ARGUMENTS…` in a session of its own; it goes on if this process ends. Raises OSError.

    A thread waits for it, so that it leaves no zombie while this process lives.
    """
    child = subprocess.Popen(
        [sys.executable, str(MANAGE), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"CONTROLPLANE_NO_BOOTSTRAP": "1"},
    )
    threading.Thread(target=child.wait, daemon=True).start()
