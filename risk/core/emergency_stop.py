"""The words of the emergency stop: sources, progress, steps; and which orders a stop cancels."""

from dataclasses import dataclass
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


class StopProgress(StrEnum):
    """STOPPING until two reads of every venue agree that nothing rests that could add risk."""

    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


class StepAction(StrEnum):
    SETTLE = "settle"
    CANCEL = "cancel"
    CONFIRM = "confirm"


class StepStatus(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    RETRYING = "retrying"


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
