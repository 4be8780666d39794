"""The stop that needs no database: what it does at the venue, what it writes down, how it is adopted."""

import itertools
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper

import risk.services
from controlplane import guard
from controlplane.audit.models import AuditEvent
from controlplane.desk import ROOT, hold_desk, write_desk
from controlplane.errors import InvalidInput
from risk import models
from risk.services import sweep_stops
from risk.stops.offline_adoption import adopt_offline_stops, get_folder
from tests.risk.test_sweep import foreign, open_ids, rest, stop_entry
from tests.risk.test_sweep_positions import enter, trip, wait_for
from tests.trading.foreign import trade_by_hand
from trading import market
from trading import models as facts
from trading.core.sizing import round_to_grid
from trading.core.values import Side
from trading.dispatch.offline import OfflineOrder, OfflineResult, stop_offline
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks
from trading.venues.keys import list_key_accounts

D = Decimal
ORDER = "/fapi/v1/order"
CLOSED_PORT = "postgres://nobody:nothing@127.0.0.1:1/nowhere"


@pytest.fixture
def desk(venue_desk: Any, tmp_path: Path) -> Any:
    venue_desk.settings.STATE_DIR = tmp_path
    return venue_desk


def stop(positions: str = "keep", scope: str = "all", seconds: float = 40.0) -> OfflineResult:
    """Without pauses: each look at the clock is a second."""
    looks = itertools.count()
    return stop_offline(
        OfflineOrder(scope=scope, positions=positions, actor="olga", reason="the database is gone"),
        folder=get_folder(),
        wall=lambda: datetime.now(UTC),
        seconds=seconds,
        pause=lambda _: None,
        clock=lambda: float(next(looks)),
    )


def read(result: OfflineResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.journal.read_text().splitlines()]


def reducing(desk: Any) -> str:
    mark = desk.refresh_price()
    price = round_to_grid(mark * D("1.05"), D("0.01"), "ROUND_FLOOR")
    return foreign(desk, side=Side.SELL, price=price, reduce_only=True)


def environment(desk: Any, home: Path, **changes: str) -> dict[str, str]:
    """Neither database nor Redis: only keys, the venue's address and a folder."""
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_OWNER_URL"}}
    return kept | {
        "DATABASE_URL": CLOSED_PORT,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "CONTROLPLANE_HOME": str(home),
        "CONTROLPLANE_NO_BOOTSTRAP": "1",
        "SIMULATED_VENUES": f"binanceusdm={desk.address}",
        **changes,
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), "emergency_stop", *arguments]


TRIP = ("trip", "--offline", "--actor", "olga", "--reason", "the database is gone")


# Without a database -------------------------------------------------------------------------------


