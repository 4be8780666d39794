"""Durability: a snapshot of the engine and a journal of the commands after it, in one folder.

A command is in the journal before it is answered. After any end, `kill -9` included, the snapshot and
the journal give the same book again, because the engine is deterministic.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from trading.simulator.engine import Engine
from trading.simulator.feed import Feed

_FORMAT = 1


class StoreError(Exception):
    """The state folder cannot be used; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One applied command: its number, market time, name and arguments."""

    number: int
    at_ms: int
    name: str
    arguments: dict[str, Any]


class Store:
    """One state folder, held by one process at a time."""

    def __init__(self, directory: Path | str) -> None:
        self._folder = Path(directory)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._folder}: cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"{self._folder}: another simulated venue uses this state") from error
        self._journal = -1
        self.number = 0

    @property
    def _snapshot_path(self) -> Path:
        return self._folder / "snapshot.json"

    def _journals(self) -> list[Path]:
        """Journals in the order of their commands; each name says the snapshot that it follows."""
        return sorted(self._folder.glob("journal-*.jsonl"))

    def close(self) -> None:
        """Let the folder go; may be called twice."""
        for descriptor in (self._journal, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._journal = self._lock = -1

    def load(self, feed: Feed) -> Engine | None:
        """The engine as it was when the last command was journaled; None for a new folder.

        Raises:
            StoreError: unreadable, or written for other candles.
        """
        try:
            saved = orjson.loads(self._snapshot_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as error:
            raise StoreError(f"{self._snapshot_path}: cannot be read: {error}") from error
        if saved.get("format") != _FORMAT or saved.get("feed") != feed.identity:
            raise StoreError(f"{self._folder}: holds the state of other candles; use a fresh folder")
        engine = Engine.restore(feed, saved["state"])
        self.number = saved["number"]
        for journal in self._journals():
            for entry in _read_journal(journal):
                if entry.number > self.number:
                    engine.advance(entry.at_ms)
                    engine.apply(entry.name, entry.arguments)
                    self.number = entry.number
        return engine

    def append(self, at_ms: int, name: str, arguments: dict[str, Any]) -> None:
        """Journal an applied command; it is in the kernel's hands when this returns."""
        self.number += 1
        if self._journal < 0:
            self._open_journal()
        line = {"number": self.number, "at_ms": at_ms, "name": name, "arguments": arguments}
        content = orjson.dumps(line) + b"\n"
        if os.write(self._journal, content) != len(content):
            raise OSError(f"{self._folder}: the journal could not be written in full")

    def _open_journal(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        name = f"journal-{self.number:015d}.jsonl"
        self._journal = os.open(self._folder / name, flags, 0o600)

    def begin_snapshot(self, engine: Engine) -> "Snapshot":
        """Take the state as bytes and start a new journal; nothing else may change the engine meanwhile."""
        saved = {
            "format": _FORMAT,
            "feed": engine.feed.identity,
            "number": self.number,
            "state": engine.state,
        }
        content = orjson.dumps(saved, default=str, option=orjson.OPT_NON_STR_KEYS)
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1
        return Snapshot(content=content, covers=tuple(self._journals()))

    def finish_snapshot(self, snapshot: "Snapshot") -> None:
        """Write the snapshot, then drop the journals it covers; a crash in between is harmless."""
        partial = self._snapshot_path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(snapshot.content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._snapshot_path)
        for journal in snapshot.covers:
            journal.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state on its way to the disk, and the journals it makes needless."""

    content: bytes
    covers: tuple[Path, ...]


def _read_journal(path: Path) -> list[Entry]:
    """Journaled commands; a last line without its end was never answered and is left out."""
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        return [Entry(**orjson.loads(line)) for line in lines]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise StoreError(f"{path}: is damaged: {error}") from error
