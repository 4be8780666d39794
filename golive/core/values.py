"""The words of pre-flight and what one check says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Purpose(StrEnum):
    """Why the desk is checked; for `rearm` HALTED is the expected state."""

    GOLIVE = "golive"
    REARM = "rearm"


class CheckName(StrEnum):
    """The six checks, in the order in which they are shown."""

    HEALTH = "check_health_endpoints"
    RISK = "check_risk_system"
    EXCHANGE = "check_exchange_connectivity"
    DATABASE = "check_database_redis"
    OBSERVABILITY = "check_observability"
    STRESS = "check_stress_scenarios"


class CheckStatus(StrEnum):
    """What a check found. INCONCLUSIVE counts as failed."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"

    @property
    def is_good(self) -> bool:
        return self in {CheckStatus.PASS, CheckStatus.NOT_APPLICABLE}


# Stress evidence says nothing about whether a stopped desk may go on.
NOT_COUNTED: Mapping[Purpose, frozenset[CheckName]] = {
    Purpose.GOLIVE: frozenset(),
    Purpose.REARM: frozenset({CheckName.STRESS}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One trouble a check has found.

    `reason` is a stable code, `text` the same for people, `next` the exact command that comes next.
    `depends_on` names the checks of which any one's own failure would explain this one.
    """

    reason: str
    text: str
    next: str
    depends_on: tuple[CheckName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a check measured: its evidence and its troubles, worst first; none of them is a pass."""

    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The verdict on one check. `seconds` is wall time; `is_counted` as in the row."""

    name: CheckName
    status: CheckStatus
    reason: str
    text: str
    details: Mapping[str, Any]
    seconds: float
    next: str
    is_counted: bool