def test_orders_that_can_add_risk_go_and_protections_stay_without_any_database(desk, tmp_path):
    enter(desk)
    order, other, conditional, leaving = (
        rest(desk, "SOLUSDT"),
        foreign(desk),
        stop_entry(desk),
        reducing(desk),
    )

    done = subprocess.run(
        command(*TRIP, "--json"), env=environment(desk, tmp_path), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert (answer["confirmed"], answer["places"], answer["outstanding"]) == (
        True,
        ["default@binanceusdm"],
        {},
    )
    assert {order.client_order_id, other, conditional}.isdisjoint(open_ids(desk))
    assert leaving in open_ids(desk)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert desk.held() == D("0.04")
    journal = Path(answer["journal"])
    assert (journal.parent, journal.stat().st_mode & 0o777) == (tmp_path / "offline_stops", 0o600)
    assert journal.parent.stat().st_mode & 0o777 == 0o700


def test_it_needs_no_setting_at_all_but_keys_and_the_venue(desk, tmp_path):
    names = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"}
    bare = {k: v for k, v in environment(desk, tmp_path).items() if k not in names}
    done = subprocess.run(
        command("sweep", "--offline"), env=bare, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("default@binanceusdm: confirmed\njournal: ")


def test_a_running_desk_whose_database_died_lends_its_keys_and_addresses(desk, tmp_path):
    given = environment(desk, tmp_path)
    lent = ("BINANCE_API_KEY", "BINANCE_API_SECRET", "SIMULATED_VENUES", "DATABASE_URL", "REDIS_URL")
    with hold_desk(tmp_path):
        write_desk(tmp_path, {"environment": {name: given.pop(name) for name in lent}})
        done = subprocess.run(command(*TRIP), env=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "desk.json").write_text("not JSON")
    with hold_desk(tmp_path):
        done = subprocess.run(
            command(*TRIP),
            env=given | {name: os.environ[name] for name in lent[:2]},
            capture_output=True,
            text=True,
            check=False,
        )
    # Without an address there is nothing to ask, and that is what it says.
    assert done.returncode == 1
    assert "SIMULATED_VENUES names no address" in done.stdout


def test_what_is_not_confirmed_is_exit_1_and_named(desk, tmp_path):
    foreign(desk)
    desk.fault("error_before", method="DELETE", path=ORDER, times=10_000)
    done = subprocess.run(
        command(*TRIP, "--seconds", "0"),
        env=environment(desk, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "not every venue has confirmed" in done.stderr
    assert "default@binanceusdm: cancel ETHUSDT: unknown" in done.stdout


def test_a_kill_leaves_a_journal_that_says_what_was_asked(desk, tmp_path):
    foreign(desk)
    desk.fault("delay", method="DELETE", path=ORDER, seconds=20)
    child = subprocess.Popen(command(*TRIP), env=environment(desk, tmp_path), stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: bool(desk.venue.faults.fired), "the request")
        assert adopt_offline_stops() == 1
        # It is still being written: the desk is HALTED already, and the file stays where it is.
        assert facts.TradingState.objects.get(scope="all").state == "HALTED"
        assert len(list(get_folder().glob("*.jsonl"))) == 1
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    (path,) = get_folder().glob("*.jsonl")
    last = json.loads(path.read_text().splitlines()[-1])
    assert (last["kind"], last["what"], last["symbol"]) == ("request", "cancel", "ETHUSDT")

    with open(path, "a", encoding="utf-8") as file:
        file.write('{"kind": "torn')
    assert adopt_offline_stops() == 1
    assert not list(get_folder().glob("*.jsonl"))
    assert models.StopEvent.objects.count() == 1
    assert len(models.StopEvent.objects.get().evidence["offline"]) == 2


def test_every_request_is_written_before_and_after(desk):
    name = foreign(desk)
    lines = read(stop())
    assert [line["kind"] for line in (lines[0], lines[-2], lines[-1])] == ["begin", "confirmed", "end"]
    asked = [(line["kind"], line.get("what"), line.get("client_order_id")) for line in lines[1:-2]]
    looked = [("request", "read orders", None), ("answer", "read orders", None)]
    assert asked == [*looked, ("request", "cancel", name), ("answer", "cancel", name), *looked, *looked]
    assert (lines[0]["actor"], lines[0]["scope"], lines[-1]["confirmed"]) == ("olga", "all", True)


def test_flatten_closes_everything_reduce_only_and_in_slices(desk):
    enter(desk)
    trade_by_hand(desk.venue, "SOLUSDT", "SELL", "0.5")
    result = stop("flatten")
    assert result.is_confirmed
    assert (desk.held(), desk.held("SOLUSDT")) == (0, 0)
    closing = [line for line in read(result) if line["kind"] == "request" and line["what"] == "close"]
    assert [(line["symbol"], line["side"]) for line in closing] == [("ETHUSDT", "sell"), ("SOLUSDT", "buy")]


def test_reduce_closes_half_once_rounded_down_to_the_lot(desk):
    enter(desk, quantity=D("0.045"))
    assert stop("reduce").is_confirmed
    assert desk.held() == D("0.023")
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_orders_that_cannot_be_read_do_not_keep_a_position_open(desk):
    enter(desk)
    desk.fault("error_before", path="/fapi/v1/openOrders", times=10_000)
    result = stop("flatten", seconds=0)
    assert (result.is_confirmed, desk.held()) == (False, 0)
    assert "venue_unavailable" in result.outstanding["default@binanceusdm"]


def test_nothing_is_confirmed_before_two_reads_agree(desk):
    desk.fault("error_before", path="/fapi/v1/openOrders", times=3)
    lines = read(stop())
    kinds = [line["kind"] for line in lines]
    assert kinds.count("failed") == 3
    assert kinds[-2:] == ["confirmed", "end"]


@pytest.mark.parametrize(
    "scope", ["strategy:trend", "symbol:ETHUSDT", "", "all:x", "venue:nowhere", "venue:"]
)
def test_a_scope_that_the_venues_cannot_tell_is_refused(desk, scope):
    with pytest.raises(InvalidInput):
        stop(scope=scope)
    assert not get_folder().exists()


def test_accounts_are_those_that_keys_name(desk, monkeypatch):
    def names() -> tuple[str, ...]:
        return list_key_accounts(prefix="BINANCE", default="default")

    assert names() == ("default",)
    monkeypatch.setenv("BINANCE_API_KEY__PAPER_TWO", "another-key")
    monkeypatch.setenv("BINANCE_API_SECRET__PAPER_TWO", "another-secret")
    assert names() == ("paper-two", "default")
    # The same pair twice is the same venue account: it is swept once.
    monkeypatch.setenv("BINANCE_API_KEY__PAPER_TWO", os.environ["BINANCE_API_KEY"])
    assert names() == ("paper-two",)
    monkeypatch.delenv("BINANCE_API_KEY")
    assert names() == ("paper-two",)
    monkeypatch.delenv("BINANCE_API_KEY__PAPER_TWO")
    assert names() == ("default",)
    result = stop(seconds=0)
    assert "BINANCE_API_KEY is not set" in result.outstanding["default@binanceusdm"]


def test_an_account_whose_key_is_refused_holds_up_no_other(desk, monkeypatch):
    name = foreign(desk)
    monkeypatch.setenv("BINANCE_API_KEY__OTHER", "unknown-key")
    monkeypatch.setenv("BINANCE_API_SECRET__OTHER", "unknown-secret")
    result = stop(seconds=12)
    assert list(result.outstanding) == ["other@binanceusdm"]
    assert name not in open_ids(desk)


def test_a_journal_that_cannot_be_kept_stops_nothing(desk, tmp_path):
    name = foreign(desk)
    (tmp_path / "offline_stops").write_text("a file where the folder should be")
    result = stop()
    assert (result.is_confirmed, name in open_ids(desk)) == (True, False)
    assert result.journal_trouble


def test_the_command_stops_in_this_process_too(desk):
    out = StringIO()
    call_command("emergency_stop", *TRIP, "--scope", f"account:{desk.place.account.name}", stdout=out)
    assert out.getvalue().startswith(f"{desk.place}: confirmed\n")
    with pytest.raises(CommandError, match="invalid_input"):
        call_command("emergency_stop", *TRIP, "--scope", "symbol:X", stdout=OutputWrapper(StringIO()))


# Adopted at the next start --------------------------------------------------------------------------


def test_the_journal_becomes_a_stop_that_is_latched_and_swept(desk):
    enter(desk)
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)
    result = stop("flatten")

    assert adopt_offline_stops() == 1

    event = models.StopEvent.objects.get()
    assert (event.scope, event.source, event.actor) == ("all", "manual", "system:offline")
    assert event.reason == "the database is gone (offline, by olga)"
    assert (event.positions, event.progress) == ("flatten", "STOPPING")
    (kept,) = event.evidence["offline"]
    assert (kept["file"], kept["lines"][0]["kind"]) == (result.journal.name, "begin")
    audited = AuditEvent.objects.get(action="risk.offline_stop")
    assert (audited.subject_id, audited.payload["detail"]["event_id"]) == (kept["digest"], event.pk)
    assert audited.payload["detail"]["confirmed"] is True
    assert facts.TradingState.objects.get(scope="all").state == "HALTED"
    assert [path.name for path in get_folder().iterdir()] == [f"{result.journal.name}.adopted"]

    sweep_stops(clocks=get_clocks())
    event.refresh_from_db()
    assert (event.progress, desk.held(), desk.resting()) == ("STOPPED", 0, [])


def test_a_journal_counts_once_even_if_the_process_died_before_the_file_was_renamed(desk):
    result = stop()
    assert adopt_offline_stops() == 1
    adopted = result.journal.with_name(result.journal.name + ".adopted")
    adopted.rename(result.journal)

    assert adopt_offline_stops() == 0
    assert AuditEvent.objects.filter(action="risk.offline_stop").count() == 1
    assert adopted.exists()
    assert adopt_offline_stops() == 0


def test_a_second_journal_joins_the_stop_that_stands_and_raises_its_policy(desk):
    stop()
    adopt_offline_stops()
    stop("flatten")
    assert adopt_offline_stops() == 1
    event = models.StopEvent.objects.get()
    assert event.positions == "flatten"
    assert len(event.evidence["offline"]) == 2


@pytest.mark.parametrize(
    ("scope", "halted"),
    [
        ("venue:binanceusdm", "venue:binanceusdm"),
        ("account:paper-main", "account:paper-main"),
        ("account:default", "all"),
        ("venue:elsewhere", "all"),
        ("nonsense", "all"),
    ],
)
def test_what_the_desk_does_not_know_halts_everything(desk, scope, halted):
    get_folder().mkdir()
    line = {"kind": "begin", "scope": scope.replace("paper-main", desk.place.account.name), "positions": "x"}
    (get_folder() / "20260101T000000-1.jsonl").write_text(json.dumps(line))
    assert adopt_offline_stops() == 1
    event = models.StopEvent.objects.get()
    assert event.scope == halted.replace("paper-main", desk.place.account.name)
    assert event.positions == "keep"


def test_a_journal_that_cannot_be_read_halts_everything_once_and_the_others_count_too(desk):
    (get_folder() / "20260101T000000-1.jsonl").mkdir(parents=True)
    stop("flatten", scope=f"account:{desk.place.account.name}")

    assert adopt_offline_stops() == 2
    assert adopt_offline_stops() == 0

    account = f"account:{desk.place.account.name}"
    assert "cannot be read" in models.StopEvent.objects.get(scope="all").reason
    assert set(models.StopEvent.objects.values_list("scope", "positions")) == {
        ("all", "keep"),
        (account, "flatten"),
    }
    assert AuditEvent.objects.filter(action="risk.offline_stop").count() == 2


def test_a_journal_that_cannot_be_renamed_counts_once_and_keeps_nothing_from_being_swept(desk):
    enter(desk)
    result = stop()
    result.journal.with_name(result.journal.name + ".adopted").mkdir()

    guard.sweep_stops()
    guard.sweep_stops()

    assert models.StopEvent.objects.get().progress == "STOPPED"
    assert AuditEvent.objects.filter(action="risk.offline_stop").count() == 1


def test_what_goes_wrong_with_journals_keeps_no_stop_from_being_swept(desk, monkeypatch):
    event = trip()

    def fail() -> int:
        raise OSError("the disk is gone")

    monkeypatch.setattr(risk.services, "adopt_offline_stops", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        guard.sweep_stops()

    event.refresh_from_db()
    assert event.progress == "STOPPED"


def test_an_empty_journal_halts_everything(desk):
    get_folder().mkdir()
    (get_folder() / "20260101T000000-1.jsonl").write_bytes(b"\x00\xff not json\n[1]")
    assert adopt_offline_stops() == 1
    assert models.StopEvent.objects.get().scope == "all"


def test_no_cycle_trades_before_the_desk_is_halted(desk):
    from controlplane.cycle import run_due_cycles

    market.refresh_instruments(
        venue=desk.place.venue, account=desk.place.account.name, market_at=get_clocks().market_at
    )
    stop()
    run_due_cycles()
    assert facts.TradingState.objects.get(scope="all").state == "HALTED"
    assert not list(get_folder().glob("*.jsonl"))
