"""The programme of an account: opened, moved from phase to phase by evidence alone, withdrawn, closed.

Every move is a compare-and-swap of the row's version, audited in the same transaction.
"""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from controlplane.approvals.core import Actor, ActorKind, Role
from controlplane.approvals.requests import require_reason
from controlplane.approvals.services import require_any_role
from controlplane.audit import services as audit
from controlplane.errors import Conflict, NotFound
from golive.core import programme as core
from golive.core.programme_values import Condition, ProgrammeRules
from golive.core.words import LADDER, Phase, ProgrammeState
from golive.freeze import take_freeze
from golive.models import Programme
from golive.programme_facts import list_drifted, read_facts
from golive.programme_rules import get_programme_rules
from risk.registration import ProfileUnknown
from trading.core.values import Clocks
from trading.models import Account
from trading.selectors import get_clocks

SUBJECT = "account"
# Moving a programme changes no permission; these people carry it.
CARRYING_ROLES = frozenset({Role.REQUESTER, Role.OPERATOR})
BEFORE_ACTIVATION = (Phase.VALIDATION, Phase.FREEZE, Phase.ACTIVATION)


class ProgrammeOpen(Conflict):
    """The account is on its way already."""

    code = "programme_open"


class ProgrammeNotFound(NotFound):
    """No programme of the account is open."""

    code = "programme_not_found"


class ProgrammeChanged(Conflict):
    """The programme is not where this was begun."""

    code = "programme_changed"


class PhaseTooShort(Conflict):
    """The phase has not lasted its time, which nothing shortens."""

    code = "phase_too_short"


class ConditionUnmet(Conflict):
    """A condition is not met; the code is the condition's."""

    code = "condition_unmet"


def require_carrier(actor: Actor) -> None:
    """People and tokens need a role; the guard and the system only follow the evidence."""
    if actor.kind in {ActorKind.PERSON, ActorKind.TOKEN}:
        require_any_role(actor, CARRYING_ROLES)


def find_open_programme(account: Account) -> Programme | None:
    rows = Programme.objects.select_related("account", "freeze")
    return rows.filter(account=account, state=ProgrammeState.OPEN).first()


def get_open_programme(account: Account) -> Programme:
    """Raises ProgrammeNotFound."""
    found = find_open_programme(account)
    if found is None:
        raise ProgrammeNotFound(f"account {account.name}: no programme is open")
    return found


def open_programme(*, account: Account, profile: str, actor: Actor, reason: str) -> Programme:
    """Begin the way to a profile. Raises ProgrammeOpen, ProfileUnknown and ConditionUnmet, audited."""
    with audit.audited_attempt(
        action="golive.programme_open",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=account.name,
        reason=reason,
        detail={"profile": profile},
    ):
        require_carrier(actor)
        said = require_reason(reason)
        if core.rung_of(profile) < 0:
            raise ProfileUnknown(f"profile: expected one of {', '.join(LADDER)}, found {profile!r}")
        rules = get_programme_rules()
        facts = read_facts(account, profile, rules)
        require_met(core.list_conditions(rules.phases[Phase.VALIDATION].entry, facts, rules))
        try:
            with transaction.atomic():
                return _open(account, profile, actor, said)
        except IntegrityError:
            raise ProgrammeOpen(f"account {account.name} has an open programme") from None


def _open(account: Account, profile: str, actor: Actor, reason: str) -> Programme:
    programme = Programme.objects.create(
        account=account,
        profile=profile,
        opened_by=actor.audit_name,
        phase_since_market_at=get_clocks().market_at,
    )
    audit.record(
        action="golive.programme_open",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=account.name,
        reason=reason,
        detail={"programme": programme.pk, "profile": profile, "rules": get_programme_rules().digest},
    )
    programme.refresh_from_db()
    return programme


# Conditions -----------------------------------------------------------------------------------------


def list_conditions(programme: Programme) -> list[Condition]:
    """What the present phase asks for before it can be left, as of now.

    Before activation: everything that activation itself will ask for besides the approval.
    """
    rules = get_programme_rules()
    facts = read_facts(programme.account, programme.profile, rules, programme=programme)
    return list(core.list_conditions(_names_for(programme, rules), facts, rules))


def _names_for(programme: Programme, rules: ProgrammeRules) -> tuple[str, ...]:
    phase = Phase(programme.phase)
    if phase is Phase.ACTIVATION:
        return rules.activation_conditions
    following = _following(phase)
    entry = () if following is None else rules.phases[following].entry
    return tuple(dict.fromkeys((*rules.phases[phase].exit, *entry)))


def _following(phase: Phase) -> Phase | None:
    phases = list(Phase)
    place = phases.index(phase) + 1
    return phases[place] if place < len(phases) else None


def list_activation_conditions(programme: Programme) -> list[Condition]:
    """What activation asks for at the moment itself, whatever phase the programme is in."""
    rules = get_programme_rules()
    facts = read_facts(programme.account, programme.profile, rules, programme=programme)
    return list(core.list_conditions(rules.activation_conditions, facts, rules))


def require_met(conditions: list[Condition] | tuple[Condition, ...]) -> None:
    """Raise ConditionUnmet for the first that is not, under its own code."""
    if (unmet := next((item for item in conditions if not item.is_met), None)) is not None:
        raise ConditionUnmet(f"{unmet.name}: {unmet.text}", code=unmet.code)


