"""What interfaces and the wiring call: judge, execute, stop, sweep, assess, register."""

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from risk.allotments import divide_exposure
from risk.global_risk.assessment import assess_global_risk
from risk.global_risk.correlations import update_correlations
from risk.judgement import judge_intent
from risk.recording import judge_new_intent
from risk.registration import (
    ensure_limit_set,
    ensure_scopes_for_account,
    register_scope,
    store_limit_set,
)
from risk.selectors import list_unfinished_stops
from risk.stops.emergency import trip_emergency_stop
from risk.stops.rearm import lift_rearmed, record_rearm_check, request_rearm
from trading.core.values import Clocks

if TYPE_CHECKING:
    from controlplane.approvals.core import Actor
    from risk.execution import Execution
    from risk.models import Drill, StopEvent
    from trading.models import Account

__all__ = [
    "adopt_offline_stops",
    "apply_consequences",
    "assess_global_risk",
    "cancel_entries",
    "cancel_resting_entries",
    "divide_exposure",
    "ensure_limit_set",
    "ensure_scopes_for_account",
    "execute_intent",
    "judge_intent",
    "judge_new_intent",
    "lift_rearmed",
    "list_unfinished_stops",
    "record_rearm_check",
    "register_scope",
    "request_rearm",
    "run_drill",
    "run_due_drill",
    "store_limit_set",
    "sweep_stop",
    "sweep_stops",
    "trip_emergency_stop",
    "update_correlations",
    "watch_stops",
    "watch_triggers",
]


def execute_intent(*, intent_id: uuid.UUID, clocks: Clocks) -> "Execution":
    """Judge and send. The door is imported here, so that processes that only judge never load a venue."""
    from risk import execution

    return execution.execute_intent(intent_id=intent_id, clocks=clocks)


def run_drill(*, account: str | None = None, actor: "Actor | None" = None) -> "Drill":
    """Rehearse a stop on the paper account for it; without an actor the system does."""
    from risk.stops import drills

    return drills.run_drill(account=account, actor=actor or drills.DRILL)


def run_due_drill() -> "Drill | None":
    """Rehearse where the last good one is too old."""
    from risk.stops import drills

    return drills.run_due_drill()


def sweep_stop(*, event_id: int, clocks: Clocks) -> "StopEvent":
    """Bring one stop as far as the venues allow now; may be repeated."""
    from risk.stops import sweep

    return sweep.sweep_stop(event_id=event_id, clocks=clocks)


def watch_triggers(*, clocks: Clocks, began_at: datetime) -> None:
    """One look at everything that trips the stop by itself; `began_at` is when this process began to."""
    from risk.stops import triggers

    triggers.watch_all(clocks=clocks, began_at=began_at)


def apply_consequences(*, account: "Account", clocks: Clocks) -> None:
    """Restrict and lift what the account's facts say now; may be repeated."""
    from risk.reducing import consequences

    consequences.apply_consequences(account=account, clocks=clocks)


def cancel_resting_entries(*, account: "Account") -> int:
    """Cancel the entries that rest where the account may only reduce; may be repeated."""
    from risk.reducing import withdrawing

    return withdrawing.cancel_resting_entries(account=account)


def cancel_entries(*, account: "Account") -> int:
    """Cancel every entry of the account that rests; returns how many."""
    from risk.reducing import withdrawing

    return withdrawing.cancel_entries(account=account)


def sweep_stops(*, clocks: Clocks) -> None:
    """Start or resume the sweep of every stop that the venues have not confirmed, all side by side."""
    from risk.stops import sweep

    sweep.sweep_stops(events=list_unfinished_stops(), clocks=clocks)


def watch_stops(*, clocks: Clocks) -> None:
    """Look after what is held under the stops that stand confirmed."""
    from risk.stops import sweep

    sweep.watch_stops(clocks=clocks)


def adopt_offline_stops() -> int:
    """Halt for what was stopped without the database; returns how many journals are new."""
    from risk.stops import offline_adoption

    return offline_adoption.adopt_offline_stops()
