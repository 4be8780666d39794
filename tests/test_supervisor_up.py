"""`up` as a person and a script meet it: a whole second desk, so there are few of these."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.supervisor.options import free_port

ROOT = Path(__file__).resolve().parent.parent
SUMMARY_KEYS = [
    "cycles",
    "allowed",
    "denied_by_code",
    "filled",
    "open_positions",
    "protected_positions",
    "trades_closed",
    "equity_samples",
    "differences",
    "audit_verified",
]
PROGRAMS = {"postgres", "valkey", "venue-binanceusdm", "alerts", "web", "worker", "beat", "guard"}
# Settings of the tests' own servers, which a desk of its own must not use.
UNSET = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SECRET_KEY", "PROMETHEUS_MULTIPROC_DIR")


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="a desk ") as folder:
        yield Path(folder)


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | {"CONTROLPLANE_HOME": str(home), "CONTROLPLANE_NO_BOOTSTRAP": "1"}


@contextlib.contextmanager
def begin(home: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that a failing test does not wait for."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    with begin(home, *arguments) as process:
        output, errors = process.communicate(timeout=240)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def wait_ready(process: "subprocess.Popen[str]") -> dict[str, object]:
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line.startswith("READY {"), process.stderr.read()
    demo: dict[str, object] = json.loads(line.removeprefix("READY "))
    return demo


def wait_until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def pids(home: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((home / "processes.json").read_text())
    return found


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_desk_survives_what_it_should_and_ends_when_it_should(home):
    port = free_port()
    with begin(home, "up", "--json", "--port", str(port)) as supervisor:
        demo = wait_ready(supervisor)
        assert demo == json.loads((home / "demo.json").read_text())
        assert demo["url"] == f"http://127.0.0.1:{port}"
        for name in ("demo.json", "desk.json", "secrets.json"):
            assert (home / name).stat().st_mode & 0o777 == 0o600
        running = pids(home)
        assert running.keys() == PROGRAMS

        second = run(home, "up", "--port", str(free_port()))
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr == f"a desk is already running in {home}; stop it first\n"

        os.kill(running["worker"], signal.SIGKILL)
        wait_until(lambda: pids(home).get("worker", running["worker"]) != running["worker"])

        everything = pids(home)
        supervisor.kill()
    # Each ends in its own way, on a machine that may be busy with other tests.
    wait_until(lambda: all(is_gone(pid) for pid in everything.values()), seconds=180.0)
    lost = run(home, "showmigrations")
    assert lost.returncode == 2
    assert lost.stderr.startswith(f"no desk is running in {home}: ")

    other = run(home, "up", "--json", "--port", str(port), "--seed", "2")
    assert (other.returncode, other.stdout) == (2, "")
    assert other.stderr.splitlines()[-1].endswith("give the same set, or start over with --fresh")

    done = run(home, "up", "--json", "--port", str(port), "--for", "10")
    assert done.returncode == 0, done.stderr
    ready, summary = done.stdout.splitlines()
    assert json.loads(ready.removeprefix("READY ")) == demo
    found = json.loads(summary.removeprefix("SUMMARY "))
    assert list(found) == SUMMARY_KEYS
    assert found["cycles"] > 0
    assert found["protected_positions"] == found["open_positions"]
    assert (found["differences"], found["audit_verified"]) == (0, True)


def test_a_signal_stops_everything(home):
    port = free_port()
    with begin(home, "up", "--json", "--port", str(port)) as supervisor:
        wait_ready(supervisor)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as answer:
            assert json.load(answer) == {"status": "ok"}
        found = run(home, "showmigrations", "--plan")
        assert found.returncode == 0, found.stderr
        running = pids(home)
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(timeout=60) == 0
    assert all(is_gone(pid) for pid in running.values())
    assert not (home / "desk.json").exists()
