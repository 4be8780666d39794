"""A restart, after any end, gives the same book."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.trading.simulator.builders import CREDENTIALS, MINUTE, T0, WALL, feed_of, flat, ramp
from trading.simulator.clock import ManualClock
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


def test_what_cannot_be_journaled_is_never_answered_again(tmp_path: Path):
    venue = opened(tmp_path)
    venue.execute("deposit", amount="1")
    assert venue._store is not None
    os.close(venue._store._journal)
    with pytest.raises(OSError, match="Bad file descriptor"):
        venue.execute("deposit", amount="2")
    with pytest.raises(OSError, match="Bad file descriptor"), venue.at_now():
        pytest.fail("went on")
    venue._store._journal = -1
    venue.close()
    again = opened(tmp_path)
    assert again.engine.state.wallet == 1001
    again.close()


def test_a_clock_far_behind_the_state_or_outside_the_candles_is_refused(tmp_path: Path):
    venue = opened(tmp_path / "a", T0 + 20 * MINUTE)
    at(venue, T0 + 20 * MINUTE)
    venue.close()
    with pytest.raises(StoreError, match="far behind"):
        opened(tmp_path / "a", T0 - 60 * MINUTE)
    with pytest.raises(StoreError, match="outside the candles of ETHUSDT"):
        opened(tmp_path / "b", T0 - 60 * MINUTE)
