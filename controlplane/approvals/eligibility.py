"""Who may ask and who may vote, at this moment: designations only, never a permission or a superuser."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings

from controlplane.approvals import selectors
from controlplane.approvals.core import Actor, ActorKind, Mode, Role, VoteDecision, cooling_off
from controlplane.approvals.kinds import RequestKind
from controlplane.approvals.models import ApprovalRequest, Vote
from controlplane.approvals.services import NotDesignated
from controlplane.errors import Conflict, DomainError, NotPermitted

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class NoPerson(NotPermitted):
    """Tokens, guards and the system may ask; only people decide."""

    code = "not_a_person"


class SelfApproval(NotPermitted):
    """Whoever asked cannot approve it."""

    code = "self_approval"


class SoloRefused(NotPermitted):
    """This kind is not for a desk of one person."""

    code = "solo_refused"


class SoloDelay(NotPermitted):
    """A day lies between asking and approving by the same person; some kinds wait longer."""

    code = "solo_delay"


class CoolingOff(NotPermitted):
    """Designation, second factor, password or account changed too short a time ago."""

    code = "cooling_off"


class TooFewApprovers(NotPermitted):
    """Nobody could complete the quorum, so it cannot be asked."""

    code = "too_few_approvers"


class RequestExpired(Conflict):
    """The request's time is over, by the database's clock."""

    code = "request_expired"


class DigestMismatch(Conflict):
    """What is stored, what was shown and what was asked are not one thing."""

    code = "digest_mismatch"


def require_person(actor: Actor) -> None:
    """Raise NoPerson for a token, a guard or the system."""
    if actor.kind is not ActorKind.PERSON:
        raise NoPerson(f"{actor.audit_name} is no person; only people decide")


def require_requester(actor: Actor, proposer: "User | None", kind: RequestKind, mode: Mode) -> None:
    """Whether the actor may ask, and anybody could approve it; guards and the system need no role."""
    if mode is Mode.SOLO and not kind.solo_allowed:
        raise SoloRefused(f"{kind.title}: not for a desk of one person")
    if actor.kind in {ActorKind.PERSON, ActorKind.TOKEN}:
        roles = frozenset() if proposer is None else selectors.list_roles(proposer)
        if roles.isdisjoint(kind.requester_roles):
            wanted = " or ".join(sorted(role.value for role in kind.requester_roles))
            raise NotDesignated(f"{actor.name} is not designated as {wanted}")
    people = selectors.list_people(kind.approver_roles)
    if mode is Mode.DUAL and proposer is not None:
        people = people.exclude(pk=proposer.pk)
    if people.count() < kind.quorum_in(mode):
        raise TooFewApprovers(f"{kind.title}: takes {kind.quorum_in(mode)} who may approve it")


def require_voter(
    person: "User", row: ApprovalRequest, kind: RequestKind, decision: VoteDecision, now: datetime
) -> None:
    """Whether the person may say this now. Rejecting and taking back wait for nothing."""
    _require_role(person, kind.approver_roles)
    if decision is VoteDecision.APPROVE:
        require_eligible(person, row, kind, now)
    elif row.proposer_id == person.pk:
        raise SelfApproval("this is your own request; withdraw it instead")


def require_eligible(person: "User", row: ApprovalRequest, kind: RequestKind, now: datetime) -> None:
    """Whether the person may approve at this moment; raises what stands against it."""
    _require_role(person, kind.approver_roles)
    mode = Mode(row.mode)
    if mode is Mode.SOLO and not kind.solo_allowed:
        raise SoloRefused(f"{kind.title}: not for a desk of one person")
    if mode is Mode.DUAL and row.proposer_id == person.pk:
        raise SelfApproval("whoever asked cannot approve it")
    opens_at = row.proposed_at + kind.wait_in(mode)
    if now < opens_at:
        raise SoloDelay(f"this can be approved from {opens_at:%Y-%m-%d %H:%M} UTC on")
    changed_at = selectors.latest_change(person, kind.approver_roles)
    wait = cooling_off(settings.TRADING_ENVIRONMENT)
    if changed_at is None or now - changed_at < wait:
        raise CoolingOff(f"{person.get_username()} may approve {wait} after the last change of credentials")


def counts(vote: Vote, row: ApprovalRequest, kind: RequestKind, now: datetime) -> bool:
    """Whether this approval still counts: its voter may approve now, by what let him vote then.

    Whoever left and came back, or changed the second factor since, has said nothing yet.
    """
    try:
        require_eligible(vote.approver, row, kind, now)
    except DomainError:
        return False
    changed_at = selectors.latest_change(vote.approver, kind.approver_roles)
    return changed_at is not None and changed_at <= vote.decided_at


def require_executor(person: "User", kind: RequestKind) -> None:
    """Whoever may ask for this or approve it carries it out."""
    _require_role(person, kind.requester_roles | kind.approver_roles)


def _require_role(person: "User", roles: frozenset[Role]) -> None:
    if selectors.list_roles(person).isdisjoint(roles):
        wanted = " or ".join(sorted(role.value for role in roles))
        raise NotDesignated(f"{person.get_username()} is not designated as {wanted}")
