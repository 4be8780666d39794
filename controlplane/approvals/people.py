"""The first start, invitations, second factors, designations and the approval mode."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.functions import Now

from controlplane.approvals import requests, selectors, services
from controlplane.approvals.core import BOOTSTRAP, Actor, Mode, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalMode, ApprovalRequest, CredentialChange, Designation
from controlplane.audit import services as audit
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, InvalidInput, NotPermitted

DESIGNATE = "approvals.designate"
MODE_SOLO = "approvals.mode_solo"
# Inviting gives nobody anything but a sign-in; any of these may.
INVITING_ROLES = frozenset({Role.REQUESTER, Role.APPROVER, Role.ADMIN})


class FirstStartOver(Conflict):
    """Somebody was designated before; from then on designations are requests."""

    code = "first_start_over"


class TooFewPeople(InvalidInput):
    """The people named could never ask and approve in this mode."""

    code = "too_few_people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """What is shown once: of a new person the first password, of a new factor the secret."""

    name: str
    password: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)


def start_desk(*, mode: Mode, people: Mapping[str, Sequence[Role]], reason: str) -> list[Invited]:
    """The first-start ceremony: choose the mode and designate the first people, audited as bootstrap.

    Possible only before anybody was ever designated and without any live history. People who do not
    exist yet are made; whoever has no second factor gets one.
    """
    with audit.audited_attempt(
        action="approvals.first_start",
        actor=BOOTSTRAP.audit_name,
        subject_type="desk",
        subject_id=mode.value,
        reason=reason,
    ):
        return hold_first_start(mode=mode, people=people, reason=requests.require_reason(reason))


@transaction.atomic
def hold_first_start(*, mode: Mode, people: Mapping[str, Sequence[Role]], reason: str) -> list[Invited]:
    """The ceremony itself, in the caller's transaction where there is one."""
    _require_enough(mode, people)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE approvals_approvalmode IN SHARE ROW EXCLUSIVE MODE")
    _require_first_start()
    invited = [_ensure_person(name, reason) for name in people]
    ApprovalMode.objects.update_or_create(
        id=1, defaults={"mode": mode.value, "since_at": Now(), "set_by": BOOTSTRAP.audit_name}
    )
    for name, roles in people.items():
        for role in roles:
            services.designate(user=selectors.get_user(name), role=role, actor=BOOTSTRAP, reason=reason)
    audit.record(
        action="approvals.first_start",
        actor=BOOTSTRAP.audit_name,
        subject_type="desk",
        subject_id=mode.value,
        reason=reason,
        detail={"mode": mode.value, "approval": mode.words, "people": dict(people)},
    )
    return [person for person in invited if person.password or person.totp_secret]


def _require_enough(mode: Mode, people: Mapping[str, Sequence[Role]]) -> None:
    """Dual: somebody asks and another approves. Solo: one person does both, and no second approves."""
    requesters = {name for name, roles in people.items() if Role.REQUESTER in roles}
    approvers = {name for name, roles in people.items() if Role.APPROVER in roles}
    if mode is Mode.DUAL and not any(one != other for one in requesters for other in approvers):
        raise TooFewPeople("dual: name a requester and another person as approver")
    if mode is Mode.SOLO and (len(approvers) != 1 or not approvers <= requesters):
        raise TooFewPeople("solo: name one person, as requester and as approver")


def was_started() -> bool:
    """Whether anybody was ever designated, by what the triggers wrote down."""
    return Designation.objects.exists() or CredentialChange.objects.filter(what="designation").exists()


def _require_first_start() -> None:
    if was_started():
        raise FirstStartOver("people were designated before; designations are requests now")
    if AuditEvent.objects.filter(environment="live", action="approvals.request_execute").exists():
        raise FirstStartOver("this desk has a live history; designations are requests now")


def _ensure_person(name: str, reason: str) -> Invited:
    """The person and a second factor; what had to be made is returned to be shown once."""
    user, password = selectors.find_user(name), None
    if user is None:
        password = secrets.token_urlsafe(12)
        user = services.create_user(name=name, password=password, actor=BOOTSTRAP, reason=reason)
    if hasattr(user, "second_factor"):
        return Invited(name=name, password=password)
    return Invited(name=name, password=password, totp_secret=_enrol(user, BOOTSTRAP, reason))


def _enrol(user: User, actor: Actor, reason: str) -> str:
    secret = services.generate_totp_secret()
    services.enrol_second_factor(user=user, totp_secret=secret, actor=actor, reason=reason)
    return secret


