"""A programme, its conditions and an activation as plain JSON, for commands, pages and the API."""

from typing import Any

from controlplane.approvals.describing import describe_request
from controlplane.approvals.models import ApprovalRequest
from golive.activation import find_activation_request
from golive.core.programme import waits_until
from golive.core.programme_values import Condition
from golive.core.words import Phase
from golive.models import Activation, Hold, Programme
from golive.programme import find_open_programme, list_conditions
from golive.programme_rules import get_programme_rules
from trading.models import Account
from trading.selectors import get_active_permit


def describe_condition(item: Condition) -> dict[str, Any]:
    return {
        "name": item.name,
        "is_met": item.is_met,
        "code": item.code,
        "text": item.text,
        "next": item.next,
    }


def describe_programme(programme: Programme) -> dict[str, Any]:
    """Where it stands, and what it asks for before it goes on; `waits_until` is market time."""
    until = waits_until(programme.phase_since_market_at, Phase(programme.phase), get_programme_rules())
    return {
        "id": programme.pk,
        "profile": programme.profile,
        "phase": programme.phase,
        "state": programme.state,
        "since_at": programme.phase_since_at.isoformat(),
        "waits_until": until.isoformat(),
        "freeze": None if programme.freeze is None else programme.freeze.digest,
        "conditions": [describe_condition(item) for item in list_conditions(programme)],
    }


def describe_activation(activation: Activation) -> dict[str, Any]:
    return {
        "id": activation.pk,
        "profile": activation.profile,
        "state": activation.state,
        "limit_set": activation.limit_set_digest,
        "request_id": str(activation.request_id),
        "requested_by": activation.requested_by,
        "approved_by": activation.approved_by,
        "activated_by": activation.activated_by,
        "approval": activation.approval_words,
        "activated_at": activation.activated_at.isoformat(),
        "confirmed_at": None if activation.confirmed_at is None else activation.confirmed_at.isoformat(),
    }


def describe_asked(request: ApprovalRequest) -> dict[str, Any]:
    facts = describe_request(request)
    return {"request_id": facts.pop("id"), **facts}


def describe_account(account: Account) -> dict[str, Any]:
    """Are we live, at what size, on which way, and what is asked."""
    permit, programme = get_active_permit(account), find_open_programme(account)
    request = find_activation_request(account)
    standing = Activation.objects.filter(account=account, ended_at__isnull=True).first()
    return {
        "account": account.name,
        "environment": account.environment,
        "permit": None if permit is None else permit.kind,
        "profile": None if permit is None else permit.profile,
        "limit_set": None if permit is None else permit.limit_set_digest,
        "is_held": Hold.objects.filter(account=account, released_at__isnull=True).exists(),
        "programme": None if programme is None else describe_programme(programme),
        "request": None if request is None else describe_asked(request),
        "activation": None if standing is None else describe_activation(standing),
    }
