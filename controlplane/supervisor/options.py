"""What `manage.py up` was asked to do, checked before anything is touched."""

import argparse
import json
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from controlplane.desk import ROOT, DeskError, read_json, write_private
from controlplane.errors import DomainError
from trading.simulator.candles import CandleError, load_candles
from trading.simulator.feed import CandleFeed
from trading.simulator.generator import GeneratedFeed
from trading.venue_config import load_venue_config

DEFAULT_PORT, DEFAULT_SPEED, DEFAULT_SEED = 8000, 60, 1
KNOWN_CANDLES = "candles.json"
# Global risk and correlations want 200 hours behind them, where a candle set has them.
LONGEST_WARM_UP = timedelta(days=9)
# Generated markets always begin here, so that a seed means the same run on any day.
GENERATED_START = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The venues to simulate, their candles, and the market time at which a fresh desk begins."""

    venues: tuple[str, ...]
    candle_set: str
    starts_at: datetime
    files: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of `up`; `seconds` counts from ready, None runs until stopped."""

    seconds: float | None
    port: int
    candles: Path | None
    seed: int
    speed: int
    json: bool
    fresh: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--for",
        dest="seconds",
        type=positive_number,
        metavar="SECONDS",
        help="end after this, with a summary",
    )
    add("--port", type=port_number, default=DEFAULT_PORT, help="of the web server on 127.0.0.1")
    add("--candles", type=Path, metavar="DIR", help="replay the SYMBOL.csv[.gz] files of this folder")
    add("--seed", type=int, default=DEFAULT_SEED, help="of the generated market")
    add("--speed", type=positive_whole, default=DEFAULT_SPEED, help="market time per wall time")
    add("--json", action="store_true", help="print one READY and one SUMMARY line only")
    add("--fresh", action="store_true", help="forget the desk's earlier state first")


def positive_number(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be above zero, found {text}")
    return number


def positive_whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {text}")
    return number


def port_number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be 1 to 65535, found {text}")
    return number


def read_options(values: Mapping[str, Any]) -> Options:
    candles = values["candles"]
    return Options(
        seconds=values["seconds"],
        port=values["port"],
        candles=None if candles is None else candles.absolute(),
        seed=values["seed"],
        speed=values["speed"],
        json=values["json"],
        fresh=values["fresh"],
    )


def load_market(options: Options, state_dir: Path | None = None) -> Market:
    """Read config/venues.yaml and the candles through; raises DeskError naming file and line.

    Candle files that this desk has read whole before, and that have not changed since, are taken as known.
    """
    try:
        venues = load_venue_config(ROOT / "config" / "venues.yaml").venues
    except DomainError as error:
        raise DeskError(error.message) from error
    files = describe_files(options.candles)
    known = None if state_dir is None or not files else read_json(state_dir / KNOWN_CANDLES)
    if known and known["files"] == files:
        candle_set, starts_at = known["candle_set"], datetime.fromisoformat(known["starts_at"])
    else:
        candle_set, starts_at = read_candles(options)
    return Market(venues=venues, candle_set=candle_set, starts_at=starts_at, files=files)


def remember_candles(market: Market, state_dir: Path) -> None:
    content = {
        "files": market.files,
        "candle_set": market.candle_set,
        "starts_at": market.starts_at.isoformat(),
    }
    write_private(state_dir / KNOWN_CANDLES, json.dumps(content))


def describe_files(folder: Path | None) -> list[list[str]]:
    """What changes when a file of the folder does; nothing where there is no such folder."""
    if folder is None or not folder.is_dir():
        return []
    found = [(path, path.stat()) for path in sorted(folder.iterdir())]
    return [
        [str(path), str(status.st_size), str(status.st_mtime_ns), str(status.st_ctime_ns)]
        for path, status in found
    ]


def read_candles(options: Options) -> tuple[str, datetime]:
    if options.candles is None:
        return GeneratedFeed(options.seed).identity, GENERATED_START
    try:
        feed = CandleFeed(load_candles(options.candles))
    except CandleError as error:
        raise DeskError(f"--candles: {error}") from error
    first, end = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in feed.common_span())
    if first >= end:
        raise DeskError(f"--candles: {options.candles}: the symbols have no time in common")
    # Strategies and measures need closed bars behind them before the first signal.
    return feed.identity, first + min(LONGEST_WARM_UP, (end - first) * 3 / 4)


def check_port(port: int) -> None:
    with socket.socket(socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DeskError(f"--port: 127.0.0.1:{port} cannot be used: {error.strerror}") from error


def free_port() -> int:
    with socket.socket(socket.AF_INET) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
