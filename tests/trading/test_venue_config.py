"""config/venues.yaml is loaded whole, or refused with the line that is wrong."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from controlplane.yaml_file import YamlError
from trading.venue_config import load_venue_config

GOOD = """\
primary: binanceusdm
candidates: []
symbols: [BTCUSDT, SOLUSDT]
required_capabilities: [test_order]
venues:
  binanceusdm:
    taker_fee_percent: 0.05
    maker_fee_percent: -0.01
    slippage_allowance_percent:
      default: 0.5
      BTCUSDT: 0.2
"""


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "venues.yaml"
    path.write_text(text)
    return load_venue_config(path)


def test_the_file_that_ships_is_the_demo_desks() -> None:
    config = load_venue_config()
    assert (config.primary, config.candidates, config.venues) == ("binanceusdm", (), ("binanceusdm",))
    assert config.symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")
    terms = config.terms["binanceusdm"]
    assert terms.taker_fee_ratio == Decimal("0.0005")
    assert terms.slippage_ratio("BTCUSDT") == terms.slippage_ratio("ETHUSDT") == Decimal("0.002")
    assert terms.slippage_ratio("SOLUSDT") == Decimal("0.005")


def test_percentages_become_ratios_and_a_rebate_is_negative(tmp_path: Path) -> None:
    path = tmp_path / "venues.yaml"
    path.write_text(GOOD)
    terms = load_venue_config(path).terms["binanceusdm"]
    assert terms.maker_fee_ratio == Decimal("-0.0001")
    assert terms.slippage_ratio("SOLUSDT") == Decimal("0.005")


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("candidates: []\n", "", ":1: candidates: missing"),
        ("candidates: []", "candidates: []\nfallback: x", ":3: fallback: unknown key"),
        ("primary: binanceusdm", "primary: bybit", ":1: primary: no dialect for 'bybit'; known: binanceusdm"),
        ("candidates: []", "candidates: [okx]", ":2: candidates: no dialect for 'okx'"),
        ("candidates: []", "candidates: [binanceusdm]", ":2: candidates: binanceusdm is the primary already"),
        ("[BTCUSDT, SOLUSDT]", "[]", ":3: symbols: names no symbol"),
        ("[BTCUSDT, SOLUSDT]", "[BTC/USDT]", ":3: symbols: expected a symbol like BTCUSDT"),
        ("[BTCUSDT, SOLUSDT]", "[BTCUSDT, BTCUSDT]", ":3: symbols: a value is listed twice"),
        ("[test_order]", "[telepathy]", ":4: required_capabilities: no capability 'telepathy'"),
        ("  binanceusdm:", "  okx:", ":6: venues.okx: unknown key"),
        (
            "taker_fee_percent: 0.05",
            "taker_fee_percent: 50",
            ":7: venues.binanceusdm.taker_fee_percent: expected 0",
        ),
        (
            "taker_fee_percent: 0.05",
            "taker_fee_percent: -0.01",
            ":7: venues.binanceusdm.taker_fee_percent: expected",
        ),
        (
            "maker_fee_percent: -0.01",
            "maker_fee_percent: -1",
            ":8: venues.binanceusdm.maker_fee_percent: expected",
        ),
        ("taker_fee_percent: 0.05", "taker_fee: 0.05", ":7: venues.binanceusdm.taker_fee: unknown key"),
        ("      default: 0.5\n", "", ":10: venues.binanceusdm.slippage_allowance_percent.default: missing"),
        (
            "BTCUSDT: 0.2",
            "btc: 0.2",
            ":11: venues.binanceusdm.slippage_allowance_percent.btc: expected a symbol",
        ),
        (
            "BTCUSDT: 0.2",
            "BTCUSDT: 9",
            ":11: venues.binanceusdm.slippage_allowance_percent.BTCUSDT: expected",
        ),
        (
            "BTCUSDT: 0.2",
            "BTCUSDT: two",
            ":11: venues.binanceusdm.slippage_allowance_percent.BTCUSDT: expected",
        ),
    ],
)
def test_a_bad_file_names_line_and_key(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    assert before in GOOD
    with pytest.raises(YamlError) as caught:
        load(tmp_path, GOOD.replace(before, after, 1))
    message = str(caught.value)
    assert f"venues.yaml{complaint}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("seconds", "complaint"), [("5", "expected 0 (off) or 10 to 600, found 5"), ("601", "found 601")]
)
def test_a_dead_man_timer_is_off_unless_named_and_within_bounds(
    tmp_path: Path, seconds: str, complaint: str
) -> None:
    path = tmp_path / "venues.yaml"
    path.write_text(GOOD)
    assert load_venue_config(path).terms["binanceusdm"].dead_man_timer == timedelta(0)
    path.write_text(f"{GOOD}    dead_man_timer_seconds: 30\n")
    assert load_venue_config(path).terms["binanceusdm"].dead_man_timer == timedelta(seconds=30)
    with pytest.raises(YamlError, match=re.escape(complaint)):
        load(tmp_path, f"{GOOD}    dead_man_timer_seconds: {seconds}\n")
