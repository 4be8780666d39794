"""The words of the emergency stop: sources, progress, steps; and which orders a stop cancels."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from trading.core.values import OrderPurpose, OrderReport, Scope


class StopSource(StrEnum):
    """What tripped the stop (metric label `source`)."""

    MANUAL = "manual"
    DRILL = "drill"
    CAPITAL_LOSS = "capital_loss"
    DAILY_DRAWDOWN = "daily_drawdown"
    LOSING_RUN = "losing_run"
    STALE_DATA = "stale_data"
    EXECUTION_ERRORS = "execution_errors"
    RECONCILIATION = "reconciliation"
    GLOBAL_RISK = "global_risk"
    HEARTBEAT = "heartbeat"
    LIQUIDATION = "liquidation"


class StopProgress(StrEnum):
    """STOPPING until two reads of every venue agree that nothing rests that could add risk."""

    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


class StepAction(StrEnum):
    SETTLE = "settle"
    CANCEL = "cancel"
    PROTECT = "protect"
    REDUCE = "reduce"
    FLATTEN = "flatten"
    CONFIRM = "confirm"


class StepStatus(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    RETRYING = "retrying"


class PositionPolicy(StrEnum):
    """What a stop does with what is held."""

    KEEP = "keep"
    REDUCE = "reduce"
    FLATTEN = "flatten"


class Cause(StrEnum):
    """Why a scope may only reduce (RISK.md part 2); each cause is lifted by its own rule."""

    DAILY_LOSS = "daily_loss"
    WEEKLY_LOSS = "weekly_loss"
    MAINTENANCE_MARGIN = "maintenance_margin"
    OVERSIZE = "oversize"
    UNPROTECTED = "unprotected"
    MISMATCH = "mismatch"
    FORCED_FILL = "forced_fill"
    STALE_READING = "stale_reading"
    STALE_DATA = "stale_data"
    REARMED = "rearmed"
    DRIFT = "drift"
    NOT_ENABLED = "not_enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPolicy:
    """What a stop means for accounts of one profile; durations in wall time."""

    positions: PositionPolicy
    cool_down: timedelta
    reducing: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRules:
    """config/emergency_stop.yaml as values; ratios are parts of one, `digest` names all of them.

    `reading_interval` is market time, every other duration wall time.
    """

    digest: str
    readings: int
    reading_interval: timedelta
    absent_reducing: timedelta
    absent_trip: timedelta
    equity_difference_ratio: Decimal
    max_losing_run: int
    scratch_ratio: Decimal
    stale_data: timedelta
    max_errors: int
    error_window: timedelta
    mismatch: timedelta
    global_risk: timedelta
    heartbeat: timedelta
    protect_after: timedelta
    close_after: timedelta
    growth_ratio: Decimal
    policies: Mapping[str, StopPolicy]
    preflight_age: timedelta
    drill_account: str
    drill_every: timedelta
    drill_max_age: timedelta


def parse_scope(text: str) -> Scope:
    """all, venue:V, account:A, strategy:S or symbol:X; raises ValueError for anything else."""
    kind, colon, name = text.partition(":")
    if text == "all" or (kind in {"venue", "account", "strategy", "symbol"} and colon and name):
        return Scope(kind=kind, name=name)
    raise ValueError(f"expected all, venue:V, account:A, strategy:S or symbol:X, found {text!r}")


# A stop of these scopes also cancels orders that are not ours (RISK.md rule 16).
FOREIGN_SCOPES = frozenset({"all", "venue", "account"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What our book knows of a resting order; a foreign order has none."""

    purpose: OrderPurpose
    strategy: str


def must_cancel(report: OrderReport, owner: Owner | None, scope: Scope) -> bool:
    """Whether a stop of the scope cancels this order at the venue.

    Only what could increase |position| is cancelled: never what is reduce-only or closing, and never
    an order that our book knows as a protection or an exit, whatever the venue reports of it.
    """
    if report.state.is_final or report.reduce_only or report.close_position:
        return False
    if scope.kind == "symbol" and report.symbol != scope.name:
        return False
    if owner is None:
        return scope.kind in FOREIGN_SCOPES
    if scope.kind == "strategy" and owner.strategy != scope.name:
        return False
    return owner.purpose.adds_risk
