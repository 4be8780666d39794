"""`manage.py replay`: candles through strategies, gate and matching engine; no desk, no database, no network.

With --recorded: what other limits would have made of the decisions that the desk has stored.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.desk import write_private
from controlplane.documents import Document, to_html, to_markdown
from controlplane.yaml_file import YamlError
from risk.core.values import Limits
from risk.exposure import load_exposure
from risk.global_risk.limits import get_global_risk_path, load_global_risk_limits
from risk.limits import get_profiles_path, load_profiles
from risk.replay.impact import measure_impact
from risk.replay.impact_report import impact_as_data, impact_as_text, make_impact_page
from risk.replay.output import as_data, as_text
from risk.replay.recorded import load_recorded
from risk.replay.report import make_page
from risk.replay.run import run_replay
from risk.replay.tape import Tape, make_tape
from risk.replay.values import Hold, Plan
from trading.core.values import Side
from trading.simulator.candles import CandleError, load_candles
from trading.strategies import STRATEGIES, Strategy

USAGE = 2
NONE, ALL = "none", "all"
SIDES = {"buy": Side.BUY, "long": Side.BUY, "sell": Side.SELL, "short": Side.SELL}

T = TypeVar("T")


class Command(BaseCommand):
    help = (
        "Replays candles (or the recorded decisions) through limits, and reports what they would have done."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--candles", type=Path, metavar="DIR", help="folder of SYMBOL.csv.gz")
        what.add_argument("--recorded", action="store_true", help="the desk's own decisions instead")
        add("--profile", default="MICRO", help="which profile's limits (default MICRO)")
        add("--strategy", default=ALL, help="names with commas between, or none (default: every known one)")
        add("--limits", type=Path, metavar="FILE", help="a file like config/profiles.yaml")
        add("--balance", help="USDT at the start (default: the profile's reference capital)")
        add("--hold", default="", metavar="SYMBOL:SIDE:NOTIONAL[,…]", help="positions to open and keep")
        add("--hold-at", metavar="TIME", help="when they are opened (default: at the start)")
        add("--since", metavar="TIME", help="judge from here on; earlier candles are history")
        add("--until", metavar="TIME", help="and up to here")
        add("--report", type=Path, metavar="PATH", help="write a report, .md or .html")
        add("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        check_report(options["report"])
        limits = read_limits(options["limits"], options["profile"])
        if options["recorded"]:
            self._show_impact(limits, options)
            return
        plan = make_plan(limits, options)
        tape = read_tape(options["candles"])
        check_holds(plan, tape)
        result = run_replay(tape, plan)
        self._write_report(options["report"], lambda: make_page(result))
        self.stdout.write(json.dumps(as_data(result)) if options["json"] else as_text(result))

    def _show_impact(self, limits: Limits, options: dict[str, Any]) -> None:
        since, until = (read_time(name, options[name]) for name in ("since", "until"))
        recorded = load_recorded(since=since, until=until)
        impact = measure_impact(recorded.decisions, limits, unreadable=recorded.unreadable)
        self._write_report(options["report"], lambda: make_impact_page(impact))
        self.stdout.write(json.dumps(impact_as_data(impact)) if options["json"] else impact_as_text(impact))

    def _write_report(self, path: Path | None, make: Callable[[], Document]) -> None:
        if path is None:
            return
        page = make()
        text = to_html(page) if path.suffix == ".html" else to_markdown(page)
        try:
            write_private(path.absolute(), text)
        except OSError as error:
            raise usage(f"--report: {path}: {error.strerror}") from error


def usage(text: str) -> CommandError:
    return CommandError(text, returncode=USAGE)


def check_report(path: Path | None) -> None:
    if path is not None and path.suffix not in {".md", ".html"}:
        raise usage(f"--report: {path}: expected a name that ends with .md or .html")


def read_limits(path: Path | None, profile: str) -> Limits:
    try:
        profiles = load_profiles(path or get_profiles_path())
    except (YamlError, OSError) as error:
        raise usage(f"--limits: {error}") from error
    if profile not in profiles:
        raise usage(f"--profile: no profile {profile!r}; there are {', '.join(profiles)}")
    return profiles[profile]


def make_plan(limits: Limits, options: dict[str, Any]) -> Plan:
    try:
        exposure, global_limits = load_exposure(), load_global_risk_limits(get_global_risk_path())
    except (YamlError, OSError) as error:
        raise usage(str(error)) from error
    return Plan(
        limits=limits,
        strategies=read_strategies(options["strategy"]),
        balance=read_amount("--balance", options["balance"]) or limits.reference_capital,
        exposure=exposure,
        global_limits=global_limits,
        holds=tuple(read_hold(item) for item in options["hold"].split(",") if item),
        hold_ms=to_ms(read_time("hold-at", options["hold_at"])),
        since_ms=to_ms(read_time("since", options["since"])),
        until_ms=to_ms(read_time("until", options["until"])),
    )


def read_tape(folder: Path) -> Tape:
    try:
        return make_tape(load_candles(folder))
    except CandleError as error:
        raise usage(f"--candles: {error}") from error


def check_holds(plan: Plan, tape: Tape) -> None:
    for wanted in plan.holds:
        if wanted.symbol not in tape.symbols:
            raise usage(f"--hold: no candles of {wanted.symbol!r}; there are {', '.join(tape.symbols)}")
    for name, at_ms in (("hold-at", plan.hold_ms), ("since", plan.since_ms), ("until", plan.until_ms)):
        if at_ms is not None and not tape.first_ms <= at_ms <= tape.at_ms(tape.count - 1):
            raise usage(f"--{name}: outside the candles")


def read_strategies(text: str) -> tuple[Strategy, ...]:
    if text == ALL:
        return tuple(STRATEGIES.values())
    names = [] if text == NONE else list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in STRATEGIES:
            raise usage(f"--strategy: no strategy named {name!r}; there are {', '.join(sorted(STRATEGIES))}")
    return tuple(STRATEGIES[name] for name in names)


def read_hold(text: str) -> Hold:
    parts = text.split(":")
    if len(parts) != 3 or parts[1].lower() not in SIDES:
        raise usage(f"--hold: expected SYMBOL:SIDE:NOTIONAL with SIDE buy or sell, found {text!r}")
    notional = read_amount("--hold", parts[2])
    if notional is None:
        raise usage(f"--hold: expected an amount in USDT, found {text!r}")
    return Hold(symbol=parts[0], side=SIDES[parts[1].lower()], notional=notional)


def read_amount(option: str, text: str | None) -> Decimal | None:
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise usage(f"{option}: expected an amount in USDT, found {text!r}") from error
    if not amount.is_finite() or amount <= 0:
        raise usage(f"{option}: must be above 0, found {text!r}")
    return amount


def read_time(option: str, text: str | None) -> datetime | None:
    """A moment by ISO 8601; without a zone it is UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise usage(f"--{option}: expected a time such as 2025-10-10T18:00, found {text!r}") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def to_ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
