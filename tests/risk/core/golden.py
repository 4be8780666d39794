"""Decisions that were once right: what went in and what came out, written down as text.

    python -m tests.risk.core.golden

writes tests/risk/core/golden.json anew; do so only where the change of an answer is meant, and say it
in the changelog under Risk behaviour.
"""

import json
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from risk.core.gate import decide
from risk.core.values import CorrelationFacts, Intent, Limits, Snapshot
from risk.evidence import from_text, to_text
from tests.risk import build
from trading.core.values import OrderType, Side, TradingStateName

D = Decimal
PATH = Path(__file__).with_suffix(".json")
SHORT = {"side": Side.SELL, "stop_loss": D("153.75"), "take_profit": D("142.5")}
DOGE = build.position(
    symbol="DOGEUSDT", strategy="reversion", quantity=D(400), mark=D("0.2"), stop_price=D("0.196")
)
APART = CorrelationFacts(first="DOGEUSDT", second="SOLUSDT", value=D("0.31"))

Case = tuple[Intent, Snapshot, Limits | None]


def list_cases() -> dict[str, Case]:
    """One plain case of every kind of answer."""
    intent, snapshot, limits = build.intent, build.snapshot, build.limits
    held = snapshot(positions=(build.position(),))
    return {
        "a plain entry": (intent(), snapshot(), limits()),
        "a short": (intent(**SHORT), snapshot(), limits()),
        "a resting limit": (
            intent(order_type=OrderType.LIMIT, price=D(149), stop_loss=D(145)),
            snapshot(),
            limits(),
        ),
        "nothing known but the limits": (intent(), blank(snapshot()), limits()),
        "too large": (intent(quantity=D(5)), snapshot(), limits()),
        "too large and resized": (intent(quantity=D(5), may_resize=True), snapshot(), limits()),
        "between lots": (intent(quantity=D("0.605")), snapshot(), limits()),
        "beside another position": (intent(), snapshot(positions=(DOGE,), correlations=(APART,)), limits()),
        "of one bet with another": (
            intent(),
            snapshot(positions=(DOGE,)),
            limits(max_bet_risk_ratio=D("0.003")),
        ),
        "behind a pending entry": (intent(), snapshot(pending=(build.pending(),)), limits(max_positions=1)),
        "no facts at all": (intent(), blank(snapshot()), None),
        "everything stale": (intent(), late(snapshot()), limits()),
        "halted": (intent(), snapshot(states=build.states(account=TradingStateName.HALTED)), limits()),
        "reducing": (intent(), snapshot(states=build.states(symbol=TradingStateName.REDUCING)), limits()),
        "an exit": (build.exit_intent(), held, limits()),
        "an exit while halted": (
            build.exit_intent(),
            replace(held, states=build.states(all=TradingStateName.HALTED)),
            limits(),
        ),
        "an operator's exit while halted": (
            build.exit_intent(source="operator"),
            replace(held, states=()),
            None,
        ),
        "an exit of more than is held": (build.exit_intent(quantity=D(1)), held, limits()),
        "after a loss": (intent(), snapshot(balance=build.balance(equity=D(1094), wallet=D(1094))), limits()),
        "a market that ran away": (intent(), snapshot(prices=build.prices(reference=D(140))), limits()),
        "throttled": (
            intent(),
            snapshot(activity=build.activity(entries=10, throttled_at=build.WALL_AT)),
            limits(),
        ),
        "outside its allotment": (
            intent(),
            snapshot(allotments=build.allotments(all=D(50), venue=None)),
            limits(),
        ),
        "no number": (intent(quantity=D("NaN")), snapshot(), limits()),
        "a negative leverage": (intent(), snapshot(), limits(max_leverage=D(-2))),
    }


def blank(known: Snapshot) -> Snapshot:
    """The same moment with nothing known."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("account_environment", "permit", "allowed_symbols", "instrument", "setting", "prices", "balance")
    )
    nothing |= dict.fromkeys(
        ("entries_today", "reconciliation", "global_risk", "messages_last_minute", "conditional_orders")
    )
    nothing |= {"activity": None, "states": (), "anchors": (), "allotments": ()}
    return replace(known, **nothing)


def late(known: Snapshot) -> Snapshot:
    """The same facts two hours later, on both clocks."""
    hours = timedelta(hours=2)
    return replace(known, wall_at=known.wall_at + hours, market_at=known.market_at + hours)


def write_limits(limits: Limits) -> dict[str, str]:
    """Durations in seconds, everything else as it prints."""
    values = {field.name: getattr(limits, field.name) for field in fields(Limits)}
    return {
        name: str(value.total_seconds()) if isinstance(value, timedelta) else str(value)
        for name, value in values.items()
    }


def read_limits(texts: dict[str, str]) -> Limits:
    def read(kind: Any, text: str) -> Any:
        return timedelta(seconds=float(text)) if kind is timedelta else kind(text)

    return Limits(**{field.name: read(field.type, texts[field.name]) for field in fields(Limits)})


def record(case: Case) -> dict[str, Any]:
    intent, snapshot, limits = case
    answer = decide(intent, snapshot, limits)
    return {
        "intent": json.loads(to_text(intent)),
        "snapshot": json.loads(to_text(snapshot)),
        "limits": None if limits is None else write_limits(limits),
        "answer": json.loads(to_text(answer)),
    }


def read_case(stored: dict[str, Any]) -> Case:
    limits = stored["limits"]
    return (
        from_text(Intent, json.dumps(stored["intent"])),
        from_text(Snapshot, json.dumps(stored["snapshot"])),
        None if limits is None else read_limits(limits),
    )


if __name__ == "__main__":
    recorded = {name: record(case) for name, case in list_cases().items()}
    PATH.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", encoding="utf-8")
