"""Going live: asked with everything that it binds, approved by others, activated once, confirmed.

Activation is one transaction by the database's clock. It takes the locks that a rollback and a load of
the configuration take, so of two one waits; every refusal has a code of its own, is audited after the
rollback and changes nothing.
"""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from controlplane.approvals.core import OPEN_STATES, Actor, Mode, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.requests import open_within, require_reason
from controlplane.approvals.second_factor import keeping_codes
from controlplane.approvals.selectors import get_database_time, get_request
from controlplane.approvals.voting import executing_request, list_counting
from controlplane.audit import services as audit
from controlplane.audit.canonical import decimal_text
from controlplane.audit.checkpoints import write_checkpoint
from controlplane.errors import Conflict, NotFound, NotPermitted
from controlplane.yaml_file import YamlError
from golive.ceiling import require_config
from golive.config_file import hold_config
from golive.core.words import ActivationState, Phase, ProgrammeState
from golive.handover import confirm_activation, find_observed
from golive.holds import lock_account, require_released
from golive.models import Activation, Freeze, Programme
from golive.permits import replace_permit
from golive.programme import (
    BEFORE_ACTIVATION,
    SUBJECT,
    ProgrammeChanged,
    advance_programme,
    enter_phase,
    list_activation_conditions,
    lock_programme,
    move_programme,
    require_carrier,
    require_met,
)
from golive.programme_rules import get_programme_rules
from golive.proposal import bind, find_difference, make_subject
from risk.limits import get_limits
from risk.overrides import bump_book, end_overrides
from risk.reducing.releases import release_weekly_loss
from risk.services import divide_exposure
from risk.stops.capital import rebase_capital
from risk.stops.rearm_facts import measure_equity
from trading.core.values import Clocks
from trading.models import Account, Permit
from trading.selectors import get_active_permit, get_clocks

__all__ = ["activate", "confirm_activation", "find_activation_request", "find_observed", "request_activation"]

ACTIVATION = "golive.activation"
# A desk of one person types these in again, without being shown them (RISK.md 3.1).
TYPED_LIMITS = ("max_position_notional", "max_leverage")


class RequestStands(Conflict):
    """One request at a time: the account has an open one."""

    code = "request_open"


class SubjectChanged(Conflict):
    """Something is not as it was approved; the code says what."""

    code = "subject_changed"


class AuthorApproved(NotPermitted):
    """Who wrote what is proposed does not approve it."""

    code = "author_approved"


class LimitsNotTyped(NotPermitted):
    """A desk of one person types the new limits in."""

    code = "limits_not_typed"


# Asking ---------------------------------------------------------------------------------------------


def request_activation(
    *, programme: Programme, reason: str, actor: Actor, otp: str | None = None
) -> ApprovalRequest:
    """Ask that the account go live at the programme's profile, with everything that this binds.

    The programme is first brought as far as its evidence carries it. Raises ConditionUnmet,
    PhaseTooShort, RequestStands and what asking raises; each refusal is audited.
    """
    programme = _reach_activation(programme, actor)
    with audit.audited_attempt(
        action="golive.activation_request",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=programme.account.name,
        reason=reason,
        detail={"profile": programme.profile},
    ):
        require_carrier(actor)
        said = require_reason(reason)
        with transaction.atomic():
            lock_account(programme.account)
            row = _require_waiting(lock_programme(programme.pk))
            require_met(list_activation_conditions(row))
            _require_no_request(row.account)
            return _ask(row, said, actor, otp)


def _reach_activation(programme: Programme, actor: Actor) -> Programme:
    while Phase(programme.phase) in BEFORE_ACTIVATION[:-1]:
        programme = advance_programme(programme=programme, actor=actor)
    return _require_waiting(programme)


def _require_waiting(programme: Programme) -> Programme:
    if Phase(programme.phase) is not Phase.ACTIVATION:
        raise ProgrammeChanged(f"nothing is asked in the phase {programme.phase}")
    return programme


def _ask(programme: Programme, reason: str, actor: Actor, otp: str | None) -> ApprovalRequest:
    subject = make_subject(programme, actor=actor.audit_name, clocks=get_clocks())
    row = open_within(kind=ACTIVATION, subject=subject, reason=reason, actor=actor, otp=otp)
    move_programme(programme, request_id=row.pk)
    audit.record(
        action="golive.activation_request",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=programme.account.name,
        reason=reason,
        detail={
            "request": row.pk,
            "digest": row.digest,
            "profile": programme.profile,
            "direction": subject["direction"],
            "limit_set": subject["limit_set"],
        },
    )
    return row


