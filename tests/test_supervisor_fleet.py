"""The fleet, on small programs of its own."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.supervisor.fleet import Fleet, Program, forget_dead_gauges, is_alive

STAYS = "import time; time.sleep(600)"
ENDS = "raise SystemExit(3)"
IGNORES_TERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""
NOTES_ITS_END = """
import signal, sys, time
def end(*_):
    open(sys.argv[1], "a").write(sys.argv[2] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(600)
"""
HAS_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def fleet(tmp_path: Path, said: list[str]) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, said.append)
    yield fleet
    fleet.stop()


def program(fleet: Fleet, name: str, code: str, *arguments: str, stage: int = 2) -> Program:
    return Program(
        name=name,
        stage=stage,
        command=[sys.executable, "-c", code, *arguments],
        environment=dict(os.environ),
        log=fleet.state_dir / "log" / f"{name}.log",
        stop_steps=((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)),
    )


def pids(fleet: Fleet) -> dict[str, int]:
    found: dict[str, int] = json.loads((fleet.state_dir / "processes.json").read_text())
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_killed_program_comes_back(fleet, said):
    fleet.start(program(fleet, "web", STAYS))
    first = pids(fleet)["web"]
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        fleet.tend()
        return pids(fleet).get("web", first) != first

    wait_until(is_back)
    assert said == ["web: ended with -9, restarting"]


def test_a_program_that_cannot_stay_up_is_tried_ever_more_rarely(fleet, said):
    fleet.start(program(fleet, "web", ENDS))

    def is_failing() -> bool:
        fleet.tend()
        return fleet.failing() == ["web"]

    wait_until(is_failing)
    assert fleet.members[0].retry_at > time.monotonic() + 1.0
    assert said == ["web: ended with 3, restarting"] * 3


def test_the_highest_stage_stops_first(fleet, tmp_path):
    order = tmp_path / "order"
    fleet.start(
        *(
            program(fleet, name, NOTES_ITS_END, str(order), name, stage=stage)
            for stage, name in enumerate(("server", "venue", "app"))
        )
    )
    wait_until(lambda: all(path.read_text() for path in (tmp_path / "log").iterdir()))
    fleet.stop()
    assert order.read_text().split() == ["app", "venue", "server"]
    assert pids(fleet) == {}


def test_named_programs_stop_and_the_others_go_on(fleet):
    fleet.start(program(fleet, "worker", STAYS), program(fleet, "guard", STAYS))
    fleet.stop("worker")
    assert list(pids(fleet)) == ["guard"]
    assert is_alive(pids(fleet)["guard"])


def test_a_program_that_does_not_listen_is_killed(fleet, tmp_path):
    stubborn = program(fleet, "worker", IGNORES_TERM)
    fleet.start(
        Program(
            name="worker",
            stage=2,
            command=stubborn.command,
            environment=stubborn.environment,
            log=stubborn.log,
            stop_steps=((signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)),
        )
    )
    pid = pids(fleet)["worker"]
    wait_until(lambda: "up" in (tmp_path / "log" / "worker.log").read_text())
    fleet.stop()
    assert not is_alive(pid)


def test_what_a_program_left_behind_is_ended_with_it(fleet, tmp_path):
    fleet.start(program(fleet, "worker", HAS_A_CHILD))
    log = tmp_path / "log" / "worker.log"
    wait_until(lambda: log.read_text().strip().isdigit())
    child = int(log.read_text())
    fleet.stop()
    wait_until(lambda: not is_alive(child) or Path(f"/proc/{child}/stat").read_text().split()[2] == "Z")


def test_a_held_program_stays_down_until_it_is_released(fleet, tmp_path, said):
    fleet.start(program(fleet, "worker", STAYS))
    first = pids(fleet)["worker"]
    (tmp_path / "hold").mkdir()
    (tmp_path / "hold" / "worker").touch()
    fleet.tend()
    fleet.tend()
    assert not is_alive(first)
    assert pids(fleet) == {}
    assert said == ["worker: held down"]
    (tmp_path / "hold" / "worker").unlink()
    fleet.tend()
    assert is_alive(pids(fleet)["worker"])


def test_live_gauges_of_the_dead_are_forgotten_and_those_of_the_living_kept(tmp_path):
    living, dead = f"gauge_livesum_{os.getpid()}.db", "gauge_livesum_4194304.db"
    for name in (living, dead, "counter_4194304.db", "gauge_max_4194304.db"):
        (tmp_path / name).touch()
    forget_dead_gauges(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [living, "counter_4194304.db", "gauge_max_4194304.db"]
    )
