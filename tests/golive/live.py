"""Accounts that are live, made of rows: activations as they would have been, without the way to them."""

import itertools
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from controlplane.approvals.core import Actor, ActorKind, Role, VoteDecision
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.selectors import find_user, get_actor, get_user
from controlplane.approvals.voting import vote_on_request
from golive.core.words import ActivationState, Phase, ProgrammeState
from golive.freeze import take_freeze
from golive.holds import request_release
from golive.models import Activation, Freeze, GoLiveConfig, Programme
from golive.permits import replace_permit
from golive.services import ensure_config
from risk.core.values import Limits
from risk.limits import load_profiles, with_digest
from risk.registration import store_limit_set
from tests.approvals.conftest import REASON, choose_mode, code_of, make_person
from trading.models import Account, Permit
from trading.selectors import get_clocks

OPERATOR = Actor(name="ann", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))
GUARD = Actor(name="test", kind=ActorKind.GUARD)
NUMBERS = itertools.count(1)


def make_limits(profile: str = "MICRO", **changes: Any) -> Limits:
    """The profile's limits with some of them changed, named anew and stored."""
    limits = with_digest(replace(load_profiles()[profile], **changes))
    store_limit_set(limits=limits, actor="system:test", reason="limits of the test")
    return limits


def go_live(account: Account, limits: Limits | None = None, *, is_confirmed: bool = False) -> Activation:
    """Activated now under these limits; what stood before is superseded."""
    limits = limits or make_limits()
    clocks = get_clocks()
    Activation.objects.filter(account=account, ended_at__isnull=True).update(
        state=ActivationState.SUPERSEDED.value, ended_at=Now()
    )
    Programme.objects.filter(account=account, state=ProgrammeState.OPEN.value).update(
        state=ProgrammeState.ROLLED_BACK.value, closed_at=Now()
    )
    ensure_config(actor="system:test", reason="loaded by the test")
    config = GoLiveConfig.objects.latest("pk")
    freeze = Freeze.objects.order_by("-id").first() or take_freeze("system:test")
    programme = Programme.objects.create(
        account=account,
        profile=limits.profile,
        phase=Phase.OBSERVATION.value,
        freeze=freeze,
        opened_by="system:test",
        phase_since_market_at=clocks.market_at,
    )
    permit = replace_permit(
        account=account,
        kind="LIVE",
        profile=limits.profile,
        limit_set_digest=limits.digest,
        actor="system:test",
        reason="activated by the test",
        wall_at=clocks.wall_at,
    )
    activation = Activation.objects.create(
        programme=programme,
        account=account,
        request_id=uuid.uuid4(),
        request_digest=f"{next(NUMBERS):064x}",
        profile=limits.profile,
        limit_set_digest=limits.digest,
        config=config,
        freeze=freeze,
        permit=permit,
        requested_by="ann",
        approved_by=["bob"],
        activated_by="ann",
        approval_words="another person",
        market_at=clocks.market_at,
    )
    if is_confirmed:
        confirm(activation)
    activation.refresh_from_db()
    return activation


def confirm(activation: Activation) -> None:
    Activation.objects.filter(pk=activation.pk).update(
        state=ActivationState.CONFIRMED.value, confirmed_at=Now()
    )
    Programme.objects.filter(pk=activation.programme_id).update(
        state=ProgrammeState.CONFIRMED.value, closed_at=Now()
    )


def release(account: Account, asked_by: str = "ann", approved_by: str = "bob") -> ApprovalRequest:
    """The two people who may: one asks, another approves. Both are made where they are not."""
    choose_mode()
    for name, role in ((asked_by, Role.OPERATOR), (approved_by, Role.APPROVER)):
        if find_user(name) is None:
            make_person(name, role)
    request = request_release(account=account, reason=REASON, actor=get_actor(asked_by))
    return approve(request, approved_by)


def approve(request: ApprovalRequest, name: str = "bob") -> ApprovalRequest:
    return vote_on_request(
        request_id=request.pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(get_user(name)),
        reason=REASON,
        actor=get_actor(name),
    )


def permit_of(account: Account) -> Permit | None:
    return Permit.objects.filter(account=account, active=True).first()


def let_pass(activation: Activation, minutes: float) -> None:
    """As if it had been activated so many minutes of market time earlier."""
    at = activation.market_at - timedelta(minutes=minutes)
    Activation.objects.filter(pk=activation.pk).update(market_at=at)
    activation.refresh_from_db()
