"""A stop that may be re-armed: a test takes one thing away."""

import itertools
from datetime import timedelta
from typing import Any

from controlplane.approvals import selectors, voting
from controlplane.approvals.core import Actor, ActorKind, VoteDecision
from controlplane.approvals.models import ApprovalRequest
from controlplane.code_version import get_code_version
from risk import models
from risk.services import trip_emergency_stop
from risk.stops.rearm import record_rearm_check, request_rearm
from tests.approvals.conftest import REASON, code_of
from tests.risk import desk as rows
from trading.selectors import get_account, get_clocks

GUARD = Actor(name="watch", kind=ActorKind.GUARD)
ROOT_CAUSE = "a wrong price of the venue, corrected since"
RUNS = itertools.count(1)


def trip(scope: str = "account:main", **changes: Any) -> models.StopEvent:
    values = {"scope": scope, "reason": "a test", "actor": GUARD, "call_sweeper": lambda _: None}
    return trip_emergency_stop(clocks=get_clocks(), **values | changes)


def confirm(event: models.StopEvent, *, ago: timedelta = timedelta(minutes=20)) -> models.StopEvent:
    """As if the venues had confirmed it so long ago."""
    at = get_clocks().wall_at - ago
    models.StopEvent.objects.filter(pk=event.pk).update(
        progress="STOPPED", stopped_at=at, tripped_at=at - timedelta(seconds=2)
    )
    event.refresh_from_db()
    return event


def check(**changes: Any) -> models.RearmCheck:
    """A complete pre-flight for re-arming of a minute ago that passed."""
    at = get_clocks().wall_at
    values = {
        "run_id": next(RUNS),
        "account": "",
        "environment": "paper",
        "code_version": get_code_version(),
        "is_passed": True,
        "started_at": at - timedelta(minutes=1),
        "finished_at": at - timedelta(seconds=30),
    }
    return record_rearm_check(**values | changes)


def make_ready(event: models.StopEvent, **changes: Any) -> models.StopEvent:
    """Confirmed, cooled down, checked, compared."""
    confirm(event)
    check(**changes)
    rows.refresh(get_account("main"))
    return event


def ask(event: models.StopEvent, by: str = "ann", **changes: Any) -> ApprovalRequest:
    values = {
        "event_id": event.pk,
        "root_cause": ROOT_CAUSE,
        "reason": REASON,
        "actor": selectors.get_actor(by),
    }
    return request_rearm(**values | changes)


def approve(request: ApprovalRequest, name: str = "bob") -> ApprovalRequest:
    user = selectors.get_user(name)
    return voting.vote_on_request(
        request_id=request.pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(user),
        reason=REASON,
        actor=selectors.actor_of_user(user),
    )
