"""Rows of judgement."""

from risk.models.fields import Ratio
from risk.models.judgement import (
    AccountBook,
    Activity,
    Allotment,
    Correlation,
    Decision,
    ExposureLimits,
    GlobalRisk,
    LimitSet,
    Override,
)
from risk.models.stops import CapitalBase, Drill, RearmCheck, Restriction, StopEvent, StopStep, Watch

__all__ = [
    "AccountBook",
    "Activity",
    "Allotment",
    "CapitalBase",
    "Correlation",
    "Decision",
    "Drill",
    "ExposureLimits",
    "GlobalRisk",
    "LimitSet",
    "Override",
    "Ratio",
    "RearmCheck",
    "Restriction",
    "StopEvent",
    "StopStep",
    "Watch",
]
