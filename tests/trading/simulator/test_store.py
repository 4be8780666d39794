"""A restart, after any end, gives the same book."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
import requests

from tests.trading.simulator.builders import CREDENTIALS, MINUTE, T0, WALL, feed_of, flat, ramp
from tests.trading.simulator.client import client_of
from trading.simulator.clock import ManualClock, system_ms
from trading.simulator.errors import VenueError
from trading.simulator.feed import Feed
from trading.simulator.store import Store, StoreError
from trading.simulator.venue import SimulatedVenue, open_venue

ROWS = flat("2500.00", 3) + ramp(["2500.00", "2480.00", "2440.00", "2400.00"]) + flat("2400.00", 20)
BUY = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.100"}
STOP = {
    "symbol": "ETHUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "trigger_price": "2450.00",
    "close_position": True,
    "working_type": "MARK_PRICE",
    "client_id": "stop",
}


def opened(folder: Path, at_ms: int = T0, feed: Feed | None = None) -> SimulatedVenue:
    clock = ManualClock(market=at_ms, wall=WALL)
    return open_venue(
        feed=feed or feed_of(ETHUSDT=ROWS),
        clock=clock,
        credentials=CREDENTIALS,
        balance=Decimal(1000),
        store=Store(folder),
    )


def killed(venue: SimulatedVenue) -> None:
    """Let the folder go without a last snapshot, as a killed process does."""
    assert venue._store is not None
    venue._store.close()


def at(venue: SimulatedVenue, at_ms: int) -> dict[str, Any]:
    assert isinstance(venue.clock, ManualClock)
    venue.clock.market = at_ms
    with venue.at_now() as engine:
        return engine.dump()


def test_commands_after_the_snapshot_come_back_from_the_journal(tmp_path: Path):
    first = opened(tmp_path)
    first.execute("place_order", **BUY, client_id="entry")
    at(first, T0 + MINUTE)
    first.execute("place_algo", **STOP)
    before = at(first, T0 + 8 * MINUTE)
    killed(first)
    again = opened(tmp_path, T0 + 8 * MINUTE)
    assert at(again, T0 + 8 * MINUTE) == before
    assert before["positions"]["ETHUSDT"]["quantity"] == "0.000"
    again.close()


def test_what_happened_in_market_time_while_it_was_down_happens_at_the_restart(tmp_path: Path):
    first = opened(tmp_path)
    first.execute("place_order", **BUY, client_id="entry")
    first.execute("place_algo", **STOP)
    killed(first)
    again = opened(tmp_path, T0 + 10 * MINUTE)
    at(again, T0 + 10 * MINUTE)
    (algo,) = again.engine.state.closed_algos.values()
    assert algo.status == "TRIGGERED"
    again.close()


def test_a_refused_command_is_not_journaled(tmp_path: Path):
    venue = opened(tmp_path)
    with pytest.raises(VenueError):
        venue.execute("cancel_order", symbol="ETHUSDT", order_id=1, client_id="")
    assert not list(tmp_path.glob("journal-*"))
    venue.close()


def test_a_snapshot_drops_the_journals_it_covers_and_a_torn_last_line_is_left_out(tmp_path: Path):
    venue = opened(tmp_path)
    venue.execute("deposit", amount="1")
    venue.save()
    assert not list(tmp_path.glob("journal-*"))
    venue.execute("deposit", amount="2")
    killed(venue)
    (journal,) = tmp_path.glob("journal-*")
    with journal.open("ab") as file:
        file.write(b'{"number":3,"at_ms":')
    again = opened(tmp_path)
    assert again.engine.state.wallet == 1003
    again.execute("deposit", amount="4")
    killed(again)
    third = opened(tmp_path)
    assert third.engine.state.wallet == 1007
    third.close()


def test_a_crash_between_snapshot_and_clean_up_applies_nothing_twice(tmp_path: Path):
    venue = opened(tmp_path)
    venue.execute("deposit", amount="1")
    (journal,) = tmp_path.glob("journal-*")
    content = journal.read_bytes()
    venue.save()
    journal.write_bytes(content)
    killed(venue)
    again = opened(tmp_path)
    assert again.engine.state.wallet == 1001
    again.close()


def test_a_folder_is_for_one_process_and_one_set_of_candles(tmp_path: Path):
    venue = opened(tmp_path)
    with pytest.raises(StoreError, match="another simulated venue"):
        Store(tmp_path)
    venue.close()
    other = feed_of(ETHUSDT=ROWS)
    other.identity = "candles:other"
    with pytest.raises(StoreError, match="other candles"):
        opened(tmp_path, feed=other)


def test_damage_is_one_clear_line(tmp_path: Path):
    opened(tmp_path / "a").close()
    (tmp_path / "a" / "snapshot.json").write_bytes(b"{")
    with pytest.raises(StoreError, match="cannot be read"):
        opened(tmp_path / "a")
    opened(tmp_path / "b").close()
    (tmp_path / "b" / "journal-000000000000001.jsonl").write_bytes(b"nonsense\n")
    with pytest.raises(StoreError, match="is damaged"):
        opened(tmp_path / "b")
    (tmp_path / "c").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "c")


def test_a_clock_far_behind_the_state_or_outside_the_candles_is_refused(tmp_path: Path):
    venue = opened(tmp_path / "a", T0 + 20 * MINUTE)
    at(venue, T0 + 20 * MINUTE)
    venue.close()
    with pytest.raises(StoreError, match="far behind"):
        opened(tmp_path / "a", T0 - 60 * MINUTE)
    with pytest.raises(StoreError, match="outside the candles of ETHUSDT"):
        opened(tmp_path / "b", T0 - 60 * MINUTE)


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
        (["--anchor", "yesterday"], "--anchor"),
        (["--anchor", "2026-02-01", "--speed", "0"], "--speed"),
        (["--anchor", "2026-02-01", "--balance", "much"], "--balance"),
        (["--anchor", "2026-02-01", "--candles", "/nowhere"], "no such folder"),
        (["--anchor", "2020-02-01"], "outside the candles"),
        (["--anchor", "2026-02-01", "--port", "70000"], "--port"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str):
    command = [sys.executable, "manage.py", "simulated_venue", "--state-dir", str(tmp_path), *arguments]
    environment = {
        **os.environ,
        "BINANCE_API_KEY": "k",
        "BINANCE_API_SECRET": "s",
        "CONTROLPLANE_NO_BOOTSTRAP": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
