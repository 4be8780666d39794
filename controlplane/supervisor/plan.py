"""Which processes make a desk, and what each is told."""

import hashlib
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.desk import ROOT, write_private
from controlplane.supervisor.fleet import Program
from controlplane.supervisor.options import Options, free_port

SERVERS, VENUES, APPS = 0, 1, 2
SIGNING_KEY = "audit-signing-key"
# The supervisor has run the checks already.
CHECKED = ("--skip-checks",)
# The account on which the emergency stop is rehearsed (config/emergency_stop.yaml) has keys and a book of
# its own at the simulated venue, so that a drill touches nobody else's orders.
DRILL_ACCOUNT = "paper-drill"
DRILL_VENUES = ("binanceusdm",)
# Who reads which keys: PREFIX_API_KEY, PREFIX_API_SECRET and, where a venue wants one, PREFIX_PASSPHRASE.
KEY_PREFIXES = {"binanceusdm": "BINANCE", "bybit": "BYBIT", "okx": "OKX"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the desk's servers are; the owner's address is for migrations only."""

    database_url: str
    owner_url: str | None
    redis_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before the first process starts."""

    state_dir: Path
    options: Options
    addresses: Addresses
    secrets: Mapping[str, str]
    venue_ports: Mapping[str, int]
    alert_port: int
    # The caller's channels; "" lets the desk's own receiver have the alerts.
    alert_urls: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.options.port}"

    @property
    def metrics_dir(self) -> Path:
        return self.state_dir / "metrics"

    def settings(self) -> dict[str, str]:
        """What the desk's commands need beside the caller's environment (see .env.example)."""
        venues = [f"{venue}=http://127.0.0.1:{port}" for venue, port in self.venue_ports.items()]
        settings = {
            "CONTROLPLANE_HOME": str(self.state_dir),
            "TRADING_ENVIRONMENT": "paper",
            "DATABASE_URL": self.addresses.database_url,
            "REDIS_URL": self.addresses.redis_url,
            "PROMETHEUS_MULTIPROC_DIR": str(self.metrics_dir),
            "WEB_URL": self.url,
            "SIMULATED_VENUES": ",".join(venues),
            "SECRET_KEY": self.secrets["secret_key"],
            # A file, so that the key stands in no environment and in no description of the desk.
            "AUDIT_SIGNING_KEY_FILE": str(self.state_dir / SIGNING_KEY),
            "AUDIT_CHECKPOINT_DIR": str(self.state_dir / "checkpoints"),
        }
        settings["ALERT_URLS"] = self.alert_urls or f"json://127.0.0.1:{self.alert_port}"
        return settings | self._venue_keys()

    def _venue_keys(self) -> dict[str, str]:
        """Keys that the simulated venues know; a person's real ones have no place on paper."""
        keys: dict[str, str] = {}
        for prefix in {KEY_PREFIXES.get(venue, venue.upper()) for venue in self.venue_ports}:
            keys[f"{prefix}_API_KEY"] = self.secrets["venue_api_key"]
            keys[f"{prefix}_API_SECRET"] = self.secrets["venue_api_secret"]
            keys[f"{prefix}_PASSPHRASE"] = self.secrets["venue_passphrase"]
        suffix = DRILL_ACCOUNT.upper().replace("-", "_")
        for prefix in {KEY_PREFIXES[venue] for venue in self.venue_ports if venue in DRILL_VENUES}:
            for half in ("key", "secret"):
                # Of one secret that a desk has already, so that desks of before have it too.
                whole = f"{self.secrets['venue_api_secret']}:{DRILL_ACCOUNT}:{half}"
                name = f"{prefix}_API_{half.upper()}__{suffix}"
                keys[name] = hashlib.sha256(whole.encode()).hexdigest()
        return keys

    def environment(self) -> dict[str, str]:
        """The environment of the desk's processes."""
        kept = {name: value for name, value in os.environ.items() if not is_replaced(name)}
        own = {"PYTHONUNBUFFERED": "1", "CONTROLPLANE_NO_BOOTSTRAP": "1"}
        return kept | self.settings() | own | {"CONTROLPLANE_SUPERVISOR": str(os.getpid())}

    def owner_environment(self) -> dict[str, str]:
        if self.addresses.owner_url is None:
            return self.environment()
        return self.environment() | {"DATABASE_OWNER_URL": self.addresses.owner_url}

    def description(self) -> dict[str, object]:
        """What other commands read to find the desk."""
        return {
            "url": self.url,
            "environment": self.settings(),
            "database_owner_url": self.addresses.owner_url,
            "venues": {venue: f"http://127.0.0.1:{port}" for venue, port in self.venue_ports.items()},
        }


