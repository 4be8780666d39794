"""Rows of permission."""

from golive.models.evidence import Demotion, UptimeSlot
from golive.models.preflight import Canary, PreflightCheck, PreflightRun, StressResult
from golive.models.programme import (
    Activation,
    ChecklistSignature,
    Evaluation,
    Freeze,
    GoLiveConfig,
    GuardCount,
    GuardTrip,
    Hold,
    Observation,
    Programme,
    Rollback,
    ValidationReport,
)

__all__ = [
    "Activation",
    "Canary",
    "ChecklistSignature",
    "Demotion",
    "Evaluation",
    "Freeze",
    "GoLiveConfig",
    "GuardCount",
    "GuardTrip",
    "Hold",
    "Observation",
    "PreflightCheck",
    "PreflightRun",
    "Programme",
    "Rollback",
    "StressResult",
    "UptimeSlot",
    "ValidationReport",
]
