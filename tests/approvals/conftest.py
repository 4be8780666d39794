"""A desk of people with second factors, and a clock for requests: the owner moves their times back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from controlplane.approvals import core, selectors
from controlplane.approvals.core import Mode, RequestState, Role
from controlplane.approvals.models import ApprovalMode, ApprovalRequest, SecondFactorUse, Vote
from controlplane.approvals.requests import move
from controlplane.audit.canonical import canonical_text
from risk.models import Override
from tests import factories
from tests.conftest import alter_trigger, owner_connection
from trading.models import Account

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
REASON = "a reason of some length"


def make_person(name: str, *roles: Role, **values: object):
    user = factories.UserFactory(username=name, roles=roles, **values)
    factories.SecondFactorFactory(user=user, totp_secret=SECRET)
    return user


def code_of(user, shift: int = 0) -> str:
    """A code of this moment that the person has not used yet."""
    step = core.totp_step(selectors.get_database_time())
    used = set(SecondFactorUse.objects.filter(user=user).values_list("step", flat=True))
    free = [one for one in (step, step + 1, step - 1) if one not in used]
    return core.totp_code(user.second_factor.totp_secret, free[0] + shift)


def forget_codes() -> None:
    """As if the codes of this minute were of another one."""
    forget("approvals_secondfactoruse")


def choose_mode(mode: Mode = Mode.DUAL) -> None:
    if mode is Mode.SOLO and ApprovalMode.objects.filter(mode=Mode.DUAL.value).exists():
        with unguarded("approvals_approvalmode") as owner:
            owner.execute("UPDATE approvals_approvalmode SET mode = 'solo'")
        return
    ApprovalMode.objects.update_or_create(id=1, defaults={"mode": mode.value, "set_by": "system:test"})


def forget(*tables: str) -> None:
    """As if these had never been written."""
    with unguarded(*tables) as owner:
        for table in tables:
            owner.execute(f"DELETE FROM {table}")


def grant_override(
    account: Account, *, limit: str, value: Decimal, max_uses: int | None, window: timedelta
) -> Override:
    """A limit that was raised as asked and approved, whether or not the services would have let it."""
    choose_mode()
    voter = get_user_model().objects.filter(username="axel").first() or make_person("axel", Role.APPROVER)
    now, number = selectors.get_database_time(), ApprovalRequest.objects.count()
    asked = {"account": account.name, "limit": limit, "value": value, "uses": max_uses}
    row = ApprovalRequest.objects.create(
        kind="risk.override",
        subject_text=canonical_text(asked | {"window_seconds": int(window.total_seconds())}),
        digest=f"{number:064x}",
        proposer_name="system:test",
        reason=REASON,
        mode=Mode.DUAL.value,
        required_approvals=1,
        approve_by=now + timedelta(hours=1),
        execute_by=now + timedelta(hours=1),
    )
    SecondFactorUse.objects.create(user=voter, step=number, action="vote.approve", digest=row.digest)
    Vote.objects.create(
        request=row, approver=voter, decision="approve", digest=row.digest, reason=REASON, step_up_at=now
    )
    move(row, RequestState.APPROVED)
    override = Override.objects.create(
        account=account,
        request_id=row.pk,
        limit=limit,
        value=value,
        max_uses=max_uses,
        reason=REASON,
        requested_by="olga",
        approved_by="axel",
        expires_at=now + window,
    )
    move(row, RequestState.EXECUTED)
    override.refresh_from_db()
    return override


@contextmanager
def unguarded(*tables: str) -> Iterator[object]:
    """The owner's connection with the triggers of these tables off: nothing that ships can do this."""
    name = connection.settings_dict["NAME"]
    with owner_connection(name) as owner, owner.transaction():
        # A test inside one transaction holds what this waits for: it must be a transactional test.
        owner.execute("SET LOCAL lock_timeout = '10s'")
        found = [
            (table, str(trigger))
            for table in tables
            for (trigger,) in owner.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled = 'A'", [table]
            ).fetchall()
        ]
        for table, trigger in found:
            alter_trigger(owner, table, trigger, "DISABLE")
        yield owner
        owner.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, trigger in found:
            alter_trigger(owner, table, trigger, "ENABLE ALWAYS")


def let_time_pass(span: timedelta) -> None:
    """As if the span had gone by since people were designated and requests were made.

    The times by which a request must be approved and executed are in its digest, and stay.
    """
    moved = {
        "approvals_approvalrequest": "proposed_at",
        "approvals_vote": "proposed_at",
        "approvals_credentialchange": "changed_at",
        "approvals_designation": "valid_from",
        "approvals_secondfactor": "enrolled_at",
    }
    with unguarded(*moved) as owner:
        for table, column in moved.items():
            owner.execute(f"UPDATE {table} SET {column} = {column} - %s", [span])


def run_out(column: str) -> None:
    """Let every open request's time be over: `approve_by` or `execute_by`."""
    with unguarded("approvals_approvalrequest") as owner:
        owner.execute(
            "UPDATE approvals_approvalrequest SET proposed_at = now() - interval '3 hours',"
            " approve_by = now() - interval '2 hours'"
        )
        if column == "execute_by":
            owner.execute("UPDATE approvals_approvalrequest SET execute_by = now() - interval '1 hour'")


@pytest.fixture
def desk(db):
    """Ann may ask, bob and cat may approve; dual."""
    choose_mode()
    return {
        "ann": make_person("ann", Role.REQUESTER, Role.APPROVER),
        "bob": make_person("bob", Role.APPROVER),
        "cat": make_person("cat", Role.APPROVER),
    }
