"""P1: a pure decision with every rule, beside NautilusTrader's RiskEngine; at most 2 x, stretch 1 x.

    .venv/bin/python -m benchmarks.p1_decision [--rounds N] [--json]

Ours: `gate.decide` on a limit entry of an account with two positions and two pending entries, every
rule run and recorded, the largest quantity found. Theirs: one limit order on a cash account, in a
process of its own (PERFORMANCE.md's figure where it cannot be installed). Needs no database.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from functools import partial

from benchmarks.anchors import AnchorMissing, Engine
from benchmarks.harness import Measured, Row, Variant, format_seconds, measure, run_alone, timed
from risk.core import gate, values
from risk.core.rules.case import LimitedCase, limit_case, open_case
from risk.core.rules.registry import ENTRY_RULES, ENTRY_SIZE_RULES, LIMIT_RULES, SIZE_RULES
from risk.core.rules.validity import permits_real_facts, permits_real_limits
from risk.core.values import Decision, Intent, Limits, Snapshot
from tests.risk import build
from trading.core.values import OrderType

D = Decimal
TARGET = 2.0
RULES = (*ENTRY_RULES, *LIMIT_RULES, *ENTRY_SIZE_RULES, *SIZE_RULES)
PER_ROUND = 300
# Measured once, on CPython 3.12; used, and named, where the engine cannot be installed.
PUBLISHED_SECONDS = 5.97e-6

EQUITY = D(12_000)
MEDIUM = {
    "profile": "MEDIUM",
    "reference_capital": EQUITY,
    "max_position_notional": D(2000),
    "max_leverage": D(10),
    "max_daily_loss_ratio": D("0.02"),
    "max_weekly_loss_ratio": D("0.07"),
    "max_positions": 5,
    "max_trades_per_day": 40,
    "max_gross_exposure": D(10_000),
    "max_net_exposure": D(6000),
}
# So tight that the largest quantity lies below the largest position and must be searched.
BISECTED = {"max_portfolio_risk_ratio": D("0.0025")}


def make_limits(**changes: object) -> Limits:
    known = {field.name for field in dataclasses.fields(Limits)}
    return build.limits(**{name: value for name, value in (MEDIUM | changes).items() if name in known})


def make_intent() -> Intent:
    return build.intent(order_type=OrderType.LIMIT, price=D("149.9"))


def make_snapshot() -> Snapshot:
    """Two positions with their stops, two entries on their way, every fact known and fresh."""
    positions = (
        build.position(symbol="BTCUSDT", quantity=D("0.004"), mark=D(100_000), **stops("97500", "105000")),
        build.position(symbol="ETHUSDT", quantity=D("0.1"), mark=D(2500), **stops("2437.5", "2625")),
    )
    pending = (
        build.pending(),
        build.pending(intent_id="3" * 8 + "-3333-3333-3333-" + "3" * 12, symbol="XRPUSDT", quantity=D(30),
                      stop_loss=D("1.95"), mark=D(2)),
    )  # fmt: skip
    return build.snapshot(
        positions=positions,
        pending=pending,
        permit=build.permit(profile="MEDIUM"),
        balance=build.balance(wallet=EQUITY, equity=EQUITY, initial_margin=D(80), maintenance_margin=D(8)),
        anchors=build.anchors(day=EQUITY, rolling_day=EQUITY, week=EQUITY, rolling_week=EQUITY),
        **make_correlations(),
    )


def stops(stop: str, target: str) -> dict[str, Decimal]:
    return {"stop_price": D(stop), "target_price": D(target)}


def make_correlations() -> dict[str, object]:
    if not any(field.name == "correlations" for field in dataclasses.fields(Snapshot)):
        return {}
    symbols = ("BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
    return {
        "correlations": tuple(
            values.CorrelationFacts(first=first, second=second, value=D("0.84" if first[0] == "B" else "0.5"))
            for first in symbols
            for second in symbols
            if first < second
        )
    }


def decide(intent: Intent, snapshot: Snapshot, limits: Limits) -> None:
    check(gate.decide(intent, snapshot, limits))


def check(decision: Decision) -> None:
    assert decision.allowed, [item.code for item in decision.breaches]
    assert decision.outcomes
    assert decision.max_quantity > 0


def check_facts(snapshot: Snapshot, limits: Limits) -> None:
    assert permits_real_facts(snapshot) is permits_real_limits(limits) is None


def measure_case(intent: Intent, snapshot: Snapshot, limits: Limits) -> None:
    assert limit_case(open_case(intent, snapshot), limits).sizes is not None


def run_rules(case: LimitedCase) -> None:
    assert not [item for item in [rule(case) for rule in RULES] if item is not None]


def find_largest(case: LimitedCase) -> None:
    assert gate.max_entry_quantity(case) > 0


def run(options: argparse.Namespace) -> Iterator[Row]:
    intent, snapshot, limits = make_intent(), make_snapshot(), make_limits()
    tight = make_limits(**BISECTED)
    check_bisected(intent, snapshot, tight)
    case = limit_case(open_case(intent, snapshot), limits)
    ours = [
        Variant(name="decide", sample=timed(partial(decide, intent, snapshot, limits))),
        Variant(name="bisected", sample=timed(partial(decide, intent, snapshot, tight))),
        Variant(name="facts", sample=timed(partial(check_facts, snapshot, limits))),
        Variant(name="book", sample=timed(partial(measure_case, intent, snapshot, limits))),
        Variant(name="rules", sample=timed(partial(run_rules, case))),
        Variant(name="largest", sample=timed(partial(find_largest, case))),
    ]
    try:
        engine = Engine()
    except AnchorMissing as missing:
        yield from rows_without(measure(ours, rounds=options.rounds, per_round=PER_ROUND), str(missing))
        return
    variants = [Variant(name="engine", sample=engine.sample), *ours]
    measured = measure(variants, rounds=options.rounds, per_round=PER_ROUND)
    engine.close()
    yield from rows(measured, f"NautilusTrader {engine.version}")


def check_bisected(intent: Intent, snapshot: Snapshot, tight: Limits) -> None:
    wide = gate.decide(intent, snapshot, make_limits()).max_quantity
    assert 0 < gate.decide(intent, snapshot, tight).max_quantity < wide


def rows(measured: Measured, anchor: str) -> Iterator[Row]:
    rules = len(gate.decide(make_intent(), make_snapshot(), make_limits()).outcomes)
    text = f"{anchor} {measured.text('engine')}"
    for name, what, target in (
        ("decide", f"pure decision, {rules} rules recorded, largest quantity found", TARGET),
        ("bisected", "the same, largest quantity below the largest position", None),
        ("facts", "part: are all facts and limits numbers", None),
        ("book", "part: the book, before and with the order", None),
        ("rules", "part: every rule", None),
        ("largest", "part: the largest quantity", None),
    ):
        yield Row(
            goal="P1",
            what=what,
            ours=measured.text(name),
            anchor=text,
            ratio=measured.ratio(name),
            target=target,
            null=measured.null,
            note="stretch 1.0" if target else "",
        )


def rows_without(measured: Measured, why: str) -> Iterator[Row]:
    yield Row(
        goal="P1",
        what="pure decision, every rule recorded",
        ours=measured.text("decide"),
        anchor=f"published figure {format_seconds(PUBLISHED_SECONDS)}, not of this run",
        ratio=measured.median("decide") / PUBLISHED_SECONDS,
        target=TARGET,
        null=measured.null,
        note=why,
    )


if __name__ == "__main__":
    run_alone(__doc__, run)
