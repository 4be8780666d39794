from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ccxt
import pytest
import requests

from tests.trading.simulator.builders import Row, flat, ramp, venue_of
from tests.trading.simulator.client import client_of
from trading.simulator.clock import ManualClock
from trading.simulator.server import VenueServer
from trading.simulator.venue import SimulatedVenue

MARKET: dict[str, list[Row]] = {
    "BTCUSDT": flat("100000.0", 700),
    "ETHUSDT": flat("2500.00", 60)
    + ramp(["2500.00", "2520.00", "2550.00", "2600.00"])
    + flat("2600.00", 637),
}


@dataclass
class Desk:
    """A running venue, a real client on it, and its controls."""

    venue: SimulatedVenue
    server: VenueServer
    client: ccxt.binanceusdm

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.venue.clock, ManualClock)
        return self.venue.clock

    def control(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, f"{self.server.address}/_sim/{path}", json=body, timeout=5)

    def fault(self, kind: str, **fields: Any) -> None:
        answer = self.control("POST", "faults", {"kind": kind, **fields})
        assert answer.status_code == 200, answer.text


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A venue at minute 50 of a small market, with 2x isolated on ETHUSDT."""
    venue = venue_of(**MARKET)
    assert isinstance(venue.clock, ManualClock)
    venue.clock.pass_ms(50 * 60_000)
    venue.execute("set_leverage", symbol="ETHUSDT", leverage=2)
    venue.execute("set_margin_type", symbol="ETHUSDT", isolated=True)
    with VenueServer(venue) as server:
        client = client_of(server.address, venue.clock.wall_ms)
        yield Desk(venue=venue, server=server, client=client)
        client.session.close()
