"""Fifty rounds of eight at once, each on a connection of its own: approvers, activators, editors."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connections
from django.db.models.functions import Now

from controlplane.approvals import selectors
from controlplane.approvals.core import Role
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import ApprovalRequest, Vote
from controlplane.approvals.requests import required_of, withdraw_request
from controlplane.approvals.voting import list_counting
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from golive.activation import ACTIVATION
from golive.models import Activation, Programme
from golive.permits import replace_permit
from tests.approvals.conftest import REASON, forget_codes, make_person
from tests.golive import walking
from tests.risk import desk as rows
from trading import models as facts
from trading.selectors import get_active_permit, get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 50
TRIES = 6
# What may refuse whoever comes second.
EXPECTED = {
    "state_changed",
    "already_voted",
    "programme_changed",
    "request_open",
    "request_not_found",
    "step_up_used",
    "quorum_lost",
}


@pytest.fixture
def account(db, settings, tmp_path):
    walking.write_manual(settings, tmp_path)
    made = walking.make_desk()
    make_person("dan", Role.APPROVER)
    make_person("eve", Role.REQUESTER)
    return made


class Crowd:
    """Runs everybody at one moment; keeps what each came to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.refused: list[str] = []
        self.broken: list[BaseException] = []

    def run(self, jobs: dict[str, Callable[[], Any]]) -> None:
        barrier = threading.Barrier(len(jobs))
        threads = [threading.Thread(target=self._try, args=(barrier, *job)) for job in jobs.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _try(self, barrier: threading.Barrier, name: str, job: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            job()
            self.done.append(name)
        except DomainError as refusal:
            self.refused.append(refusal.code)
        except BaseException as error:  # noqa: BLE001
            self.broken.append(error)
        finally:
            connections.close_all()


def activate_soon(request: ApprovalRequest, name: str) -> Activation:
    """As somebody does who is waiting for the approval."""
    for _ in range(TRIES - 1):
        try:
            return walking.activate(request, name)
        except DomainError as refusal:
            if refusal.code != "state_changed":
                raise
    return walking.activate(request, name)


def edit(request: ApprovalRequest, row: Programme) -> ApprovalRequest:
    """An edit is a withdrawal and a new request."""
    withdraw_request(request_id=request.pk, reason=REASON, actor=walking.actor("ann"))
    return walking.ask(row)


def list_jobs(request: ApprovalRequest, row: Programme) -> dict[str, Callable[[], Any]]:
    """Three approve, three activate, two ask for something else."""
    approving = {f"approve {name}": partial(walking.approve, request, name) for name in ("bob", "cat", "dan")}
    activating = {
        f"activate {name}": partial(activate_soon, request, name) for name in ("ann", "eve", "olga")
    }
    editing = {"edit": partial(edit, request, row), "ask again": partial(walking.ask, row, "olga")}
    return approving | activating | editing


def begin_round(account: facts.Account, before: Programme) -> Programme:
    """The next programme of the account, in the phase of activation, on paper again."""
    Activation.objects.filter(ended_at=None).update(state="rolled_back", ended_at=Now())
    Programme.objects.filter(state="open").update(state="rolled_back", closed_at=Now())
    permit = get_active_permit(account)
    if permit.kind == "LIVE":
        replace_permit(
            account=account,
            kind="PAPER",
            profile="MICRO",
            limit_set_digest=permit.limit_set_digest,
            actor="system:test",
            reason="the round is over",
            wall_at=get_clocks().wall_at,
        )
    row = Programme.objects.create(
        account=account,
        profile="MICRO",
        phase="activation",
        freeze=before.freeze,
        opened_by="ann",
        phase_since_market_at=get_clocks().market_at,
    )
    row.refresh_from_db()
    walking.meet_checklist(row)
    rows.refresh(account)
    forget_codes()
    return row


def check_round(row: Programme, crowd: Crowd) -> None:
    assert not crowd.broken
    assert set(crowd.refused) <= EXPECTED
    activations = Activation.objects.filter(programme=row)
    assert activations.count() == sum(name.startswith("activate") for name in crowd.done) <= 1
    asked = ApprovalRequest.objects.filter(kind=ACTIVATION, subject_text__contains=f'"programme":{row.pk},')
    votes = Vote.objects.filter(request__in=asked, decision="approve")
    assert votes.count() == sum(name.startswith("approve") for name in crowd.done)
    told = AuditEvent.objects.filter(action="approvals.vote", subject_id__in=[str(one.pk) for one in asked])
    assert told.count() == votes.count()
    for request in asked:
        stands = len(list_counting(request, KINDS.get(ACTIVATION)))
        is_enough = stands >= required_of(request, KINDS.get(ACTIVATION))
        assert not (request.state == "proposed" and is_enough)
        assert request.state != "executed" or activations.get().request_id == request.pk
    still_open = asked.filter(state__in=["proposed", "approved"]).count()
    assert still_open <= (0 if activations.exists() else 1)
    assert (get_active_permit(row.account).kind == "LIVE") == activations.exists()


def finish_round(row: Programme) -> None:
    """Nothing is stuck: what is open goes on to its end, one step after the other."""
    row.refresh_from_db()
    if Activation.objects.filter(programme=row).exists():
        return
    forget_codes()
    request = ApprovalRequest.objects.filter(pk=row.request_id, state__in=["proposed", "approved"]).first()
    request = request or walking.ask(row)
    if request.state == "proposed":
        walking.approve(request, "cat")
        request.refresh_from_db()
    assert walking.activate(request, "eve").programme_id == row.pk


def test_one_activation_at_most_no_lost_vote_and_no_stuck_quorum(account):
    row = walking.make_ready(account)
    outcomes: list[str] = []
    for _ in range(ROUNDS):
        row = begin_round(account, row)
        request = walking.ask(row)
        crowd = Crowd()
        crowd.run(list_jobs(request, row))
        check_round(row, crowd)
        outcomes += crowd.done
        finish_round(row)
        assert Activation.objects.filter(programme=row).count() == 1
    assert Activation.objects.count() == ROUNDS
    assert selectors.list_open_requests().filter(kind=ACTIVATION).count() == 0
    assert {name.split()[0] for name in outcomes} >= {"approve"}
