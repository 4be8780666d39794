"""The folder a desk lives in: its lock, its secrets, and the file by which commands find it running."""

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent


class DeskError(Exception):
    """The desk cannot start or be found; the text is one line for a person."""


def get_state_dir() -> Path:
    """The folder of CONTROLPLANE_HOME, else `var/` in the project."""
    return Path(os.environ.get("CONTROLPLANE_HOME") or ROOT / "var").absolute()


def make_state_dir(state_dir: Path) -> None:
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (state_dir / "log").mkdir(exist_ok=True)
    except OSError as error:
        raise DeskError(f"{state_dir}: {error.strerror}") from error


@contextlib.contextmanager
def hold_desk(state_dir: Path) -> Iterator[IO[str]]:
    """Hold the folder for this process; the kernel frees it whatever ends the process."""
    path = state_dir / "up.lock"
    try:
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed below
    except OSError as error:
        raise DeskError(f"{path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeskError(f"a desk is already running in {state_dir}; stop it first") from None
        yield file


def is_desk_held(state_dir: Path) -> bool:
    try:
        with open(state_dir / "up.lock", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_private(path: Path, content: str) -> None:
    """Replace the file in one step; only its owner may read it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def load_secrets(state_dir: Path) -> dict[str, str]:
    """The desk's own random secrets, made on first use and kept in a file of mode 0600."""
    path = state_dir / "secrets.json"
    wanted = {
        "owner_password": 24,
        "app_password": 24,
        "secret_key": 50,
        "venue_api_key": 32,
        "venue_api_secret": 32,
        "venue_passphrase": 16,
    }
    known = read_json(path) or {}
    missing = {name: secrets.token_urlsafe(size) for name, size in wanted.items() if name not in known}
    if missing:
        if known or (state_dir / "pg").exists():
            raise DeskError(
                f"{path} is missing or incomplete, so this desk cannot be opened; --fresh starts over"
            )
        write_private(path, json.dumps(missing))
    return {**known, **missing}


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DeskError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise DeskError(f"{path}: expected an object")
    return content


def write_desk(state_dir: Path, desk: Mapping[str, Any]) -> None:
    write_private(state_dir / "desk.json", json.dumps(desk, indent=1))


def forget_desk(state_dir: Path) -> None:
    for name in ("desk.json", "processes.json"):
        (state_dir / name).unlink(missing_ok=True)


def find_desk(state_dir: Path) -> dict[str, Any] | None:
    """What the running desk wrote about itself; None if no desk runs there."""
    return read_json(state_dir / "desk.json") if is_desk_held(state_dir) else None
