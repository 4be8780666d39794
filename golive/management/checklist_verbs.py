"""`golive checklist|sign|report`: the pre-launch checklist of an open programme, and its report."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser, OutputWrapper

from controlplane.approvals.selectors import get_actor
from controlplane.errors import Conflict
from golive.checklist import list_lines, sign_line
from golive.core.values import Purpose
from golive.programme import get_open_programme
from golive.selectors import get_latest_run
from golive.validation_report import make_report
from trading.selectors import get_account


class NotChecked(Conflict):
    """There is no complete pre-flight to report on."""

    code = "not_checked"


def add_verbs(verbs: Any) -> tuple[CommandParser, ...]:
    """Add the verbs; returns their parsers."""
    checklist = verbs.add_parser("checklist", help="every line of the checklist, measured now or signed")
    sign = verbs.add_parser("sign", help="vouch for a line that no machine can measure")
    sign.add_argument("line", help="the line's name, as `checklist` shows it")
    sign.add_argument("--not-met", action="store_true", help="say that it is not met")
    report = verbs.add_parser("report", help="keep the validation report of the newest complete pre-flight")
    for parser in (checklist, sign, report):
        parser.add_argument("--account", required=True)
    for parser in (sign, report):
        parser.add_argument("--actor", required=True, help="the person")
    sign.add_argument("--reason", required=True, help="what was seen, at least fifteen characters")
    return checklist, sign, report


def run_checklist(options: dict[str, Any], out: OutputWrapper) -> None:
    lines = list_lines(get_open_programme(get_account(options["account"])))
    if options["json"]:
        out.write(json.dumps({"lines": [asdict(line) for line in lines]}))
        return
    for line in lines:
        mark = "met " if line.is_met else "OPEN"
        out.write(f"{mark} {line.name:<18} {line.kind:<8} {line.text}: {line.evidence}")
    out.write(f"{sum(line.is_met for line in lines)} of {len(lines)} met")


def run_sign(options: dict[str, Any], out: OutputWrapper) -> None:
    row = sign_line(
        programme=get_open_programme(get_account(options["account"])),
        line=options["line"],
        is_met=not options["not_met"],
        note=options["reason"],
        actor=get_actor(options["actor"]),
    )
    said = "met" if row.is_met else "not met"
    answer = {"signature": row.pk, "line": row.line, "is_met": row.is_met, "by": row.signed_by}
    out.write(json.dumps(answer) if options["json"] else f"{row.line}: {said}, says {row.signed_by}")


def run_report(options: dict[str, Any], out: OutputWrapper) -> None:
    programme = get_open_programme(get_account(options["account"]))
    run = get_latest_run(Purpose.GOLIVE, is_complete=True)
    if run is None:
        raise NotChecked("no complete pre-flight was run; `manage.py preflight` does that")
    row = make_report(programme=programme, run=run, actor=get_actor(options["actor"]).audit_name)
    answer = {"digest": row.digest, "run_id": row.run_id, "programme": programme.pk}
    out.write(json.dumps(answer) if options["json"] else f"report {row.digest} of run {row.run_id}")
