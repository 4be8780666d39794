"""What `up` accepts, and how it refuses: one line, with nothing touched."""

import gzip
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.desk import DeskError
from controlplane.supervisor.console import Console
from controlplane.supervisor.options import (
    GENERATED_START,
    LONGEST_WARM_UP,
    Options,
    check_port,
    free_port,
    load_market,
    remember_candles,
)
from controlplane.supervisor.plan import DRILL_ACCOUNT, Addresses, Plan, plan_venues
from risk.stops.rules import get_stop_rules

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = Options(seconds=None, port=8000, candles=None, seed=1, speed=60, json=False, fresh=False)
FIRST = datetime(2025, 6, 10, tzinfo=UTC)


def up(home: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    unset = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SECRET_KEY")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, "manage.py", "up", *arguments],
        cwd=ROOT,
        env=environment | {"CONTROLPLANE_HOME": str(home), "CONTROLPLANE_NO_BOOTSTRAP": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def write_candles(folder: Path, *, bars: int = 600, spoil: int | None = None) -> Path:
    folder.mkdir()
    lines = ["date,open,high,low,close,volume"]
    for index in range(bars):
        at = (FIRST + timedelta(minutes=index)).isoformat()
        lines.append(f"{at},100,101,99,100,5" if index != spoil else f"{at},100,98,99,100,5")
    (folder / "BTCUSDT.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
    return folder


def test_malformed_candles_are_one_line_and_touch_nothing(tmp_path):
    candles = write_candles(tmp_path / "candles", spoil=7)
    refused = up(tmp_path / "home", "--candles", str(candles))
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr == ("--candles: BTCUSDT.csv.gz, line 9, column high: is below open, low or close\n")
    assert not (tmp_path / "home").exists()


def test_a_used_port_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = up(tmp_path / "home", "--port", str(port))
    assert refused.returncode == 2
    assert refused.stderr == f"--port: 127.0.0.1:{port} cannot be used: Address already in use\n"
    assert not (tmp_path / "home" / "pg").exists()


def test_another_environment_than_paper_is_refused(tmp_path):
    refused = up(tmp_path / "home", TRADING_ENVIRONMENT="live")
    assert refused.returncode == 2
    assert refused.stderr == "up runs on paper only, and TRADING_ENVIRONMENT is live\n"


@pytest.mark.parametrize(
    "arguments",
    [("--speed", "0"), ("--speed", "x"), ("--for", "-1"), ("--for", "nan"), ("--port", "0"), ("more",)],
)
def test_bad_arguments_are_usage_errors(tmp_path, arguments):
    refused = up(tmp_path / "home", *arguments)
    assert refused.returncode == 2
    assert "manage.py up: error:" in refused.stderr


def test_candles_begin_after_a_warm_up_within_their_span(tmp_path):
    market = load_market(replace(DEFAULTS, candles=write_candles(tmp_path / "candles", bars=600)))
    assert market.starts_at == FIRST + timedelta(minutes=450)
    assert market.candle_set.startswith("candles:")
    long = load_market(replace(DEFAULTS, candles=write_candles(tmp_path / "long", bars=18_000)))
    assert long.starts_at == FIRST + LONGEST_WARM_UP
    assert long.candle_set != market.candle_set


def test_known_candles_are_not_read_again_and_changed_ones_are(tmp_path):
    options = replace(DEFAULTS, candles=write_candles(tmp_path / "candles"))
    market = load_market(options, tmp_path)
    remember_candles(replace(market, candle_set="as remembered"), tmp_path)
    assert load_market(options, tmp_path).candle_set == "as remembered"
    (tmp_path / "candles" / "BTCUSDT.csv.gz").write_bytes(gzip.compress(b"spoilt"))
    with pytest.raises(DeskError, match=r"^--candles: BTCUSDT\.csv\.gz, line 1: "):
        load_market(options, tmp_path)


def test_generated_candles_are_named_by_their_seed():
    one, two = (load_market(replace(DEFAULTS, seed=seed)) for seed in (1, 2))
    assert one.starts_at == two.starts_at == GENERATED_START
    assert one.candle_set != two.candle_set
    assert one.venues == ("binanceusdm",)


def test_a_free_port_can_be_used():
    check_port(free_port())


def make_plan(tmp_path: Path, **changes: object) -> Plan:
    plan = Plan(
        state_dir=tmp_path,
        options=replace(DEFAULTS, port=8123, candles=tmp_path / "candles"),
        addresses=Addresses(
            database_url="postgres://app@/x", owner_url="postgres://owner@/x", redis_url="unix:///x?db=0"
        ),
        secrets={"secret_key": "s", "venue_api_key": "k", "venue_api_secret": "q", "venue_passphrase": "p"},
        venue_ports={"binanceusdm": 8101},
        alert_port=8102,
    )
    return replace(plan, **changes)


def test_no_process_gets_a_persons_keys_or_the_owners_address(tmp_path, monkeypatch):
    for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET", "BINANCE_API_KEY__PAPER_MAIN", "OKX_API_KEY_FILE"):
        monkeypatch.setenv(name, "a real one")
    monkeypatch.setenv("DATABASE_OWNER_URL", "postgres://elsewhere/x")
    plan = make_plan(tmp_path)
    environment = plan.environment()
    assert "a real one" not in environment.values()
    assert environment["BINANCE_API_KEY"] == "k"
    drill = [environment[f"BINANCE_API_{half}__PAPER_DRILL"] for half in ("KEY", "SECRET")]
    assert len({*drill, "k", environment["BINANCE_API_SECRET"]}) == 4
    assert environment["SIMULATED_VENUES"] == "binanceusdm=http://127.0.0.1:8101"
    assert environment["TRADING_ENVIRONMENT"] == "paper"
    assert environment["WEB_URL"] == "http://127.0.0.1:8123"
    assert "DATABASE_OWNER_URL" not in environment
    assert plan.owner_environment()["DATABASE_OWNER_URL"] == "postgres://owner@/x"
    assert json.loads(json.dumps(plan.description()))["database_owner_url"] == "postgres://owner@/x"


def test_each_venue_replays_the_desks_candles(tmp_path):
    (venue,) = plan_venues(make_plan(tmp_path))
    assert venue.name == "venue-binanceusdm"
    command = " ".join(venue.command[1:]).partition("manage.py ")[2]
    assert command == (
        "simulated_venue --skip-checks --venue binanceusdm --port 8101"
        f" --state-dir {tmp_path}/venues/binanceusdm --seed 1 --account paper-drill"
        f" --candles {tmp_path}/candles"
    )


def test_the_account_that_is_stopped_for_practice_is_the_configured_one():
    assert get_stop_rules().drill_account == DRILL_ACCOUNT


def test_the_console_passes_on_whole_new_lines_and_a_script_sees_none(tmp_path, capsys):
    log = tmp_path / "web.log"
    log.write_text("of an earlier run\n")
    console = Console(tmp_path, quiet=False)
    console.start_logs()
    with open(log, "a") as file:
        file.write("one\ntw")
        file.flush()
        console.show_logs()
        file.write("o\n")
        file.flush()
        console.show_logs()
    assert capsys.readouterr().out == "web          | one\nweb          | two\n"
    quiet = Console(tmp_path, quiet=True)
    quiet.show_logs()
    quiet.say("a notice")
    assert capsys.readouterr().out == ""
    assert (tmp_path / "up.log").read_text() == "a notice\n"