def invite_person(*, name: str, actor: Actor, reason: str) -> Invited:
    """Make a user who may sign in and look; the password is shown once."""
    with audit.audited_attempt(
        action="approvals.user_create",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=name,
        reason=reason,
    ):
        require_person(actor)
        services.require_any_role(actor, INVITING_ROLES)
        said, password = requests.require_reason(reason), secrets.token_urlsafe(12)
        services.create_user(name=name, password=password, actor=actor, reason=said)
        return Invited(name=name, password=password)


def enrol_person(*, name: str, actor: Actor, reason: str) -> Invited:
    """Make a new second factor, shown once: one's own, or an admin for another; cooling-off begins anew."""
    with audit.audited_attempt(
        action="approvals.second_factor_enrol",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=name,
        reason=reason,
    ):
        require_person(actor)
        user, said = selectors.get_user(name), requests.require_reason(reason)
        if actor.name != name:
            services.require_any_role(actor, frozenset({Role.ADMIN}))
        return Invited(name=name, totp_secret=_enrol(user, actor, said))


def request_designation(
    *, name: str, role: Role, reason: str, actor: Actor, otp: str | None = None
) -> ApprovalRequest:
    """Ask that a person be given a role; in force once it is approved."""
    subject = {"person": name, "role": role.value}
    with requests.asking(kind=DESIGNATE, subject=subject, reason=reason, actor=actor):
        selectors.get_user(name)
    return requests.open_request(kind=DESIGNATE, subject=subject, reason=reason, actor=actor, otp=otp)


def request_solo(*, name: str, reason: str, actor: Actor) -> ApprovalRequest:
    """Ask that the desk become one person's: two people and seven days."""
    subject = {"mode": Mode.SOLO.value, "person": name}
    with requests.asking(kind=MODE_SOLO, subject=subject, reason=reason, actor=actor):
        selectors.get_user(name)
    return requests.open_request(kind=MODE_SOLO, subject=subject, reason=reason, actor=actor)


def apply_designation(request: ApprovalRequest, actor: Actor) -> None:
    """Give the role. A second approver makes the desk dual at once."""
    user, role = selectors.get_user(request.subject["person"]), Role(request.subject["role"])
    services.designate(user=user, role=role, actor=actor, reason=request.reason)
    approvers = selectors.list_people(frozenset({Role.APPROVER})).count()
    if role is Role.APPROVER and approvers > 1 and selectors.find_mode() is Mode.SOLO:
        _change_mode(Mode.DUAL, actor, request.reason)


def apply_solo(request: ApprovalRequest, actor: Actor) -> None:
    """Leave one person, who must already be requester and approver; the others approve no more."""
    user = selectors.get_user(request.subject["person"])
    if not {Role.REQUESTER, Role.APPROVER} <= selectors.list_roles(user):
        raise NotPermitted("person: must be requester and approver already", code="not_designated")
    others = Designation.objects.filter(role=Role.APPROVER.value, valid_to__isnull=True).exclude(user=user)
    for row in others.select_related("user"):
        services.end_designation(row=row, actor=actor, reason=request.reason)
    _change_mode(Mode.SOLO, actor, request.reason)


def _change_mode(mode: Mode, actor: Actor, reason: str) -> None:
    moved = ApprovalMode.objects.exclude(mode=mode.value).update(
        mode=mode.value, since_at=Now(), set_by=actor.audit_name
    )
    if moved != 1:
        raise Conflict(f"the desk is {mode.value} already", code="mode_changed")
    audit.record(
        action="approvals.mode_change",
        actor=actor.audit_name,
        subject_type="desk",
        subject_id=mode.value,
        reason=reason,
        detail={"mode": mode.value, "approval": mode.words},
    )


def register_kinds() -> None:
    """The kinds that approvals itself knows: who is who, and how the desk approves."""
    KINDS.register(
        RequestKind(
            name=DESIGNATE,
            title="Designate a person",
            requester_roles=frozenset({Role.REQUESTER, Role.ADMIN}),
            approval_ttl=timedelta(days=3),
            solo_allowed=True,
            effect=apply_designation,
        )
    )
    KINDS.register(
        RequestKind(
            name=MODE_SOLO,
            title="Become a desk of one person",
            requester_roles=frozenset({Role.REQUESTER, Role.APPROVER}),
            approval_ttl=timedelta(days=3),
            effect=apply_solo,
            waits=timedelta(days=7),
        )
    )
