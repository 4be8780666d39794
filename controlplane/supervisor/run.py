"""`manage.py up` from beginning to end."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from controlplane.desk import (
    DeskError,
    forget_desk,
    get_state_dir,
    hold_desk,
    load_secrets,
    make_state_dir,
    read_json,
    write_desk,
)
from controlplane.embedded import Postgres, Valkey, choose_place, last_log_line
from controlplane.env import env_str
from controlplane.process import start_child, stop_child, tie_to_this_process
from controlplane.supervisor.console import Console, describe_demo, describe_summary
from controlplane.supervisor.fleet import Fleet, forget_dead_gauges
from controlplane.supervisor.market import MarketClockKeeper
from controlplane.supervisor.options import (
    Market,
    Options,
    check_port,
    free_port,
    load_market,
    remember_candles,
)
from controlplane.supervisor.plan import (
    CHECKED,
    Addresses,
    Plan,
    choose_venue_ports,
    ensure_signing_key,
    manage,
    plan_alert_receiver,
    plan_apps,
    plan_venues,
    plan_web,
)

# What `--fresh` removes: names of ours only, whatever folder CONTROLPLANE_HOME names.
STATE = (
    "pg", "pg.new", "valkey", "venues", "metrics", "log", "hold", "secrets.json", "demo.json", "desk.json",
    "processes.json", "beat-schedule*", "alerts.jsonl", "candles.json", "checkpoints", "audit-signing-key",
)  # fmt: skip
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK_SECONDS = 0.2
READY_SECONDS = 90.0
STEP_SECONDS = 120.0
SUMMARY_SECONDS = 60.0
DONE, FAILED = 0, 1


class Stopped(Exception):
    """Someone asked the desk to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run_up(options: Options) -> int:
    """Run a desk until it is told to stop or its time is over; returns the exit code.

    Raises DeskError, with nothing changed, where the arguments or the folder do not allow it.
    """
    environment = os.environ.get("TRADING_ENVIRONMENT") or "paper"
    if environment != "paper":
        raise DeskError(f"up runs on paper only, and TRADING_ENVIRONMENT is {environment}")
    state_dir = get_state_dir()
    market = load_market(options, state_dir)
    make_state_dir(state_dir)
    for number in STOP_SIGNALS:
        signal.signal(number, raise_stopped)
    with hold_desk(state_dir):
        check_port(options.port)
        if options.fresh:
            forget_state(state_dir)
            make_state_dir(state_dir)
        remember_candles(market, state_dir)
        return Supervisor(state_dir, options, market).run()


def raise_stopped(number: int, _: FrameType | None) -> None:
    ignore_signals()
    raise Stopped(number)


