"""The words of the emergency stop: sources, progress, steps; and what of an order could add risk."""

from enum import StrEnum

from trading.core.values import OrderReport, Scope


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


def can_add_risk(report: OrderReport) -> bool:
    """Whether a resting order could increase |position|: neither reduce-only nor closing.

    An order of ours and a foreign one are told apart nowhere here: both count (RISK.md rule 16).
    """
    return not report.state.is_final and not report.reduce_only and not report.close_position
