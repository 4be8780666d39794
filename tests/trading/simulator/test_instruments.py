"""The instrument table against the venue's recorded exchangeInfo."""

import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trading.simulator.instruments import INSTRUMENTS

RECORDING = (
    Path(__file__).parents[4] / "shared" / "data" / "venue_answers" / "binanceusdm" / "exchangeInfo.json"
)
STATED = {
    "SOLUSDT": ("0.01", "0.01", "5"),
    "DOGEUSDT": ("0.00001", "1", "5"),
    "SUIUSDT": ("0.0001", "0.1", "5"),
}


def recorded() -> dict[str, dict[str, Any]]:
    if not RECORDING.exists():
        pytest.skip("the recorded exchangeInfo is not here")
    return {row["symbol"]: row for row in json.loads(RECORDING.read_text(encoding="utf-8"))["symbols"]}


@pytest.mark.parametrize("symbol", [i.symbol for i in INSTRUMENTS.values() if i.source == "recorded"])
def test_recorded_figures_are_the_venues(symbol: str):
    row, ours = recorded()[symbol], INSTRUMENTS[symbol]
    filters = {entry["filterType"]: entry for entry in row["filters"]}
    price, lot, market = filters["PRICE_FILTER"], filters["LOT_SIZE"], filters["MARKET_LOT_SIZE"]
    band = filters["PERCENT_PRICE"]
    expected = {
        "tick": price["tickSize"],
        "min_price": price["minPrice"],
        "max_price": price["maxPrice"],
        "step": lot["stepSize"],
        "min_quantity": lot["minQty"],
        "max_quantity": lot["maxQty"],
        "max_market_quantity": market["maxQty"],
        "min_notional": filters["MIN_NOTIONAL"]["notional"],
        "multiplier_up": band["multiplierUp"],
        "multiplier_down": band["multiplierDown"],
        "market_take_bound": row["marketTakeBound"],
        "liquidation_fee_ratio": row["liquidationFee"],
    }
    assert {name: getattr(ours, name) for name in expected} == {n: Decimal(v) for n, v in expected.items()}
    assert (ours.price_precision, ours.quantity_precision) == (
        row["pricePrecision"],
        row["quantityPrecision"],
    )
    assert ours.base == row["baseAsset"]


def test_what_the_recording_lacks_is_as_stated_and_marked_so():
    for symbol, (tick, step, notional) in STATED.items():
        ours = INSTRUMENTS[symbol]
        assert ours.source == "stated"
        assert (ours.tick, ours.step, ours.min_notional) == (Decimal(tick), Decimal(step), Decimal(notional))


@pytest.mark.parametrize("symbol", list(INSTRUMENTS))
def test_brackets_make_a_continuous_maintenance_margin(symbol: str):
    bands = INSTRUMENTS[symbol].brackets
    for lower, upper in itertools.pairwise(bands):
        edge = lower.notional_cap
        assert upper.notional_floor == edge
        assert upper.max_leverage < lower.max_leverage
        below = edge * lower.maintenance_ratio - lower.maintenance_amount
        assert edge * upper.maintenance_ratio - upper.maintenance_amount == below


@pytest.mark.parametrize("symbol", list(INSTRUMENTS))
def test_money_in_a_fill_is_exact_to_eight_decimals(symbol: str):
    ours = INSTRUMENTS[symbol]
    assert (ours.tick * ours.step).as_tuple().exponent >= -8


def test_a_notional_above_every_band_takes_the_last_one():
    ours = INSTRUMENTS["ETHUSDT"]
    assert ours.bracket_for(Decimal(10**12)).max_leverage == 1
    assert ours.largest_notional(126) == 0
    assert ours.largest_notional(20) == Decimal(65_000_000)
