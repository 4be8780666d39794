"""Runs pytest beside a PostgreSQL and a Valkey that live for this run only."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from controlplane.desk import ROOT, load_secrets, make_state_dir
from controlplane.embedded import Postgres, Valkey, choose_place

# What would let a test reach a real desk, a real venue or a real person.
FOREIGN = (
    "DATABASE_",
    "REDIS_",
    "SECRET_KEY",
    "TRADING_",
    "BINANCE_",
    "BYBIT_",
    "OKX_",
    "ALERT_",
    "SIMULATED_",
)


def run_tests(arguments: Sequence[str]) -> int:
    """Start the servers, run pytest with the arguments, stop the servers; returns pytest's exit code.

    The servers keep their durable settings: crash tests mean nothing without them.
    """
    state_dir = Path(tempfile.mkdtemp(prefix="cp-test-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run_in(state_dir, arguments)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        shutil.rmtree(state_dir, ignore_errors=True)


def run_in(state_dir: Path, arguments: Sequence[str]) -> int:
    make_state_dir(state_dir)
    place = choose_place(state_dir)
    postgres, valkey = Postgres(place, load_secrets(state_dir)), Valkey(place)
    try:
        valkey.start()
        postgres.start()
        postgres.ensure_database()
        return run_pytest(arguments, make_environment(state_dir, postgres, valkey))
    finally:
        postgres.stop()
        valkey.stop()
        place.remove_sockets()


def run_pytest(arguments: Sequence[str], environment: dict[str, str]) -> int:
    child = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment)
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            child.wait()


def make_environment(state_dir: Path, postgres: Postgres, valkey: Valkey) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return kept | {
        "CONTROLPLANE_HOME": str(state_dir),
        "DATABASE_URL": postgres.url("app"),
        "DATABASE_OWNER_URL": postgres.url("owner"),
        "REDIS_URL": valkey.url(),
        "SECRET_KEY": postgres.secrets["secret_key"],
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
    }