def find_activation_request(account: Account) -> ApprovalRequest | None:
    """The open request of the account whose time is not over, by the database's clock."""
    now = get_database_time()
    rows = ApprovalRequest.objects.filter(
        kind=ACTIVATION, state__in=[state.value for state in OPEN_STATES], execute_by__gt=now
    ).exclude(state="proposed", approve_by__lte=now)
    return next(
        (row for row in rows.order_by("-proposed_at") if row.subject["account"] == account.name), None
    )


def get_activation_request(request_id: UUID) -> ApprovalRequest:
    """Raises NotFound, also for a request of another kind."""
    row = get_request(request_id)
    if row.kind != ACTIVATION:
        raise NotFound(f"request: none to go live has the id {request_id}", code="request_not_found")
    return row


def _require_no_request(account: Account) -> None:
    """What was asked on a freeze or a programme that is gone stands in nobody's way: it is void."""
    other = find_activation_request(account)
    living = Programme.objects.filter(account=account, state=ProgrammeState.OPEN)
    if other is not None and living.filter(request_id=other.pk).exists():
        raise RequestStands(f"request {other.pk} asks for it; approve, reject or withdraw that first")


# Activating -----------------------------------------------------------------------------------------


def activate(
    *, request_id: UUID, otp: str | None, actor: Actor, reason: str, typed: Mapping[str, str] | None = None
) -> Activation:
    """Carry an approved request out, once. `typed` are the new limits, asked for in solo mode only.

    Raises what the kernel raises of state, digest, time, quorum and code, and SubjectChanged,
    ConditionUnmet, AccountHeld, AuthorApproved, LimitsNotTyped, ProgrammeChanged and EquityUnknown.
    """
    with audit.audited_attempt(
        action="golive.activate",
        actor=actor.audit_name,
        subject_type="request",
        subject_id=request_id,
        reason=reason,
    ):
        require_person(actor)
        said = require_reason(reason)
        with keeping_codes():
            return _activate(get_request(request_id), otp, actor, said, typed)


def _activate(
    request: ApprovalRequest, otp: str | None, actor: Actor, reason: str, typed: Mapping[str, str] | None
) -> Activation:
    account = Account.objects.filter(name=request.subject.get("account", "")).first()
    if account is not None:
        lock_account(account)
    hold_config()
    with executing_request(request_id=request.pk, kind=ACTIVATION, actor=actor, otp=otp) as row:
        return _carry_out(row, actor, reason, typed)


def _carry_out(
    row: ApprovalRequest, actor: Actor, reason: str, typed: Mapping[str, str] | None
) -> Activation:
    """Look at everything again, now that the request is taken, and go live."""
    asked = row.subject
    programme = lock_programme(asked["programme"])
    if programme.phase != Phase.ACTIVATION or programme.request_id != row.pk:
        raise ProgrammeChanged(f"programme {programme.pk} does not wait for this request")
    clocks = get_clocks()
    what, code = find_difference(asked, bind(programme, clocks))
    if what:
        raise SubjectChanged(f"{what} is not as it was approved; ask anew", code=code)
    approvers = _list_approvers(row)
    _require_others_word(row, approvers)
    _require_typed(row, typed)
    require_released(programme.account)
    require_met(list_activation_conditions(programme))
    return _go_live(programme, row, approvers, actor, reason, clocks)


def _list_approvers(row: ApprovalRequest) -> list[str]:
    return sorted(vote.approver.get_username() for vote in list_counting(row, KINDS.get(ACTIVATION)))


def _require_others_word(row: ApprovalRequest, approvers: list[str]) -> None:
    """In dual mode enough of those who approved wrote nothing of what is proposed."""
    others = set(approvers) - set(row.subject["authors"])
    if row.mode == Mode.DUAL and len(others) < row.required_approvals:
        raise AuthorApproved("whoever loaded the configuration or opened the programme cannot approve it")


def _require_typed(row: ApprovalRequest, typed: Mapping[str, str] | None) -> None:
    if row.mode != Mode.SOLO:
        return
    limits = get_limits(row.subject["limit_set"])
    wanted = {} if limits is None else {name: decimal_text(getattr(limits, name)) for name in TYPED_LIMITS}
    if not wanted or typed is None or dict(typed) != wanted:
        raise LimitsNotTyped(f"type the new limits in: {', '.join(TYPED_LIMITS)}")