# Moves ----------------------------------------------------------------------------------------------


def advance_programme(*, programme: Programme, actor: Actor) -> Programme:
    """Bring the programme one phase further, if its conditions are met and its time is over.

    Leaving validation freezes; drift before activation freezes anew and begins that phase again. The
    phase of activation is left by activating, the last by confirming. Raises ConditionUnmet,
    PhaseTooShort and ProgrammeChanged.
    """
    with audit.audited_attempt(
        action="golive.programme_phase",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=programme.account.name,
        detail={"programme": programme.pk, "phase": programme.phase},
    ):
        require_carrier(actor)
        with transaction.atomic():
            return advance_in(lock_programme(programme.pk), actor, get_clocks())


def lock_programme(programme_id: int) -> Programme:
    """The open programme, locked until the caller's commit; raises ProgrammeChanged."""
    rows = Programme.objects.select_for_update(of=("self",)).select_related("account", "freeze")
    row = rows.filter(pk=programme_id, state=ProgrammeState.OPEN).first()
    if row is None:
        raise ProgrammeChanged(f"programme {programme_id} is over")
    return row


def advance_in(programme: Programme, actor: Actor, clocks: Clocks) -> Programme:
    """The same, in the caller's transaction and under its lock."""
    phase, freeze = Phase(programme.phase), programme.freeze
    if (
        phase in {Phase.FREEZE, Phase.ACTIVATION}
        and freeze is not None
        and list_drifted(freeze, programme.account)
    ):
        return _freeze_anew(programme, actor, clocks)
    if phase in {Phase.ACTIVATION, Phase.HANDOVER}:
        raise ProgrammeChanged(f"the phase {phase} is not left by itself")
    _require_leavable(programme, clocks)
    return _enter(programme, list(Phase)[list(Phase).index(phase) + 1], actor, clocks)


def _require_leavable(programme: Programme, clocks: Clocks) -> None:
    require_met(list_conditions(programme))
    phase = Phase(programme.phase)
    until = core.waits_until(programme.phase_since_market_at, phase, get_programme_rules())
    if clocks.market_at < until:
        raise PhaseTooShort(f"{phase} lasts until {until:%Y-%m-%d %H:%M:%S} UTC (market time)")


def _enter(programme: Programme, phase: Phase, actor: Actor, clocks: Clocks) -> Programme:
    changes: dict[str, Any] = {}
    if phase is Phase.FREEZE:
        changes["freeze"] = take_freeze(actor.audit_name)
    return enter_phase(programme, phase, actor, clocks, **changes)


def _freeze_anew(programme: Programme, actor: Actor, clocks: Clocks) -> Programme:
    """What was asked for on the old freeze cannot be activated any more."""
    return enter_phase(
        programme, Phase.FREEZE, actor, clocks, freeze=take_freeze(actor.audit_name), request_id=None
    )


def enter_phase(
    programme: Programme, phase: Phase, actor: Actor, clocks: Clocks, **changes: Any
) -> Programme:
    """Swap the phase, in the caller's transaction; raises ProgrammeChanged if somebody else moved it."""
    before = programme.phase
    move_programme(
        programme, phase=phase.value, phase_since_at=Now(), phase_since_market_at=clocks.market_at, **changes
    )
    audit.record(
        action="golive.programme_phase",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=programme.account.name,
        detail={
            "programme": programme.pk,
            "from": before,
            "to": phase.value,
            "freeze": None if programme.freeze is None else programme.freeze.digest,
        },
    )
    return programme


def move_programme(programme: Programme, **changes: Any) -> None:
    """The one write of an open programme: by its version."""
    moved = Programme.objects.filter(
        pk=programme.pk, state=ProgrammeState.OPEN, version=programme.version
    ).update(version=programme.version + 1, **changes)
    if moved != 1:
        raise ProgrammeChanged(f"programme {programme.pk} was moved meanwhile; look again")
    programme.refresh_from_db()


def close_programme(
    *, programme: Programme, state: ProgrammeState, outcome: str, actor: str, reason: str = ""
) -> Programme:
    """End the programme, in the caller's transaction; raises ProgrammeChanged."""
    move_programme(programme, state=state.value, closed_at=Now(), outcome=outcome)
    audit.record(
        action="golive.programme_close",
        actor=actor,
        subject_type=SUBJECT,
        subject_id=programme.account.name,
        reason=reason,
        detail={"programme": programme.pk, "state": state.value, "outcome": outcome},
    )
    return programme


def withdraw_programme(*, programme: Programme, actor: Actor, reason: str) -> Programme:
    """Give the way up before activation; what was asked on it can be activated no more."""
    with audit.audited_attempt(
        action="golive.programme_close",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=programme.account.name,
        reason=reason,
    ):
        require_carrier(actor)
        said = require_reason(reason)
        with transaction.atomic():
            row = lock_programme(programme.pk)
            if Phase(row.phase) not in BEFORE_ACTIVATION:
                raise ProgrammeChanged(f"the account is live ({row.phase}); roll it back instead")
            return close_programme(
                programme=row,
                state=ProgrammeState.WITHDRAWN,
                outcome=said,
                actor=actor.audit_name,
                reason=said,
            )
