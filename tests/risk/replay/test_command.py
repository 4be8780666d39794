"""`manage.py replay`: what it prints, what it writes, what it refuses. No test here has a database."""

import gzip
import json
import re

import pytest
from django.core.management import CommandError, call_command

from controlplane.documents import to_html, to_markdown
from controlplane.launch import needs_no_desk
from risk.replay.measures import digest_result, summarise
from risk.replay.report import make_page
from risk.replay.run import run_replay
from risk.replay.values import Hold
from tests.risk.replay.markets import D, generated, plan, real_set
from trading.core.values import Side

CASCADE = "binance_usdm_15m_2025-10_cascade"
HEAD = "date,open,high,low,close,volume\n"


@pytest.fixture
def candles(tmp_path):
    """Half a day of two symbols, as files."""
    folder = tmp_path / "candles"
    folder.mkdir()
    tape = generated(days=1)
    for symbol in tape.symbols:
        columns = tape.columns[symbol]
        rows = [HEAD]
        for number in range(720):
            bar = columns.bar(number)
            at = f"2025-06-10T{number // 60:02}:{number % 60:02}:00Z"
            cells = (bar.open, bar.high, bar.low, bar.close, bar.volume)
            rows.append(",".join([at, *(f"{D(cell).scaleb(-8):f}" for cell in cells)]) + "\n")
        (folder / f"{symbol}.csv.gz").write_bytes(gzip.compress("".join(rows).encode()))
    return folder


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("replay", *arguments)
    assert caught.value.returncode == 2
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_it_needs_no_desk_but_for_what_the_desk_recorded():
    assert needs_no_desk(["manage.py", "replay", "--candles", "x"])
    assert not needs_no_desk(["manage.py", "replay", "--recorded"])
    assert needs_no_desk(["manage.py", "replay", "--recorded", "--help"])


def test_it_prints_the_answer_first(candles, capsys):
    call_command("replay", "--candles", str(candles))
    lines = capsys.readouterr().out.splitlines()

    assert re.match(r"[-+][\d,.]+ USDT \([-+][\d.]+ %\) in ", lines[0])
    assert lines[1].startswith("Global risk was OK")
    assert re.search(r"^report digest [0-9a-f]{64}$", lines[-1])


def test_its_data_are_those_of_the_result(candles, capsys):
    call_command("replay", "--candles", str(candles), "--profile", "SMALL", "--json")
    data = json.loads(capsys.readouterr().out)
    call_command("replay", "--candles", str(candles), "--profile", "SMALL", "--json")
    again = json.loads(capsys.readouterr().out)

    assert data == again
    assert data["profile"] == "SMALL"
    assert data["decisions"]["entries"] == data["decisions"]["allowed"] + sum(
        data["decisions"]["denied_by_code"].values()
    )
    assert sum(D(amount) for amount in data["income"].values()) + D(data["equity"]["unrealised"]) == D(
        data["equity"]["end"]
    )


