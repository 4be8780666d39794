"""What a person or a script sees of the desk."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

LARGEST_LOG = 20_000_000
WIDTH = 12


class Console:
    """Notices and the processes' logs for a person; nothing but its own two lines for a script."""

    def __init__(self, log_dir: Path, *, quiet: bool) -> None:
        self._log_dir = log_dir
        self._quiet = quiet
        self._read_to: dict[Path, int] = {}

    def say(self, text: str) -> None:
        """A notice of the supervisor's own."""
        self._print("up", text, sys.stderr if self._quiet else sys.stdout)
        with open(self._log_dir / "up.log", "a", encoding="utf-8") as log:
            log.write(text + "\n")

    def start_logs(self) -> None:
        """Begin at the end of what earlier runs wrote; keep one older file of each."""
        for path in self._log_dir.glob("*.log"):
            if path.stat().st_size > LARGEST_LOG // 4:
                os.replace(path, path.with_suffix(".log.1"))
            else:
                self._read_to[path] = path.stat().st_size

    def show_logs(self) -> None:
        """Pass on what the processes wrote since the last call."""
        for path in sorted(self._log_dir.glob("*.log")):
            if path.name == "up.log":
                continue
            for line in self._read_new(path):
                if not self._quiet:
                    self._print(path.stem, line, sys.stdout)

    def _read_new(self, path: Path) -> list[str]:
        start = self._read_to.get(path, 0)
        with open(path, "rb") as file:
            file.seek(start)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        self._read_to[path] = start + len(complete)
        if self._read_to[path] > LARGEST_LOG:
            self._shorten(path)
        return complete.decode("utf-8", "replace").splitlines()

    def _shorten(self, path: Path) -> None:
        """Start the file over; its writers append, so they go on at its new end."""
        path.with_suffix(".log.1").write_bytes(path.read_bytes())
        os.truncate(path, 0)
        self._read_to[path] = 0

    def _print(self, name: str, text: str, stream: TextIO) -> None:
        print(f"{name:<{WIDTH}} | {text}", file=stream, flush=True)


def describe_demo(demo: Mapping[str, Any]) -> str:
    """The desk's address, accounts and one-time secrets for a person."""
    lines = ["", f"The desk is up: {demo['url']}/admin/", ""]
    for name, user in demo["users"].items():
        roles = ", ".join(user["roles"])
        lines.append(
            f"  {name:<10} password {user['password']}   second factor {user['totp_secret']}   {roles}"
        )
    lines += [
        "",
        f"  API token  {demo['api_token']}",
        f"  accounts   {', '.join(demo['accounts'])}   strategies {', '.join(demo['strategies'])}"
        f"   venues {', '.join(demo['venues'])}",
        "",
        "Ctrl-C stops everything.",
        "",
    ]
    return "\n".join(lines)


def describe_summary(summary: Mapping[str, Any]) -> str:
    return "\n".join(["", "Summary", *(f"  {name:<20} {value}" for name, value in summary.items()), ""])
