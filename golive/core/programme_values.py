"""The values of the programme: its rules, the facts its conditions ask about, one condition. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from golive.core.guards import GuardRule
from golive.core.words import Phase
from risk.core.values import RiskLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRules:
    """Conditions to enter and to leave, by name; `min_duration` is market time."""

    min_duration: timedelta
    entry: tuple[str, ...]
    exit: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammeRules:
    """config/programme.yaml as values; `digest` names all of them, `guards_digest` the guards.

    Market time: phases' durations, `max_observation`, `trade_age`. Wall time: every other duration.
    """

    digest: str
    guards_digest: str
    phases: Mapping[Phase, PhaseRules]
    marks: tuple[int, ...]
    max_observation: timedelta
    guards: Mapping[str, GuardRule]
    preflight_age: timedelta
    trade_age: timedelta
    min_symbols: int
    evaluation_age: timedelta
    approval_ttl: timedelta
    execution_ttl: timedelta
    impact_window: timedelta
    impact_decisions: int
    cumulative_window: timedelta
    cumulative_ratio: Decimal
    solo_highest: str
    solo_rung_every: timedelta

    @property
    def activation_conditions(self) -> tuple[str, ...]:
        """What activation asks for once more, each once."""
        names = (
            *self.phases[Phase.VALIDATION].entry,
            *self.phases[Phase.VALIDATION].exit,
            *self.phases[Phase.FREEZE].exit,
            *self.phases[Phase.ACTIVATION].entry,
        )
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition as of now; `code` is the refusal where it is not met, `next` what to do about it."""

    name: str
    is_met: bool
    text: str
    next: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """The loaded go_live.yaml; `above` tells of each limit of the profile over its ceiling."""

    digest: str
    is_enabled: bool
    allowed_profiles: tuple[str, ...]
    min_trades: int
    worst_risk: RiskLevel
    above: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The newest complete pre-flight for going live; `started_at` is wall time."""

    run_id: int
    is_passed: bool
    passed: int
    checks: int
    code_version: str
    started_at: datetime
    exchange_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFacts:
    """Closed round trips that count, of this code; `stops` and `targets` ended by that protection."""

    count: int
    symbols: int
    stops: int
    targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationFacts:
    profile: str
    recommendation: str
    evaluated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """The activation under observation. Marks by minute, times in market time."""

    activated_at: datetime
    verdicts: Mapping[int, str]
    trips: int
    protected_entry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammeFacts:
    """Everything that the conditions ask about, read at one moment.

    `now` is wall time, `market_now` market time. `current_profile` is that of the live permit, None on
    paper or without one; `last_rung_at` when the account was last activated a rung higher (wall time).
    Until `barred_until` (market time) a demotion keeps the account on paper. `unmet_lines` of the
    checklist are None where nothing measures it. `growth` is None before anything
    was confirmed.
    """

    now: datetime
    market_now: datetime
    account: str
    profile: str
    environment: str
    desk_environment: str
    is_solo: bool
    current_profile: str | None
    last_rung_at: datetime | None
    barred_until: datetime | None = None
    code_version: str
    config: ConfigFacts | None
    run: RunFacts | None
    trades: TradeFacts
    unmet_lines: tuple[str, ...] | None
    halted_scopes: tuple[str, ...]
    risk_level: RiskLevel | None
    is_held: bool
    evaluation: EvaluationFacts | None
    growth_limit: str
    growth: Decimal | None
    is_frozen: bool
    drift: tuple[str, ...]
    request_state: str
    live: LiveFacts | None