def ensure_signing_key(state_dir: Path) -> None:
    """Make the key that signs the log's checkpoints, once, for its owner's eyes only."""
    path = state_dir / SIGNING_KEY
    if not path.exists():
        write_private(path, secrets.token_hex(32))


def is_replaced(name: str) -> bool:
    """Whether the desk sets this itself, so that the caller's value must not come through."""
    keys = tuple(f"{prefix}_" for prefix in KEY_PREFIXES.values())
    return name.startswith((*keys, "DATABASE_OWNER_URL", "DATABASE_URL", "REDIS_URL", "AUDIT_"))


def manage(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def choose_venue_ports(venues: Sequence[str]) -> dict[str, int]:
    return {venue: free_port() for venue in venues}


def plan_venues(plan: Plan) -> list[Program]:
    return [_plan_venue(plan, venue, port) for venue, port in plan.venue_ports.items()]


def plan_alert_receiver(plan: Plan) -> Program:
    """Where alerts go while ALERT_URLS names no channel: a file of the desk."""
    command = manage("alert_receiver", "--port", str(plan.alert_port))
    return _program(plan, "alerts", VENUES, [*command, "--file", str(plan.state_dir / "alerts.jsonl")])


def _plan_venue(plan: Plan, venue: str, port: int) -> Program:
    command = manage("simulated_venue", *CHECKED, "--venue", venue, "--port", str(port))
    command += ["--state-dir", str(plan.state_dir / "venues" / venue), "--seed", str(plan.options.seed)]
    if venue in DRILL_VENUES:
        command += ["--account", DRILL_ACCOUNT]
    if plan.options.candles is not None:
        command += ["--candles", str(plan.options.candles)]
    return _program(plan, f"venue-{venue}", VENUES, command)


def plan_web(plan: Plan) -> Program:
    command = [sys.executable, "-m", "gunicorn", "controlplane.wsgi:application"]
    command += ["--chdir", str(ROOT), "--bind", f"127.0.0.1:{plan.options.port}"]
    command += ["--worker-class", "gthread", "--workers", "1", "--threads", "8"]
    command += ["--timeout", "60", "--graceful-timeout", "3", "--no-control-socket"]
    return _program(plan, "web", APPS, command)


def plan_apps(plan: Plan) -> list[Program]:
    """Worker, beat and guard."""
    celery = [sys.executable, "-m", "celery", "--quiet", *CHECKED]
    celery += ["--app", "controlplane", "--workdir", str(ROOT)]
    worker = [*celery, "worker", "--pool", "prefork", "--concurrency", "2", "--prefetch-multiplier", "1"]
    worker += ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    beat = [*celery, "beat", "--schedule", str(plan.state_dir / "beat-schedule"), "--pidfile="]
    beat += ["--loglevel", "WARNING"]
    return [
        _program(
            plan,
            "worker",
            APPS,
            worker,
            # Warm, then cold: a task that does not end is left to recovery.
            stop_steps=((signal.SIGTERM, 10.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 5.0)),
            death_signal=signal.SIGQUIT,
        ),
        _program(plan, "beat", APPS, beat),
        _program(plan, "guard", APPS, manage("guard", *CHECKED)),
    ]


def _program(
    plan: Plan,
    name: str,
    stage: int,
    command: Sequence[str],
    *,
    stop_steps: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)),
    death_signal: signal.Signals = signal.SIGTERM,
) -> Program:
    return Program(
        name=name,
        stage=stage,
        command=command,
        environment=plan.environment(),
        log=plan.state_dir / "log" / f"{name}.log",
        stop_steps=stop_steps,
        death_signal=death_signal,
    )
