"""Candle files: real ones load, and every malformed thing is one clear complaint."""

import gzip
from pathlib import Path

import pytest

from tests.trading.simulator.builders import T0, feed_of, flat
from trading.simulator.candles import CandleError, load_candles
from trading.simulator.feed import CandleFeed
from trading.simulator.instruments import INSTRUMENTS

REAL = Path(__file__).parents[4] / "shared" / "data" / "candles"
HEAD = "date,open,high,low,close,volume\n"
GOOD = "2025-06-11T00:00:00Z,10,12,9,11,5\n2025-06-11T00:01:00Z,11,11,10,10,0\n"


def write(folder: Path, content: str, name: str = "ETHUSDT.csv") -> Path:
    (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "symbols", "bar_minutes"),
    [
        ("binance_usdm_1m_2025-06", 4, 1),
        ("binance_usdm_15m_2025-10_cascade", 4, 15),
        ("binance_usdm_5m_2025-10_cascade", 2, 5),
        ("binance_usdm_1m_2026-02_crash", 5, 1),
    ],
)
def test_real_candle_sets_load(name: str, symbols: int, bar_minutes: int):
    if not (REAL / name).is_dir():
        pytest.skip(f"{name} is not here")
    candles = load_candles(REAL / name)
    assert (len(candles.series), candles.bar_ms) == (symbols, bar_minutes * 60_000)
    first, end = CandleFeed(candles).common_span()
    assert end - first > 7 * 86_400_000


def test_a_volume_of_many_digits_is_read_whole(tmp_path: Path):
    rows = GOOD.replace(",5\n", ",12345678901.5\n")
    candles = load_candles(write(tmp_path, HEAD + rows))
    assert candles.series["ETHUSDT"].bar(0).volume == 12_345_678_901_50000000


def test_plain_and_compressed_files_read_alike(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "ETHUSDT.csv.gz").write_bytes(gzip.compress((HEAD + GOOD).encode()))
    plain, packed = load_candles(write(tmp_path / "a", HEAD + GOOD)), load_candles(tmp_path / "b")
    assert plain.digest == packed.digest
    bar = packed.series["ETHUSDT"].bar(0)
    assert (bar.open_ms, bar.open, bar.high, bar.volume) == (T0, 10 * 10**8, 12 * 10**8, 5 * 10**8)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "line 1: expected the header"),
        ("time,open\n", "line 1: expected the header"),
        (HEAD, "at least two candles"),
        (HEAD + GOOD.splitlines()[0], "at least two candles"),
        (HEAD + "\n" + GOOD, "line 2: is empty"),
        (HEAD + "2025-06-11T00:00:00Z,10,12,9,11\n", "line 2: expected 6 cells, found 5"),
        (HEAD + "yesterday,10,12,9,11,5\n", "line 2, column date: is not a time"),
        (HEAD + "2025-06-11T00:00:00.5Z,10,12,9,11,5\n", "line 2, column date: is not a whole second"),
        (HEAD + "2025-06-11T00:00:00Z,ten,12,9,11,5\n", "line 2, column open: is not a number"),
        (HEAD + "2025-06-11T00:00:00Z,10,NaN,9,11,5\n", "line 2, column high: is not a finite number"),
        (HEAD + "2025-06-11T00:00:00Z,10,12,0,11,5\n", "line 2, column low: must be positive"),
        (HEAD + "2025-06-11T00:00:00Z,10,12,9,11,-5\n", "line 2, column volume: must be positive"),
        (
            HEAD + "2025-06-11T00:00:00Z,10.123456789,12,9,11,5\n",
            "line 2, column open: has more than 8 decimals",
        ),
        (HEAD + "2025-06-11T00:00:00Z,10,10.5,9,11,5\n", "line 2, column high: is below open, low or close"),
        (HEAD + "2025-06-11T00:00:00Z,10,12,10.5,11,5\n", "line 2, column low: is above open or close"),
        (HEAD + GOOD + "2025-06-11T00:03:00Z,10,12,9,11,5\n", "line 4, column date: a gap"),
        (
            HEAD + GOOD + "2025-06-11T00:01:00Z,10,12,9,11,5\n",
            "line 4, column date: out of order or repeated",
        ),
        (HEAD + "\n".join(reversed(GOOD.splitlines())), "line 3, column date: is not later"),
        (
            HEAD + "2025-06-11T00:00:00Z,10,12,9,11,5\n2025-06-11T00:00:30Z,10,12,9,11,5\n",
            "column date: bars of 30 s are not whole minutes",
        ),
        (
            HEAD + "2025-06-11T00:01:00Z,10,12,9,11,5\n2025-06-11T00:06:00Z,10,12,9,11,5\n",
            "column date: does not start on a multiple",
        ),
    ],
)
def test_a_malformed_file_is_one_complaint_naming_file_line_and_column(tmp_path, content, complaint):
    with pytest.raises(CandleError) as refused:
        load_candles(write(tmp_path, content))
    assert str(refused.value).startswith("ETHUSDT.csv")
    assert complaint in str(refused.value)


def test_a_folder_is_checked_as_a_whole(tmp_path: Path):
    with pytest.raises(CandleError, match="no such folder"):
        load_candles(tmp_path / "nowhere")
    with pytest.raises(CandleError, match="holds no SYMBOL"):
        load_candles(tmp_path)
    write(tmp_path, HEAD + GOOD)
    (tmp_path / "ETHUSDT.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(CandleError, match="given twice"):
        load_candles(tmp_path)
    (tmp_path / "ETHUSDT.csv").unlink()
    with pytest.raises(CandleError, match=r"ETHUSDT\.csv\.gz: cannot be read"):
        load_candles(tmp_path)


def test_bytes_that_are_not_text_and_two_bar_lengths_are_refused(tmp_path: Path):
    (tmp_path / "ETHUSDT.csv").write_bytes((HEAD + GOOD).encode() + b"\xff\xfe\n")
    with pytest.raises(CandleError, match="line 4: is not UTF-8"):
        load_candles(tmp_path)
    write(tmp_path, HEAD + GOOD)
    five = "2025-06-11T00:00:00Z,10,12,9,11,5\n2025-06-11T00:05:00Z,11,11,10,10,0\n"
    write(tmp_path, HEAD + five, "BTCUSDT.csv")
    with pytest.raises(CandleError, match="bar lengths differ"):
        load_candles(tmp_path)


def test_a_symbol_without_an_instrument_is_refused(tmp_path: Path):
    with pytest.raises(CandleError, match="NOSUCH: is not an instrument"):
        CandleFeed(load_candles(write(tmp_path, HEAD + GOOD, "NOSUCH.csv")))


def test_a_feed_answers_inside_its_candles_only():
    feed = feed_of(ETHUSDT=flat("2500", 3))
    assert feed.bar("ETHUSDT", T0 - 1) is None
    assert feed.bar("ETHUSDT", T0 + 180_000) is None
    assert feed.bar("ETHUSDT", T0 + 179_999) is not None
    assert len(feed.columns("ETHUSDT", T0 - 600_000, T0 + 90_000)) == 2
    assert len(feed.columns("ETHUSDT", T0 + 1, T0 + 60_000)) == 0
    assert set(feed.symbols) <= set(INSTRUMENTS)
