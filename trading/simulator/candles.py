"""Reads candle files; every malformed thing is one CandleError naming file, line and column."""

import gzip
import hashlib
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

SCALE = 8
UNIT = 10**SCALE
COLUMNS = ("date", "open", "high", "low", "close", "volume")
_LIMIT = 2**63 - 1
_POWERS = tuple(int(10 ** (SCALE - places)) for places in range(SCALE + 1))
_PLAIN_DIGITS = 10


class CandleError(Exception):
    """A candle set cannot be used; says where and why."""

    def __init__(
        self, file: str, problem: str, *, line: int | None = None, column: str | None = None
    ) -> None:
        place = file + (f", line {line}" if line else "") + (f", column {column}" if column else "")
        super().__init__(f"{place}: {problem}")
        self.file, self.line, self.column, self.problem = file, line, column, problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One candle: prices in USDT and volume in the base asset, as whole numbers of 1e-8."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Consecutive candles of one symbol, column by column, in whole numbers of 1e-8."""

    first_ms: int
    bar_ms: int
    open: "array[int]" = field(default_factory=lambda: array("q"))
    high: "array[int]" = field(default_factory=lambda: array("q"))
    low: "array[int]" = field(default_factory=lambda: array("q"))
    close: "array[int]" = field(default_factory=lambda: array("q"))
    volume: "array[int]" = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.open)

    @property
    def end_ms(self) -> int:
        """The moment the last candle closes."""
        return self.first_ms + len(self.open) * self.bar_ms

    def bar(self, index: int) -> Bar:
        return Bar(
            open_ms=self.first_ms + index * self.bar_ms,
            open=self.open[index],
            high=self.high[index],
            low=self.low[index],
            close=self.close[index],
            volume=self.volume[index],
        )

    def between(self, start_ms: int, end_ms: int) -> "Columns":
        """The candles that open in [start, end)."""
        low = min(max(0, -((self.first_ms - start_ms) // self.bar_ms)), len(self))
        high = min(max(low, -((self.first_ms - end_ms) // self.bar_ms)), len(self))
        return Columns(
            first_ms=self.first_ms + low * self.bar_ms,
            bar_ms=self.bar_ms,
            open=self.open[low:high],
            high=self.high[low:high],
            low=self.low[low:high],
            close=self.close[low:high],
            volume=self.volume[low:high],
        )

    def append(self, values: tuple[int, int, int, int, int]) -> None:
        self.open.append(values[0])
        self.high.append(values[1])
        self.low.append(values[2])
        self.close.append(values[3])
        self.volume.append(values[4])


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleSet:
    """All symbols of one folder, with one bar length; `digest` names the content."""

    bar_ms: int
    digest: str
    series: dict[str, Columns]


def load_candles(directory: Path | str) -> CandleSet:
    """Read every SYMBOL.csv.gz or SYMBOL.csv of a folder.

    Raises:
        CandleError: no such folder, no file, a malformed file, or two bar lengths in one set.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise CandleError(str(folder), "no such folder")
    digest = hashlib.sha256()
    series: dict[str, Columns] = {}
    for symbol, path in sorted(_files(folder).items()):
        content = _content(path)
        digest.update(f"{symbol}:{len(content)}:".encode() + content)
        series[symbol] = _parse(path.name, content)
    lengths = {columns.bar_ms for columns in series.values()}
    if len(lengths) > 1:
        minutes = ", ".join(f"{symbol} {columns.bar_ms // 1000} s" for symbol, columns in series.items())
        raise CandleError(str(folder), f"bar lengths differ: {minutes}")
    return CandleSet(bar_ms=lengths.pop(), digest=digest.hexdigest(), series=series)


def _files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        symbol = path.name.removesuffix(".gz").removesuffix(".csv")
        if not path.name.endswith((".csv", ".csv.gz")):
            continue
        if symbol in found:
            raise CandleError(path.name, f"{symbol} is given twice, also by {found[symbol].name}")
        found[symbol] = path
    if not found:
        raise CandleError(str(folder), "holds no SYMBOL.csv.gz or SYMBOL.csv")
    return found


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.name.endswith(".gz") else content
    except (OSError, EOFError, zlib.error) as error:
        raise CandleError(path.name, f"cannot be read: {error}") from error


def _lines(name: str, content: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise CandleError(name, "is not UTF-8 text", line=number) from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            raise CandleError(name, "is empty", line=number)
        yield number, line.split(",")


def _parse(name: str, content: bytes) -> Columns:
    lines = _lines(name, content)
    header = next(lines, (1, []))[1]
    if tuple(header) != COLUMNS:
        raise CandleError(
            name, f"expected the header {','.join(COLUMNS)}, found {','.join(header)!r}", line=1
        )
    rows = [(number, _row(name, number, cells)) for number, cells in lines]
    if len(rows) < 2:
        raise CandleError(name, "needs at least two candles to tell the bar length")
    first = rows[0][1][0]
    bar_ms = rows[1][1][0] - first
    if bar_ms <= 0:
        raise CandleError(name, "is not later than the candle before", line=rows[1][0], column="date")
    if bar_ms % 60_000:
        raise CandleError(
            name, f"bars of {bar_ms / 1000:g} s are not whole minutes", line=rows[1][0], column="date"
        )
    if first % bar_ms:
        raise CandleError(name, "does not start on a multiple of its bar length", line=2, column="date")
    columns = Columns(first_ms=first, bar_ms=bar_ms)
    for index, (number, (open_ms, values)) in enumerate(rows):
        _check_time(name, number, open_ms, first + index * bar_ms)
        columns.append(values)
    return columns


def _check_time(name: str, number: int, found_ms: int, expected_ms: int) -> None:
    if found_ms == expected_ms:
        return
    expected = datetime.fromtimestamp(expected_ms / 1000, UTC).isoformat()
    kind = "a gap" if found_ms > expected_ms else "out of order or repeated"
    raise CandleError(name, f"{kind}: expected {expected}", line=number, column="date")


def _row(name: str, number: int, cells: list[str]) -> tuple[int, tuple[int, int, int, int, int]]:
    if len(cells) != len(COLUMNS):
        raise CandleError(name, f"expected {len(COLUMNS)} cells, found {len(cells)}", line=number)
    opened = _time(name, number, cells[0])
    o, h, low, c, v = (
        _number(name, number, column, cell) for column, cell in zip(COLUMNS[1:], cells[1:], strict=True)
    )
    if h < max(o, c, low):
        raise CandleError(name, "is below open, low or close", line=number, column="high")
    if low > min(o, c):
        raise CandleError(name, "is above open or close", line=number, column="low")
    return opened, (o, h, low, c, v)


def _time(name: str, number: int, cell: str) -> int:
    try:
        at = datetime.fromisoformat(cell)
    except ValueError as error:
        raise CandleError(name, f"is not a time: {cell!r}", line=number, column="date") from error
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = at.timestamp()
    if seconds != int(seconds):
        raise CandleError(name, f"is not a whole second: {cell!r}", line=number, column="date")
    return int(seconds) * 1000


def _number(name: str, number: int, column: str, cell: str) -> int:
    whole, _, part = cell.partition(".")
    is_plain = cell.isascii() and whole.isdecimal() and (whole + part).isdecimal()
    if is_plain and len(whole) <= _PLAIN_DIGITS and len(part) <= SCALE:
        # Plain digits, as nearly every cell has them: no decimal needs to be made.
        scaled = int(whole + part) * _POWERS[len(part)]
        if scaled or column == "volume":
            return scaled
    return _unusual_number(name, number, column, cell)


def _unusual_number(name: str, number: int, column: str, cell: str) -> int:
    """The number by the rules of decimals, or what is wrong with it."""
    try:
        value = Decimal(cell)
    except InvalidOperation as error:
        raise CandleError(name, f"is not a number: {cell!r}", line=number, column=column) from error
    if not value.is_finite():
        raise CandleError(name, f"is not a finite number: {cell!r}", line=number, column=column)
    if value < 0 or (value == 0 and column != "volume"):
        raise CandleError(name, f"must be positive: {cell!r}", line=number, column=column)
    scaled = value.scaleb(SCALE)
    whole = int(scaled)
    if whole != scaled or whole > _LIMIT:
        raise CandleError(
            name, f"has more than {SCALE} decimals or is too large: {cell!r}", line=number, column=column
        )
    return whole
