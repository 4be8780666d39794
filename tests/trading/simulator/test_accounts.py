"""Several accounts at one venue: books of their own, prices, limits and faults in common."""

from decimal import Decimal

import ccxt
import pytest

from tests.trading.simulator.client import client_of
from trading.simulator.engine import Engine
from trading.simulator.store import Store
from trading.simulator.venue import Credentials, SimulatedVenue

OTHER = Credentials(key="another-key", secret="another-secret")
MARKET_BUY = ("ETH/USDT:USDT", "market", "buy", 0.1)


@pytest.fixture
def other(desk, tmp_path):
    engine = Engine.start(desk.venue.engine.feed, at_ms=desk.clock.market_ms(), balance=Decimal(500))
    account = SimulatedVenue(engine, desk.clock, OTHER, Store(tmp_path / "other"))
    desk.venue.add_account(account)
    return account


@pytest.fixture
def client(desk, other):
    client = client_of(desk.server.address, desk.venue.clock.wall_ms, apiKey=OTHER.key, secret=OTHER.secret)
    yield client
    client.session.close()


def test_each_account_has_its_own_money_orders_and_positions(desk, other, client):
    client.create_order(*MARKET_BUY)
    client.create_order("ETH/USDT:USDT", "limit", "buy", 0.1, 2000)
    assert [row["positionAmt"] for row in client.fapiPrivateV3GetPositionRisk()] == ["0.1"]
    assert desk.client.fapiPrivateV3GetPositionRisk() == []
    assert len(client.fetch_open_orders("ETH/USDT:USDT")) == 1
    assert desk.client.fetch_open_orders("ETH/USDT:USDT") == []
    assert other.engine.state.wallet < 500
    assert desk.venue.engine.state.wallet == 1000


def test_a_key_opens_its_own_account_only(desk, other):
    wrong = client_of(
        desk.server.address, desk.venue.clock.wall_ms, apiKey=OTHER.key, secret=desk.venue.credentials.secret
    )
    with pytest.raises(ccxt.AuthenticationError):
        wrong.fapiPrivateV3GetPositionRisk()
    wrong.session.close()


def test_what_happens_to_prices_happens_to_both(desk, other):
    desk.venue.execute("gap", symbol="ETHUSDT", ratio="-0.1", seconds=0)
    assert other.engine.state.gaps == desk.venue.engine.state.gaps != {}
    desk.venue.execute("freeze", frozen=True)
    assert other.engine.state.frozen
    desk.venue.execute("clear_gaps")
    assert other.engine.state.gaps == desk.venue.engine.state.gaps
    desk.venue.execute("deposit", amount="5")
    assert other.engine.state.wallet == 500


def test_a_fault_strikes_both(desk, other, client):
    desk.fault("error_before", status=503, times=2)
    for one in (desk.client, client):
        with pytest.raises(ccxt.NetworkError):
            one.fapiPrivateV3GetPositionRisk()
    assert client.fapiPrivateV3GetPositionRisk() == []


def test_its_book_survives_a_restart(desk, other, client, tmp_path):
    client.create_order(*MARKET_BUY)
    desk.venue.close()
    engine = Store(tmp_path / "other").load(desk.venue.engine.feed)
    assert engine is not None
    assert engine.state.positions["ETHUSDT"].quantity == Decimal("0.1")
