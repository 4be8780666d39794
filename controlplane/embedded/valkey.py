"""One Valkey beside the desk."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from controlplane.desk import DeskError
from controlplane.embedded.binaries import find_valkey, last_log_line, server_environment
from controlplane.embedded.place import Place
from controlplane.process import start_child, stop_child, tie_to_this_process

START_SECONDS = 60.0


class Valkey:
    """One Valkey in `valkey/` of the desk, append-only, reachable through its socket alone."""

    name = "valkey"
    stage = 0
    stop_steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))

    def __init__(self, place: Place) -> None:
        self.place = place
        self.binary = find_valkey()
        self.data_dir = place.state_dir / "valkey"
        self.log = place.log_dir / "valkey.log"
        self.socket = place.socket_dir / "valkey.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, number: int = 0) -> str:
        return f"unix://{quote(str(self.socket), safe='/')}?db={number}"

    def start(self) -> subprocess.Popen[bytes]:
        self.data_dir.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        user = self.place.isolation.user
        if user is not None:
            os.chown(self.data_dir, user, user)
        command = [str(self.binary), *self.options()]
        self.process = start_child(
            tie_to_this_process(command, signal.SIGTERM), log=self.log, env=server_environment(), user=user
        )
        self.wait(self.process)
        return self.process

    def options(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers_ping(self.socket):
            if process.poll() is not None:
                raise DeskError(f"Valkey did not start: {last_log_line(self.log)}")
            if time.monotonic() > deadline:
                raise DeskError("Valkey does not answer")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            stop_child(self.process, steps=self.stop_steps)
            self.process = None


def answers_ping(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
