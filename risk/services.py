"""What interfaces and the wiring call: judge, execute, stop, sweep, assess, register."""

import uuid
from typing import TYPE_CHECKING

from risk.allotments import divide_exposure
from risk.assessment import assess_global_risk
from risk.correlations import update_correlations
from risk.emergency import trip_emergency_stop
from risk.judgement import judge_intent
from risk.registration import (
    ensure_limit_set,
    ensure_scopes_for_account,
    register_scope,
    store_limit_set,
)
from risk.selectors import list_unfinished_stops
from trading.core.values import Clocks

if TYPE_CHECKING:
    from risk.execution import Execution
    from risk.models import StopEvent

__all__ = [
    "assess_global_risk",
    "divide_exposure",
    "ensure_limit_set",
    "ensure_scopes_for_account",
    "execute_intent",
    "judge_intent",
    "list_unfinished_stops",
    "register_scope",
    "store_limit_set",
    "sweep_stop",
    "trip_emergency_stop",
    "update_correlations",
]


def execute_intent(*, intent_id: uuid.UUID, clocks: Clocks) -> "Execution":
    """Judge and send. The door is imported here, so that processes that only judge never load a venue."""
    from risk import execution

    return execution.execute_intent(intent_id=intent_id, clocks=clocks)


def sweep_stop(*, event_id: int, clocks: Clocks) -> "StopEvent":
    """Bring one stop as far as the venues allow now; may be repeated."""
    from risk import sweep

    return sweep.sweep_stop(event_id=event_id, clocks=clocks)
