"""`golive rollback|release|release-approve|history`: the way back, the latch, and what came before."""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser, OutputWrapper

from controlplane.approvals.core import VoteDecision
from controlplane.approvals.describing import describe_request
from controlplane.approvals.selectors import get_actor
from controlplane.approvals.voting import vote_on_request
from controlplane.errors import InvalidInput
from golive.holds import RELEASE, request_release
from golive.models import Rollback
from golive.rollback import DEFAULT_REASON, DRILL, MANUAL, roll_back
from golive.rollback_steps import advance_rollback
from golive.selectors import describe_rollback, list_rollbacks
from trading.selectors import get_account


def add_verbs(verbs: Any) -> tuple[CommandParser, ...]:
    """Add the verbs; returns their parsers."""
    back = verbs.add_parser("rollback", help="take an account back at once; one person may, in any state")
    back.add_argument("--account")
    back.add_argument("--actor", help="the person who takes it back")
    back.add_argument("--reason", default=DEFAULT_REASON)
    back.add_argument("--drill", action="store_true", help="a rehearsal: for real, on a paper account only")
    back.add_argument("--resume", type=int, metavar="ID", help="go on with one that is not through")
    release = verbs.add_parser("release", help="ask that the hold after a rollback end; another approves")
    release.add_argument("--account", required=True)
    release.add_argument("--otp", help="the second factor, asked for where one person approves alone")
    approve = verbs.add_parser("release-approve", help="approve the release, which ends the hold")
    approve.add_argument("request_id", type=UUID)
    approve.add_argument("--otp", required=True, help="the second factor of this moment")
    for parser in (release, approve):
        parser.add_argument("--actor", required=True, help="the person")
        parser.add_argument("--reason", required=True)
    history = verbs.add_parser("history", help="every rollback: how long it took, why, and what it met")
    history.add_argument("--account", required=True)
    return back, release, approve, history


def run_rollback(options: dict[str, Any], out: OutputWrapper) -> None:
    """The risk is away when the first line of this returns; what the venue must do is done here too."""
    if options["resume"] is not None:
        row = advance_rollback(options["resume"])
    elif options["account"] and options["actor"]:
        row = roll_back(
            account=get_account(options["account"]),
            actor=get_actor(options["actor"]),
            reason=options["reason"],
            trigger=DRILL if options["drill"] else MANUAL,
            call_finisher=advance_rollback,
        )
        row = Rollback.objects.select_related("account").get(pk=row.pk)
    else:
        raise InvalidInput("rollback: --account and --actor, or --resume")
    _show([row], options, out)


def run_release(options: dict[str, Any], out: OutputWrapper) -> None:
    row = request_release(
        account=get_account(options["account"]),
        reason=options["reason"],
        actor=get_actor(options["actor"]),
        otp=options["otp"],
    )
    if options["json"]:
        out.write(json.dumps(describe_request(row)))
        return
    out.write(f"request {row.pk} to release {row.subject['account']}, held because: {row.subject['because']}")
    out.write(f"next: manage.py golive release-approve {row.pk} --otp CODE --actor NAME --reason WHY")


def run_release_approve(options: dict[str, Any], out: OutputWrapper) -> None:
    row = vote_on_request(
        request_id=options["request_id"],
        kind=RELEASE,
        decision=VoteDecision.APPROVE,
        otp=options["otp"],
        reason=options["reason"],
        actor=get_actor(options["actor"]),
    )
    text = f"request {row.pk} is {row.state}; {row.subject['account']} is released, and still not live"
    out.write(json.dumps(describe_request(row)) if options["json"] else text)


def run_history(options: dict[str, Any], out: OutputWrapper) -> None:
    _show(list(list_rollbacks(get_account(options["account"]))), options, out)


def _show(rows: list[Rollback], options: dict[str, Any], out: OutputWrapper) -> None:
    found = [describe_rollback(row) for row in rows]
    if options["json"]:
        out.write(json.dumps({"rollbacks": found}))
        return
    for row in found:
        to = row["to_limit_set_digest"][:12] or "nothing: halted"
        out.write(
            f"rollback {row['rollback_id']} of {row['account']} by {row['actor']}: {row['state']}, to {to}"
        )
        out.write(f"  {row['trigger']}: {row['reason']}")
        for step in row["steps"]:
            out.write(f"  {step['name']:<10} {step['state']:<5} {step['ms']:>8} ms  {step['detail']}")
        if row["resolved_by"]:
            out.write(f"  released by {row['resolved_by']}")
    if not found:
        out.write("never rolled back")