def test_options_shape_the_replay(candles, capsys):
    call_command(
        "replay", "--candles", str(candles), "--strategy", "none", "--balance", "500", "--json",
        "--hold", "SOLUSDT:long:40,ETHUSDT:sell:30", "--hold-at", "2025-06-10T06:00",
        "--since", "2025-06-10T05:00", "--until", "2025-06-10T08:00",
    )  # fmt: skip
    data = json.loads(capsys.readouterr().out)

    assert data["strategies"] == []
    assert data["equity"]["start"] == "500"
    assert (data["started_at"], data["ended_at"]) == ("2025-06-10T05:00:00Z", "2025-06-10T08:00:00Z")
    assert [(hold["symbol"], hold["side"]) for hold in data["holds"]] == [
        ("SOLUSDT", "buy"),
        ("ETHUSDT", "sell"),
    ]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--profile", "TINY"), "--profile"),
        (("--strategy", "trend,martingale"), "--strategy"),
        (("--limits", "nowhere.yaml"), "--limits"),
        (("--hold", "SOLUSDT:up:40"), "--hold"),
        (("--hold", "SOLUSDT:buy:plenty"), "--hold"),
        (("--hold", "SOLUSDT:buy"), "--hold"),
        (("--hold", "SOLUSDT:buy:-4"), "--hold"),
        (("--hold", "PEPEUSDT:buy:40"), "--hold"),
        (("--hold", "SOLUSDT:buy:40", "--hold-at", "noon"), "--hold-at"),
        (("--hold", "SOLUSDT:buy:40", "--hold-at", "2031-01-01"), "--hold-at"),
        (("--since", "2031-01-01"), "--since"),
        (("--balance", "0"), "--balance"),
        (("--report", "report.pdf"), "--report"),
        (("--report", "/nowhere/at/all/report.md"), "--report"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(candles, arguments, option):
    assert refused("--candles", str(candles), *arguments).startswith(option)


def test_a_limit_that_cannot_be_is_refused_with_its_line(candles, tmp_path, settings):
    file = tmp_path / "limits.yaml"
    shipped = (settings.CONFIG_DIR / "profiles.yaml").read_text(encoding="utf-8")
    file.write_text(shipped.replace("max_leverage: 2\n", "max_leverage: none\n", 1))

    assert re.search(
        r"limits\.yaml:\d+: .*max_leverage", refused("--candles", str(candles), "--limits", str(file))
    )


def test_a_broken_candle_file_is_named_with_its_line(candles):
    (candles / "SOLUSDT.csv.gz").unlink()
    rows = ["2025-06-10T00:00:00Z,1,2,1,1,5\n", "2025-06-10T00:01:00Z,1,2,1,one,5\n"]
    (candles / "SOLUSDT.csv").write_text(HEAD + "".join(rows))

    assert refused("--candles", str(candles)).startswith("--candles: SOLUSDT.csv, line 3, column close")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert "no such folder" in refused("--candles", str(tmp_path / "none"))


def test_candles_of_times_that_never_meet_are_refused(tmp_path):
    for symbol, day in (("SOLUSDT", "10"), ("ETHUSDT", "12")):
        rows = [f"2025-06-{day}T00:0{n}:00Z,1,2,1,1,5\n" for n in range(3)]
        (tmp_path / f"{symbol}.csv").write_text(HEAD + "".join(rows))

    assert "share less than two candles" in refused("--candles", str(tmp_path))


def test_a_report_is_complete_by_itself(candles, tmp_path):
    page, text = tmp_path / "r.html", tmp_path / "r.md"
    call_command("replay", "--candles", str(candles), "--report", str(page))
    call_command("replay", "--candles", str(candles), "--report", str(text))
    html, markdown = page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")

    assert html.count("<svg") == 5
    assert "<script" not in html
    assert "http" not in html
    assert "Report digest" in html
    assert "Report digest" in markdown
    assert "<svg" not in markdown


def test_denials_are_counted_by_code_and_shown():
    result = run_replay(generated(), plan("MICRO"))
    summary = summarise(result)
    denied = [ruling for ruling in result.rulings if not ruling.decision.allowed and ruling.asked]
    entries = [ruling for ruling in denied if ruling.purpose.adds_risk]

    assert sum(item.named for item in summary.denials) == len(entries) == summary.entries - summary.allowed
    for item in summary.denials:
        assert item.named == sum(ruling.reason == item.code for ruling in entries)
        assert item.breached == sum(
            item.code in {breach.code.value for breach in ruling.breaches} for ruling in entries
        )
    html = to_html(make_page(result))
    assert all(item.code in html for item in summary.denials)


def test_the_cascade_shows_when_risk_left_ok_and_what_was_denied_then():
    """A book of the LARGE profile opened in the very bar in which the market broke."""
    from risk.replay.tape import make_tape
    from trading.simulator.candles import load_candles

    tape = make_tape(load_candles(real_set(CASCADE)))
    at = {day: tape.first_ms + day * 86_400_000 for day in (38, 39, 42)}
    broke = at[39] + (21 * 60 + 15) * 60_000
    holds = tuple(
        Hold(symbol=symbol, side=Side.BUY, notional=D(notional))
        for symbol, notional in (("BTCUSDT", 9800), ("ETHUSDT", 9800), ("DOGEUSDT", 6000))
    )
    wanted = plan("LARGE", holds=holds, hold_ms=broke, since_ms=at[38], until_ms=at[42])
    result = run_replay(tape, wanted)
    markdown = to_markdown(make_page(result))
    held = {ruling.symbol: ruling for ruling in result.rulings if ruling.strategy == "hold"}
    ends = {trip.symbol: trip for trip in result.trips if trip.strategy == "hold"}

    assert held["BTCUSDT"].decision.allowed
    assert held["DOGEUSDT"].reason == "ROLLING_COLLAR"
    assert ends["BTCUSDT"].closed_by == "stop"
    assert broke < ends["BTCUSDT"].closed_ms < broke + 15 * 60_000
    assert ends["BTCUSDT"].slippage > 0
    left = [item for item in result.stretches if item.level.severity and item.at_ms // 60_000]
    assert any(broke - 6 * 3_600_000 <= item.at_ms <= broke + 3 * 3_600_000 for item in left)
    assert "ROLLING_COLLAR" in markdown
    assert "## When it was not safe, and why" in markdown
    assert digest_result(result) == digest_result(run_replay(tape, wanted))
