"""The command: it survives kill -9, follows the desk's market clock, and complains in one line."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ccxt
import pytest
import requests
from django.core.management import CommandError, call_command

from tests.trading.simulator.builders import CREDENTIALS
from tests.trading.simulator.client import client_of
from trading.management.commands.simulated_venue import FollowedClock
from trading.services import start_market_clock
from trading.simulator.clock import system_ms

Starter = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Runs the command itself and gives its process and address."""
    running: list[subprocess.Popen[str]] = []

    def run(*extra: str) -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "manage.py", "simulated_venue", "--state-dir", str(tmp_path / "venue")]
        command += ["--anchor", "2026-02-01T00:00:00+00:00", "--seed", "5", *extra]
        keys = {"BINANCE_API_KEY": CREDENTIALS.key, "BINANCE_API_SECRET": CREDENTIALS.secret}
        environment = {**os.environ, **keys, "CONTROLPLANE_NO_BOOTSTRAP": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("READY http://127.0.0.1:"), line
        return process, line.split()[1]

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


def test_the_command_survives_kill_9_and_stops_on_sigterm(start: Starter):
    process, address = start()
    client = client_of(address, system_ms)
    order = client.create_order("ETH/USDT:USDT", "market", "buy", 0.1, None, {"newClientOrderId": "entry1"})
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    client.session.close()

    second, address = start()
    client = client_of(address, system_ms)
    found = client.fetch_order(None, "ETH/USDT:USDT", {"clientOrderId": "entry1"})
    assert (found["id"], found["average"]) == (order["id"], order["average"])
    assert client.fetch_positions(["ETH/USDT:USDT"])[0]["contracts"] == 0.1
    assert requests.get(f"{address}/_sim/state", timeout=5).json()["conserved"]
    client.session.close()
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=10) == 0
    with pytest.raises(ccxt.NetworkError):
        client.fetch_time()
    client.session.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--anchor", "yesterday"], "--anchor: not a time"),
        (["--anchor", "2026-02-01", "--speed", "0"], "--speed: must be at least 1"),
        (["--anchor", "2026-02-01", "--balance", "much"], "--balance: not a number"),
        (["--anchor", "2026-02-01", "--balance=-1"], "--balance: must not be negative"),
        (["--anchor", "2026-02-01", "--candles", "/nowhere"], "no such folder"),
        (["--anchor", "2020-02-01"], "outside the candles"),
        (["--anchor", "2026-02-01", "--port", "70000"], "--port: 127.0.0.1:70000 cannot be used"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str):
    keys = ["--api-key", "k", "--api-secret", "s"]
    with pytest.raises(CommandError, match=message) as refused:
        call_command("simulated_venue", "--state-dir", str(tmp_path), *keys, *arguments)
    assert refused.value.returncode == 2
    assert "\n" not in str(refused.value)


def test_a_used_port_is_a_clear_error(start: Starter, tmp_path: Path):
    _, address = start()
    arguments = [
        "--api-key",
        "k",
        "--api-secret",
        "s",
        "--anchor",
        "2026-02-01",
        "--port",
        address.rsplit(":", 1)[1],
    ]
    with pytest.raises(CommandError, match=r"cannot be used: .*in use"):
        call_command("simulated_venue", "--state-dir", str(tmp_path / "other"), *arguments)


def test_without_keys_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("BINANCE_API_KEY", "BINANCE_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError, match="BINANCE_API_KEY is not set"):
        call_command("simulated_venue", "--state-dir", str(tmp_path), "--anchor", "2026-02-01")


@pytest.mark.django_db(transaction=True)
def test_it_follows_the_desks_market_clock():
    anchor = datetime(2026, 2, 1, tzinfo=UTC)
    start_market_clock(anchor_at=anchor, speed=60, candle_set="seed:1")
    clock = FollowedClock()
    first, wall = clock.market_ms(), clock.wall_ms()
    assert clock.speed == 60
    assert 0 <= first - anchor.timestamp() * 1000 < timedelta(hours=2) / timedelta(milliseconds=1)
    while clock.wall_ms() == wall:
        pass
    assert clock.market_ms() > first
    clock.stop()
