"""One desk, one fault at a time: exactly the checks that must say so do, and each comes back.

`hold/NAME` in the desk's folder keeps a process down, where it would otherwise be restarted.
"""

import json
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.supervisor.options import free_port
from tests.test_supervisor_up import begin, run, wait_ready, wait_until

PATIENCE_SECONDS = 90.0
PASS = "pass"
HEALTH, RISK, EXCHANGE = "check_health_endpoints", "check_risk_system", "check_exchange_connectivity"
DATABASE, SEEING, STRESS = "check_database_redis", "check_observability", "check_stress_scenarios"
Verdicts = dict[str, str]

# No scenario has ever been run here, and the check says so.
CALM: Verdicts = {
    HEALTH: PASS,
    RISK: PASS,
    EXCHANGE: PASS,
    DATABASE: PASS,
    SEEING: PASS,
    STRESS: "fail: never_run",
}
ON_DATABASE = f"inconclusive: depends_on={DATABASE}"

# What is stopped -> what differs from a calm desk.
FAULTS: dict[str, Verdicts] = {
    "worker": {DATABASE: "fail: worker_silent", SEEING: ON_DATABASE},
    "valkey": {
        HEALTH: "fail: unhealthy",
        DATABASE: "fail: redis_refused",
        SEEING: ON_DATABASE,
    },
    "venue-binanceusdm": {EXCHANGE: "fail: refused"},
    "web": {HEALTH: "fail: refused", SEEING: f"inconclusive: depends_on={HEALTH}"},
    "alerts": {SEEING: "fail: alert_not_delivered"},
    "guard": {DATABASE: "fail: guard_silent"},
    "postgres": {
        HEALTH: "fail: unhealthy",
        RISK: ON_DATABASE,
        EXCHANGE: ON_DATABASE,
        DATABASE: "fail: database_refused",
        SEEING: ON_DATABASE,
        STRESS: ON_DATABASE,
    },
}


def measure(home: Path) -> Verdicts:
    done = run(home, "preflight", "--json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["passed"] + answer["failed"] == 6
    return read_verdicts(answer["checks"])


def read_verdicts(checks: list[dict[str, Any]]) -> Verdicts:
    verdicts: Verdicts = {}
    for check in checks:
        is_good = check["status"] == PASS
        assert is_good or check["next"], check
        verdicts[check["name"]] = PASS if is_good else f"{check['status']}: {check['reason']}"
    return verdicts


def wait_for(home: Path, expected: Verdicts, what: str) -> None:
    """Faults take effect, and heal, within a while; what is said until then is not the point."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := measure(home)) != expected:
        assert time.monotonic() < deadline, f"{what}: {found}"


@contextmanager
def held_down(home: Path, name: str) -> Iterator[None]:
    hold = home / "hold" / name
    hold.touch()
    try:
        yield
    finally:
        hold.unlink()


def started_over_http(demo: dict[str, Any]) -> Verdicts:
    """What a run says that the web process has started and not performed."""
    run_id = ask(demo, "preflight-runs", body={"purpose": "golive"})["run_id"]
    path = f"preflight-runs/{run_id}"
    wait_until(lambda: ask(demo, path)["finished_at"] is not None, seconds=PATIENCE_SECONDS)
    return read_verdicts(ask(demo, path)["checks"])


def ask(demo: dict[str, Any], path: str, body: Any = None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310  an address of ours
        f"{demo['url']}/api/v1/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {demo['api_token']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="faults ", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_each_fault_turns_exactly_the_checks_it_must_and_each_comes_back(home):
    with begin(home, "up", "--json", "--port", str(free_port())) as supervisor:
        demo = wait_ready(supervisor)
        wait_for(home, CALM, "a calm desk")
        assert started_over_http(demo) == CALM
        for name, changes in FAULTS.items():
            with held_down(home, name):
                wait_for(home, CALM | changes, f"{name} is down")
            wait_for(home, CALM, f"{name} is back")
        shown = run(home, "preflight")
        assert "RESULTS: 5 passed, 1 failed" in shown.stdout, shown.stdout
        assert "STEP 1: check_stress_scenarios: never_run" in shown.stdout
        supervisor.terminate()
        supervisor.wait(timeout=60)