def ignore_signals() -> None:
    """Once is enough: a second Ctrl-C must not cut the orderly stop short."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def forget_state(state_dir: Path) -> None:
    for path in [found for name in STATE for found in state_dir.glob(name)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class Supervisor:
    """One desk's processes and the order in which they come and go."""

    def __init__(self, state_dir: Path, options: Options, market: Market) -> None:
        self.state_dir = state_dir
        self.options = options
        self.market = market
        self.console = Console(state_dir / "log", quiet=options.json)
        self.fleet = Fleet(state_dir, self.console.say)
        self.clock = MarketClockKeeper(self.console.say)
        self.place = choose_place(state_dir)
        self.metrics_dir = state_dir / "metrics"

    def run(self) -> int:
        with ExitStack() as stack:
            stack.callback(forget_desk, self.state_dir)
            stack.callback(self.console.show_logs)
            stack.callback(self.place.remove_sockets)
            stack.callback(self.fleet.stop)
            stack.callback(self.clock.pause)
            stack.callback(ignore_signals)
            try:
                return self.stay(self.start())
            except Stopped as stopped:
                self.console.say(f"stopping ({stopped})")
                return DONE if self.options.seconds is None else 128 + stopped.number

    def start(self) -> Plan:
        """Bring everything up; returns when the desk is ready."""
        self.console.start_logs()
        for name in ("metrics", "hold"):
            # Once, before any process starts: what is in them belongs to processes that are gone.
            shutil.rmtree(self.state_dir / name, ignore_errors=True)
            (self.state_dir / name).mkdir(mode=0o700)
        secrets = load_secrets(self.state_dir)
        ensure_signing_key(self.state_dir)
        plan = Plan(
            state_dir=self.state_dir,
            options=self.options,
            addresses=self.start_servers(secrets),
            # The caller's own key where there is one: other commands run without the caller's environment.
            secrets={**secrets, "secret_key": env_str("SECRET_KEY", secrets["secret_key"])},
            venue_ports=choose_venue_ports(self.market.venues),
            alert_port=free_port(),
            alert_urls=env_str("ALERT_URLS", ""),
        )
        self.prepare_database(plan)
        write_desk(self.state_dir, plan.description())
        self.fleet.start(*plan_venues(plan), plan_alert_receiver(plan), plan_web(plan))
        self.call(plan, "seed_demo", plan.environment())
        self.fleet.start(*plan_apps(plan))
        self.wait_for_venues(plan)
        self.wait_until_ready(plan)
        return plan

    def start_servers(self, secrets: Mapping[str, str]) -> Addresses:
        """Embedded servers, except those that the environment already names."""
        database_url, redis_url = env_str("DATABASE_URL", ""), env_str("REDIS_URL", "")
        owner_url = env_str("DATABASE_OWNER_URL", "") or None
        if not redis_url:
            valkey = Valkey(self.place)
            self.fleet.start(valkey)
            redis_url = valkey.url()
        if not database_url:
            postgres = Postgres(self.place, secrets)
            self.fleet.start(postgres)
            postgres.ensure_database()
            database_url, owner_url = postgres.url("app"), postgres.url("owner")
        return Addresses(database_url=database_url, owner_url=owner_url, redis_url=redis_url)

    def prepare_database(self, plan: Plan) -> None:
        """Migrate with the owner's role, then start or resume market time with the application's."""
        alias = "default" if plan.addresses.owner_url is None else "owner"
        self.clock.connect(plan.environment())
        if self.clock.needs_migration():
            arguments = ["migrate", "--database", alias, *CHECKED]
            self.finish("migrate", self.begin(plan, arguments, plan.owner_environment()))
        # After the migration, which may be what puts the guards of a table in place.
        self.clock.check_database()
        self.clock.start(self.market, speed=self.options.speed)

    def call(self, plan: Plan, command: str, environment: Mapping[str, str]) -> None:
        self.finish(command, self.begin(plan, [command, *CHECKED], environment))

    def begin(
        self, plan: Plan, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        log = plan.state_dir / "log" / f"{arguments[0]}.log"
        return start_child(tie_to_this_process(manage(*arguments), signal.SIGTERM), log=log, env=environment)

    def finish(self, name: str, child: "subprocess.Popen[bytes]") -> None:
        try:
            code = child.wait(timeout=STEP_SECONDS)
        except subprocess.TimeoutExpired:
            raise DeskError(f"{name} did not end within {STEP_SECONDS:.0f} s") from None
        finally:
            stop_child(child, steps=((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)))
        if code != 0:
            raise DeskError(f"{name}: {last_log_line(self.state_dir / 'log' / f'{name}.log')}")

    def wait_for_venues(self, plan: Plan) -> None:
        deadline = time.monotonic() + READY_SECONDS
        waiting = set(plan.venue_ports.values())
        while waiting:
            waiting = {port for port in waiting if not answers(port)}
            self.check_start(deadline, "a simulated venue does not listen")

    def wait_until_ready(self, plan: Plan) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while (reasons := ask_ready(plan.url)) is not None:
            self.check_start(deadline, f"the desk does not become ready: {reasons}")

    def check_start(self, deadline: float, problem: str) -> None:
        """Go on waiting, unless it is too late or a process cannot stay up."""
        self.fleet.tend()
        self.console.show_logs()
        if failing := self.fleet.failing():
            log = self.state_dir / "log" / f"{failing[0]}.log"
            raise DeskError(f"{failing[0]} does not stay up: {last_log_line(log)}")
        if time.monotonic() > deadline:
            raise DeskError(problem)
        time.sleep(TICK_SECONDS)

    def stay(self, plan: Plan) -> int:
        self.announce()
        until = None if self.options.seconds is None else time.monotonic() + self.options.seconds
        while until is None or time.monotonic() < until:
            self.fleet.tend()
            forget_dead_gauges(self.metrics_dir)
            self.console.show_logs()
            time.sleep(TICK_SECONDS)
        return self.conclude(plan)

    def announce(self) -> None:
        demo = read_json(self.state_dir / "demo.json") or {}
        print(f"READY {json.dumps(demo)}" if self.options.json else describe_demo(demo), flush=True)

    def conclude(self, plan: Plan) -> int:
        """Let what is running end, then count while the venues still answer."""
        self.fleet.stop("beat", "worker")
        self.clock.pause()
        summary = self.ask_summary(plan)
        print(
            f"SUMMARY {json.dumps(summary)}" if self.options.json else describe_summary(summary), flush=True
        )
        return DONE if summary["differences"] == 0 and summary["audit_verified"] else FAILED

    def ask_summary(self, plan: Plan) -> dict[str, Any]:
        done = subprocess.run(
            manage("desk_summary", "--json"),
            capture_output=True,
            text=True,
            check=False,
            env=plan.environment(),
            timeout=SUMMARY_SECONDS,
        )
        if done.returncode != 0:
            raise DeskError(f"the summary failed: {done.stderr.strip().splitlines()[-1:]}")
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer


def answers(port: int) -> bool:
    """Whether anything speaks HTTP on the port."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def ask_ready(url: str) -> str | None:
    """None when the desk is ready, else what it says is missing."""
    try:
        urllib.request.urlopen(f"{url}/health/ready", timeout=5).close()  # noqa: S310  an address of ours
    except urllib.error.HTTPError as error:
        return error.read(2000).decode("utf-8", "replace")
    except OSError as error:
        return str(error)
    return None
