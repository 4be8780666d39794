"""`emergency_stop rearm-request|rearm-approve|rearm-status|drill`: ending a stop, and rehearsing one."""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser, OutputWrapper

from controlplane.approvals.core import VoteDecision
from controlplane.approvals.describing import describe_request
from controlplane.approvals.selectors import get_actor, get_request
from controlplane.approvals.voting import vote_on_request
from controlplane.errors import InvalidInput
from risk import services
from risk.models import Drill, StopEvent
from risk.stops.rearm import REARM, describe_conditions, find_rearm_request, find_standing_stop


def add_verbs(verbs: Any) -> tuple[CommandParser, ...]:
    """Add the verbs; returns their parsers."""
    ask = verbs.add_parser("rearm-request", help="ask that a stop end; another person approves")
    _add_stop(ask)
    ask.add_argument("--root-cause", required=True, help="what it was, and what was done about it")
    ask.add_argument("--rebase", action="store_true", help="after a loss of capital: measure from now on")
    ask.add_argument("--otp", help="the second factor, asked for where one person approves alone")
    _add_person(ask)
    approve = verbs.add_parser("rearm-approve", help="approve a request to re-arm, which ends the stop")
    approve.add_argument("request_id", type=UUID)
    approve.add_argument("--otp", required=True, help="the second factor of this moment")
    _add_person(approve)
    status = verbs.add_parser("rearm-status", help="what is met and what is not before a stop may end")
    _add_stop(status)
    drill = verbs.add_parser("drill", help="rehearse a stop on the paper account for it, for real")
    drill.add_argument("--account", help="default: the one of config/emergency_stop.yaml")
    drill.add_argument("--actor", help="the person who rehearses; default: the system")
    return ask, approve, status, drill


def _add_stop(parser: CommandParser) -> None:
    parser.add_argument("event_id", nargs="?", type=int, help="the stop's number")
    parser.add_argument("--scope", help="or the scope it stands on")


def _add_person(parser: CommandParser) -> None:
    parser.add_argument("--actor", required=True, help="the person")
    parser.add_argument("--reason", required=True)


def request_rearm(options: dict[str, Any], out: OutputWrapper) -> None:
    row = services.request_rearm(
        **_stop_of(options),
        root_cause=options["root_cause"],
        reason=options["reason"],
        rebase=options["rebase"],
        otp=options["otp"],
        actor=get_actor(options["actor"]),
    )
    facts = describe_request(row)
    if options["json"]:
        out.write(json.dumps(facts))
        return
    out.write(f"request {row.pk} to end stop {row.subject['event_id']} of {row.subject['scope']}")
    if row.subject["new_base"] is not None:
        out.write(f"new capital base: {row.subject['new_base']} USDT")
    show_conditions(facts["conditions"], out)
    out.write(f"next: manage.py emergency_stop rearm-approve {row.pk} --otp CODE --actor NAME --reason WHY")


def approve_rearm(options: dict[str, Any], out: OutputWrapper) -> None:
    row = get_request(options["request_id"])
    if row.kind != REARM:
        raise InvalidInput(f"request {row.pk} is of kind {row.kind}", code="not_a_rearm_request")
    row = vote_on_request(
        request_id=row.pk,
        decision=VoteDecision.APPROVE,
        otp=options["otp"],
        reason=options["reason"],
        actor=get_actor(options["actor"]),
    )
    if options["json"]:
        out.write(json.dumps(describe_request(row)))
        return
    event = StopEvent.objects.get(pk=row.subject["event_id"])
    text = "has ended" if event.ended_at is not None else "still stands: another approval is needed"
    out.write(f"request {row.pk} is {row.state}; stop {event.pk} of {event.scope} {text}")


def show_rearm_status(options: dict[str, Any], out: OutputWrapper) -> None:
    """Of one stop, or of every stop that stands."""
    wanted = _stop_of(options)
    if any(wanted.values()):
        events = [find_standing_stop(**wanted)]
    else:
        events = list(StopEvent.objects.filter(ended_at__isnull=True).order_by("tripped_at", "id"))
    rows = [_describe_stop(event) for event in events]
    if options["json"]:
        out.write(json.dumps({"stops": rows}))
        return
    for row in rows:
        head = f"stop {row['event_id']} of {row['scope']}: {row['progress']}, by {row['source']}"
        out.write(f"{head}: {row['reason']}")
        show_conditions(row["conditions"], out)
        out.write(f"  request: {row['request_id'] or 'none'}")
    if not rows:
        out.write("no stop stands")


def run_drill(options: dict[str, Any], out: OutputWrapper) -> bool:
    """Rehearse now; whether it passed."""
    actor = None if options["actor"] is None else get_actor(options["actor"])
    row = services.run_drill(account=options["account"], actor=actor)
    if options["json"]:
        out.write(json.dumps(describe_drill(row)))
        return row.is_passed
    verdict = "passed" if row.is_passed else "failed"
    seconds = "not confirmed" if row.seconds is None else f"confirmed after {row.seconds} s"
    out.write(f"drill {row.pk} on {row.account} {verdict}: stop {row.event_id} {seconds}")
    for fault in row.proof["faults"]:
        out.write(f"  {fault}")
    return row.is_passed


def _describe_stop(event: StopEvent) -> dict[str, Any]:
    request = find_rearm_request(event)
    rebases = request is not None and bool(request.subject["rebase"])
    return {
        "event_id": event.pk,
        "scope": event.scope,
        "source": event.source,
        "reason": event.reason,
        "progress": event.progress,
        "request_id": None if request is None else str(request.pk),
        "conditions": describe_conditions(event, rebases=rebases),
    }


def show_conditions(conditions: list[dict[str, Any]], out: OutputWrapper) -> None:
    for item in conditions:
        mark = "met    " if item["is_met"] else "MISSING"
        step = f" -> {item['next']}" if item["next"] else ""
        out.write(f"  {mark} {item['name']:<10} {item['text']}{step}")


def _stop_of(options: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": options["event_id"], "scope": options["scope"]}


def describe_drill(row: Drill) -> dict[str, Any]:
    """A drill as plain JSON."""
    return {
        "id": row.pk,
        "event_id": row.event_id,
        "account": row.account,
        "is_passed": row.is_passed,
        "seconds": None if row.seconds is None else str(row.seconds),
        "code_version": row.code_version,
        "finished_at": row.finished_at.isoformat(),
        "proof": row.proof,
    }
