"""Handover: a person takes over what the machine observed."""

from django.db import transaction
from django.db.models.functions import Now

from controlplane.approvals.core import Actor, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.requests import require_reason
from controlplane.approvals.services import require_any_role
from controlplane.audit import services as audit
from controlplane.errors import NotFound
from golive.core.words import ActivationState, Phase, ProgrammeState
from golive.holds import require_released
from golive.models import Activation
from golive.programme import (
    SUBJECT,
    ProgrammeChanged,
    advance_in,
    close_programme,
    list_conditions,
    lock_programme,
    require_met,
)
from trading.models import Account
from trading.selectors import get_clocks

CONFIRMING_ROLES = frozenset({Role.REQUESTER, Role.OPERATOR, Role.APPROVER})


class NothingToConfirm(NotFound):
    """No activation of the account waits for its confirmation."""

    code = "nothing_to_confirm"


def confirm_activation(*, account: Account, actor: Actor, reason: str) -> Activation:
    """A person takes over what was observed: from now on it is what a rollback goes back to.

    Raises NothingToConfirm, ConditionUnmet, PhaseTooShort and AccountHeld.
    """
    with audit.audited_attempt(
        action="golive.confirm",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=account.name,
        reason=reason,
    ):
        require_person(actor)
        require_any_role(actor, CONFIRMING_ROLES)
        said = require_reason(reason)
        with transaction.atomic():
            require_released(account)
            return _confirm(find_observed(account), actor, said)


def find_observed(account: Account) -> Activation:
    """The activation under observation; raises NothingToConfirm."""
    rows = Activation.objects.select_related("programme", "account")
    found = rows.filter(account=account, state=ActivationState.OBSERVING).first()
    if found is None:
        raise NothingToConfirm(f"account {account.name}: no activation is under observation")
    return found


def _confirm(activation: Activation, actor: Actor, reason: str) -> Activation:
    programme = lock_programme(activation.programme_id)
    if programme.phase == Phase.OBSERVATION:
        programme = advance_in(programme, actor, get_clocks())
    require_met(list_conditions(programme))
    confirmed = Activation.objects.filter(
        pk=activation.pk, state=ActivationState.OBSERVING, version=activation.version
    ).update(state=ActivationState.CONFIRMED.value, confirmed_at=Now(), version=activation.version + 1)
    if confirmed != 1:
        raise ProgrammeChanged(f"activation {activation.pk} was changed meanwhile")
    close_programme(
        programme=programme,
        state=ProgrammeState.CONFIRMED,
        outcome="confirmed",
        actor=actor.audit_name,
        reason=reason,
    )
    audit.record(
        action="golive.confirm",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=activation.account.name,
        reason=reason,
        detail={"activation": activation.pk, "profile": activation.profile},
    )
    activation.refresh_from_db()
    return activation
