"""What a stop without a database did, as JSON lines: each is on the disk before the next request leaves."""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

SUFFIX = ".jsonl"


class Journal:
    """One file of mode 0600, held by its writer while it is written.

    A journal that cannot be kept (a full disk, say) stops nothing: `trouble` says so, and the stop goes on.
    """

    def __init__(self, *, folder: Path, wall: Callable[[], datetime]) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._file: int | None = None
        self.trouble = ""
        self.path = folder / f"{wall():%Y%m%dT%H%M%S%f}-{os.getpid()}{SUFFIX}"
        with self._noting_trouble():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sync_folder(folder)

    def write(self, kind: str, **facts: Any) -> None:
        """Add one line, and wait until the disk has it."""
        line = json.dumps({"at": self._wall().isoformat(), "kind": kind, **facts}, default=str)
        with self._lock, self._noting_trouble():
            if self._file is not None:
                os.write(self._file, f"{line}\n".encode())
                os.fsync(self._file)

    def close(self) -> None:
        with self._lock, self._noting_trouble():
            if self._file is not None:
                os.close(self._file)
            self._file = None

    @contextlib.contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.trouble = f"{self.path}: {error.strerror}"


def _sync_folder(folder: Path) -> None:
    """The file's name must survive a power cut as well."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_being_written(path: Path) -> bool:
    """Whether the process that writes the journal still lives."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
