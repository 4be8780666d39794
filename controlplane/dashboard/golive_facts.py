"""Where each account stands on its way to live, read from rows and named as an operator would."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.selectors import list_open_requests
from controlplane.dashboard.words import age_text
from golive import models
from golive.core.programme import waits_until
from golive.core.programme_values import Condition
from golive.core.words import Phase
from golive.programme import list_conditions
from golive.programme_rules import get_programme_rules
from risk.stops.rules import get_stop_rules
from trading import selectors
from trading.core.values import Clocks
from trading.models import Account, Permit

PHASE_TITLES = {
    Phase.VALIDATION: "Validation",
    Phase.FREEZE: "Config freeze",
    Phase.ACTIVATION: "Activation",
    Phase.OBSERVATION: "Observation",
    Phase.HANDOVER: "Handover",
}
PERMISSION = "golive."
# The machine looks every few seconds of wall time, which are minutes of market time at speed.
MARK_GRACE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStep:
    """One of the five phases; `state` is done, here or ahead."""

    number: int
    title: str
    state: str
    since_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An open request about the account, and what its kind is called."""

    row: ApprovalRequest
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One account: what it may do, where it stands, what is asked."""

    account: Account
    permit: Permit | None
    lease: timedelta | None
    hold: models.Hold | None
    programme: models.Programme | None
    activation: models.Activation | None
    rollback: models.Rollback | None
    requests: tuple[Asked, ...]
    conditions: tuple[Condition, ...] = ()

    @property
    def may_trade(self) -> bool:
        return self.lease is not None and self.lease > timedelta(0)

    @property
    def is_live(self) -> bool:
        """An active permit of kind LIVE, whatever venue is behind it."""
        return self.permit is not None and self.permit.kind == "LIVE"

    @property
    def is_asked(self) -> bool:
        """Whether its going live is asked for, and neither decided nor over."""
        return self.programme is not None and self.programme.request_id in {
            asked.row.pk for asked in self.requests
        }

    @property
    def headline(self) -> str:
        if self.permit is None:
            return "May not trade"
        if self.is_live:
            return f"LIVE at {self.permit.profile}"
        return f"Paper, under {self.permit.profile} limits"

    @property
    def place(self) -> str:
        """Where its orders go."""
        return {"paper": "simulated venue", "demo": "the venue's demo", "live": "real money"}[
            self.account.environment
        ]

    @property
    def tone(self) -> str:
        if self.hold is not None or self.rollback is not None or not self.may_trade:
            return "bad"
        return "warn" if self.is_live else "good"

    @property
    def missing(self) -> list[Condition]:
        return [item for item in self.conditions if not item.is_met]

    @property
    def met(self) -> list[Condition]:
        return [item for item in self.conditions if item.is_met]


def list_own_accounts() -> list[Account]:
    """Every account of this environment but the one that only exists to rehearse the stop on."""
    rows = selectors.list_accounts().filter(environment=settings.TRADING_ENVIRONMENT)
    return list(rows.exclude(name=get_stop_rules().drill_account))


def list_cards(accounts: Iterable[Account], clocks: Clocks) -> list[Card]:
    """Where each of them stands, in their order; a statement a kind of row, however many they are."""
    rows = list(accounts)
    asked = _requests_by_account()
    permits = _by_account(Permit.objects.filter(account__in=rows, active=True))
    holds = _by_account(models.Hold.objects.filter(account__in=rows, released_at__isnull=True))
    programmes = _by_account(models.Programme.objects.filter(account__in=rows, state="open"))
    standing = models.Activation.objects.filter(account__in=rows, ended_at__isnull=True)
    activations = _by_account(standing.select_related("permit", "programme"))
    rollbacks = _by_account(models.Rollback.objects.filter(account__in=rows, finished_at__isnull=True))
    return [
        Card(
            account=account,
            permit=permits.get(account.pk),
            lease=_lease_of(permits.get(account.pk), clocks),
            hold=holds.get(account.pk),
            programme=programmes.get(account.pk),
            activation=activations.get(account.pk),
            rollback=rollbacks.get(account.pk),
            requests=tuple(asked.get(account.name, ())),
        )
        for account in rows
    ]


def get_card(account: Account, clocks: Clocks) -> Card:
    return list_cards([account], clocks)[0]


def measure_card(card: Card, clocks: Clocks) -> Card:
    """The same with every condition of the present phase as it is now, its minimum time among them."""
    if card.programme is None:
        return card
    duration = judge_duration(card.programme, clocks.market_at)
    return replace(card, conditions=(*list_conditions(card.programme), *duration))


def judge_duration(programme: models.Programme, market_at: datetime) -> list[Condition]:
    """Whether the phase has lasted as long as it must; nothing where it may be left at once."""
    phase, rules = Phase(programme.phase), get_programme_rules()
    if not rules.phases[phase].min_duration:
        return []
    until = waits_until(programme.phase_since_market_at, phase, rules)
    text = f"lasts until {until:%Y-%m-%d %H:%M:%S} UTC of market time at least"
    if market_at >= until:
        return [Condition(name="minimum time", is_met=True, text=text)]
    left = f"wait {age_text(until - market_at)} of market time; nothing shortens it"
    return [Condition(name="minimum time", is_met=False, text=text, next=left, code="phase_too_short")]


def _by_account(rows: Iterable[Any]) -> dict[int, Any]:
    """At most one of each stands per account: the database holds that."""
    return {row.account_id: row for row in rows}


def _lease_of(permit: Permit | None, clocks: Clocks) -> timedelta | None:
    return None if permit is None else permit.lease_expires_at - clocks.wall_at


def _requests_by_account() -> dict[str, list[Asked]]:
    """What waits for people, of the kinds of permission, by the account that it is about."""
    found: dict[str, list[Asked]] = {}
    for row in list_open_requests().filter(kind__startswith=PERMISSION, execute_by__gt=Now()):
        asked = Asked(row=row, title=KINDS.get(row.kind).title)
        found.setdefault(str(row.subject.get("account", "")), []).append(asked)
    return found


def list_phases(programme: models.Programme | None) -> list[PhaseStep]:
    """The five, and where the programme is; without one all lie ahead."""
    names = list(Phase)
    at = -1 if programme is None else names.index(Phase(programme.phase))
    is_over = programme is not None and programme.state == "confirmed"
    steps = []
    for number, name in enumerate(names):
        state = "done" if number < at or (is_over and number == at) else "here" if number == at else "ahead"
        since = programme.phase_since_at if programme is not None and number == at else None
        steps.append(PhaseStep(number=number + 1, title=PHASE_TITLES[name], state=state, since_at=since))
    return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationMark:
    """A look that the machine takes of an activation; `state` is taken, due or missed."""

    minute: int
    due_market_at: datetime
    state: str
    verdict: str
    guards: tuple[Mapping[str, Any], ...]


def list_marks(
    activation: models.Activation, minutes: Iterable[int], market_at: datetime
) -> list[ObservationMark]:
    """Every mark of the activation: what was taken, what is still to come, what nobody took."""
    taken = {row.minute: row for row in models.Observation.objects.filter(activation=activation)}
    return [
        _make_mark(activation, minute, taken.get(minute), market_at) for minute in sorted({*minutes, *taken})
    ]


def _make_mark(
    activation: models.Activation,
    minute: int,
    row: models.Observation | None,
    market_at: datetime,
) -> ObservationMark:
    due = activation.market_at + timedelta(minutes=minute)
    state = "taken" if row is not None else "due" if market_at <= due + MARK_GRACE else "missed"
    return ObservationMark(
        minute=minute,
        due_market_at=due,
        state=state,
        verdict="" if row is None else row.verdict,
        guards=() if row is None else tuple(row.guards),
    )


def list_guard_counts(activation: models.Activation) -> list[models.GuardCount]:
    return list(models.GuardCount.objects.filter(activation=activation).order_by("guard"))


def find_evaluation(account: Account) -> models.Evaluation | None:
    """The newest."""
    return models.Evaluation.objects.filter(account=account).order_by("-id").first()


def list_rollbacks(account: Account) -> list[models.Rollback]:
    return list(models.Rollback.objects.filter(account=account).order_by("-id")[:10])


def show_value(value: object) -> str:
    """A figure of evidence as text: what is not text already is its JSON."""
    if isinstance(value, list):
        return ", ".join(map(show_value, value)) or "none"
    if isinstance(value, dict):
        return " ".join(map(show_value, value.values()))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def find_last_programme(account: Account) -> models.Programme | None:
    """The one that was closed last."""
    return models.Programme.objects.filter(account=account).exclude(state="open").order_by("-id").first()