def _go_live(
    programme: Programme,
    request: ApprovalRequest,
    approvers: list[str],
    actor: Actor,
    reason: str,
    clocks: Clocks,
) -> Activation:
    """Everything that becomes true at once: permit, activation, phase, base of capital, allotments."""
    account, name = programme.account, actor.audit_name
    equity = measure_equity(account.name, now=clocks.wall_at).equity
    before = get_active_permit(account)
    permit = replace_permit(
        account=account,
        kind="LIVE",
        profile=programme.profile,
        limit_set_digest=request.subject["limit_set"],
        actor=name,
        reason=reason,
        wall_at=clocks.wall_at,
    )
    _supersede_standing(account)
    activation = _keep(programme, request, permit, before, approved_by=approvers, activated_by=name)
    enter_phase(programme, Phase.OBSERVATION, actor, clocks)
    rebase_capital(account=account, equity=equity, reason=reason, set_by=name)
    release_weekly_loss(account=account, because=f"promoted: {reason}", actor=name, clocks=clocks)
    divide_exposure()
    end_overrides(account=account, reason="the account was activated", actor=name)
    bump_book(account)
    _record_activation(activation, request, reason)
    return activation


def _keep(
    programme: Programme,
    request: ApprovalRequest,
    permit: Permit,
    before: Permit | None,
    *,
    approved_by: list[str],
    activated_by: str,
) -> Activation:
    """The row, once for this request; configuration and freeze are those that were just compared."""
    config = require_config()
    freeze = Freeze.objects.get(programmes=programme)
    return Activation.objects.create(
        programme=programme,
        account=programme.account,
        request_id=request.pk,
        request_digest=request.digest,
        profile=programme.profile,
        limit_set_digest=permit.limit_set_digest,
        config=config,
        freeze=freeze,
        permit=permit,
        previous_limit_set_digest="" if before is None else before.limit_set_digest,
        requested_by=request.proposer_name,
        approved_by=approved_by,
        activated_by=activated_by,
        approval_words=Mode(request.mode).words,
        market_at=get_clocks().market_at,
    )


def _supersede_standing(account: Account) -> None:
    """What was confirmed stays what a rollback goes back to, by the time of its confirmation."""
    Activation.objects.filter(account=account, ended_at__isnull=True).update(
        state=ActivationState.SUPERSEDED.value, ended_at=Now(), version=F("version") + 1
    )


def _record_activation(activation: Activation, request: ApprovalRequest, reason: str) -> None:
    audit.record(
        action="golive.activate",
        actor=activation.activated_by,
        subject_type=SUBJECT,
        subject_id=activation.account.name,
        reason=reason,
        detail={
            "activation": activation.pk,
            "request": request.pk,
            "digest": request.digest,
            "profile": activation.profile,
            "limit_set": activation.limit_set_digest,
            "config": activation.config.digest,
            "freeze": activation.freeze.digest,
            "fencing_token": activation.permit.fencing_token,
            "requested_by": activation.requested_by,
            "approved_by": activation.approved_by,
            "approval": activation.approval_words,
        },
    )
    # The guard does it too, a few seconds later; where this fails nothing that was activated is in doubt.
    transaction.on_commit(lambda: write_checkpoint("golive.activate"), robust=True)


# The kind -------------------------------------------------------------------------------------------


def describe_request_now(request: ApprovalRequest) -> list[dict[str, object]]:
    """What activation will ask for, as it is while somebody looks at the request."""
    programme = Programme.objects.filter(
        pk=request.subject["programme"], state=ProgrammeState.OPEN, request_id=request.pk
    ).first()
    if programme is None:
        return []
    return [
        {"name": item.name, "is_met": item.is_met, "code": item.code, "text": item.text, "next": item.next}
        for item in list_activation_conditions(programme)
    ]


def register_kind() -> None:
    """Without rules that can be read a request stands for a minute, and cannot be made at all."""
    try:
        rules = get_programme_rules()
        approval_ttl, execution_ttl = rules.approval_ttl, rules.execution_ttl
    except YamlError:
        approval_ttl, execution_ttl = timedelta(minutes=1), timedelta(0)
    KINDS.register(
        RequestKind(
            name=ACTIVATION,
            title="Go live",
            requester_roles=frozenset({Role.REQUESTER, Role.OPERATOR}),
            approval_ttl=approval_ttl,
            execution_ttl=execution_ttl,
            effect=None,
            solo_allowed=True,
            describe=describe_request_now,
        )
    )
