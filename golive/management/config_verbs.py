"""`golive config …`: the ceiling over the desk, and what approvals stand on."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser, OutputWrapper

from controlplane.approvals.core import VoteDecision
from controlplane.approvals.describing import describe_request
from controlplane.approvals.selectors import get_actor
from controlplane.approvals.voting import vote_on_request
from controlplane.audit.canonical import canonical_text
from golive import services
from golive.ceiling import require_config
from golive.drift import list_drift
from golive.freeze import Drift, find_unloaded, measure_groups
from golive.hotfix import ADOPTION
from golive.standing import list_activated_accounts
from trading.selectors import get_account


def add_verbs(verbs: Any) -> tuple[CommandParser, ...]:
    """Add the verb; returns the parsers of what it takes."""
    config = verbs.add_parser("config", help="config/go_live.yaml, and what is loaded and frozen")
    parts = config.add_subparsers(dest="part", required=True)
    show = parts.add_parser("show", help="what is loaded, and what is not as approved or as filed")
    load = parts.add_parser("load", help="put config/go_live.yaml in force")
    load.add_argument("--file", type=Path, help="another file")
    diff = parts.add_parser("diff", help="where files, what is loaded and what was frozen differ")
    freeze = parts.add_parser("freeze", help="keep a snapshot of every group")
    adopt = parts.add_parser("adopt", help="ask that an activation stand on what is loaded now")
    adopt.add_argument("--account", required=True)
    adopt.add_argument("--otp", help="the second factor, asked for where one person approves alone")
    approve = parts.add_parser("approve", help="approve such a request, which carries it out")
    approve.add_argument("request_id", type=UUID)
    approve.add_argument("--otp", required=True, help="the second factor of this moment")
    for parser in (load, freeze, adopt, approve):
        parser.add_argument("--actor", required=True, help="the person")
        parser.add_argument("--reason", required=True)
    return show, load, diff, freeze, adopt, approve


def run_config(options: dict[str, Any], out: OutputWrapper) -> None:
    PARTS[options["part"]](options, out)


def _show(options: dict[str, Any], out: OutputWrapper) -> None:
    row = require_config()
    answer = _list_differences() | {
        "digest": row.digest,
        "loaded_by": row.loaded_by,
        "loaded_at": row.loaded_at.isoformat(),
        "reason": row.reason,
        "values": json.loads(row.body),
        "groups": {name: group.digest for name, group in measure_groups().items()},
    }
    if options["json"]:
        out.write(json.dumps(answer))
        return
    out.write(f"go_live.yaml {row.digest[:12]}, loaded by {row.loaded_by}: {row.reason}")
    for key, value in answer["values"].items():
        out.write(f"  {key:<28} {canonical_text(value)}")
    out.write("groups, as loaded")
    for name, digest in answer["groups"].items():
        out.write(f"  {name:<28} {digest[:12]}")
    _write_differences(answer, out)


def _diff(options: dict[str, Any], out: OutputWrapper) -> None:
    answer = _list_differences()
    if options["json"]:
        out.write(json.dumps(answer))
    else:
        _write_differences(answer, out)


def _list_differences() -> dict[str, Any]:
    """`unloaded`: files against what this process has loaded; `drift`: that against what was frozen."""
    drift = {account.name: _as_texts(list_drift(account)) for account in list_activated_accounts()}
    return {"unloaded": _as_texts(find_unloaded()), "drift": drift}


def _as_texts(found: list[Drift]) -> dict[str, str]:
    return {item.group: item.text for item in found}


def _write_differences(answer: dict[str, Any], out: OutputWrapper) -> None:
    for group, text in answer["unloaded"].items():
        out.write(f"the file is not what is loaded: {group}: {text}")
    for account, groups in answer["drift"].items():
        for group, text in groups.items():
            out.write(f"{account} is not as approved: {group}: {text}")
    if not answer["unloaded"] and not any(answer["drift"].values()):
        out.write("the files are what is loaded, and what is loaded is what was frozen")


def _load(options: dict[str, Any], out: OutputWrapper) -> None:
    actor = get_actor(options["actor"])
    row = services.load_config(actor=actor, reason=options["reason"], path=options["file"])
    answer = {"digest": row.digest, "values": json.loads(row.body)}
    out.write(json.dumps(answer) if options["json"] else f"go_live.yaml {row.digest[:12]} is in force")


def _freeze(options: dict[str, Any], out: OutputWrapper) -> None:
    row = services.freeze_desk(actor=get_actor(options["actor"]), reason=options["reason"])
    answer = {"freeze": row.pk, "digest": row.digest, "groups": row.groups}
    out.write(json.dumps(answer) if options["json"] else f"freeze {row.pk} {row.digest}")


def _adopt(options: dict[str, Any], out: OutputWrapper) -> None:
    row = services.request_adoption(
        account=get_account(options["account"]),
        reason=options["reason"],
        actor=get_actor(options["actor"]),
        otp=options["otp"],
    )
    if options["json"]:
        out.write(json.dumps(describe_request(row)))
        return
    for group, text in row.subject["changes"].items():
        out.write(f"{group}: {text}")
    out.write(f"request {row.pk}: another person approves it until {row.approve_by:%Y-%m-%d %H:%M} UTC")
    out.write(f"next: manage.py golive config approve {row.pk} --otp CODE --actor NAME --reason WHY")


def _approve(options: dict[str, Any], out: OutputWrapper) -> None:
    row = vote_on_request(
        request_id=options["request_id"],
        decision=VoteDecision.APPROVE,
        otp=options["otp"],
        reason=options["reason"],
        actor=get_actor(options["actor"]),
        kind=ADOPTION,
    )
    out.write(json.dumps(describe_request(row)) if options["json"] else f"request {row.pk} is {row.state}")


PARTS = {
    "show": _show,
    "load": _load,
    "diff": _diff,
    "freeze": _freeze,
    "adopt": _adopt,
    "approve": _approve,
}
