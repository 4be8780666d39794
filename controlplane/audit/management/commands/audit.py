"""`manage.py audit`: prove the log whole, anchor it outside, hand it to someone who can prove it again."""

import json
import sys
from argparse import ArgumentTypeError
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from controlplane.audit import verify
from controlplane.audit.anchors import Anchors, BadFile, anchor_texts
from controlplane.audit.checkpoints import (
    deliver_checkpoints,
    get_public_key,
    list_sinks,
    write_checkpoint,
)
from controlplane.audit.exporting import export_lines
from controlplane.audit.inspecting import inspect_log
from controlplane.audit.segments import close_segment, detach_segment, get_segment, list_segments
from controlplane.audit.selectors import get_database_time
from controlplane.audit.services import record
from controlplane.audit.verification import (
    LogReport,
    read_own_anchors,
    store_verification,
    verify_database,
)
from controlplane.errors import DomainError

BROKEN = 1
USAGE = 2


class Command(BaseCommand):
    help = (
        "Verify, anchor, inspect, export and retain the audit log (controlplane/audit/verify.py runs alone)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        check = commands.add_parser("verify", help="verify the log in the database, or an exported FILE")
        check.add_argument("export", nargs="*", metavar="FILE", help="an export, or its segments in order")
        _add_anchors(check)
        check.add_argument(
            "--after",
            type=_seq,
            default=0,
            metavar="SEQ",
            help="leave out what comes before; a FILE begins after it",
        )
        check.add_argument("--json", action="store_true")
        inspect = commands.add_parser(
            "inspect", help="what an auditor asks: heads, chain, gaps, rows, rights"
        )
        _add_anchors(inspect)
        inspect.add_argument("--json", action="store_true")
        checkpoint = commands.add_parser("checkpoint", help="sign the head and hand it to the places outside")
        checkpoint.add_argument("--public-key", action="store_true", help="print the key to check with, only")
        checkpoint.add_argument("--json", action="store_true")
        _add_who(checkpoint)
        export = commands.add_parser("export", help="write JSON lines, one event a line")
        export.add_argument("--after", type=_seq, default=0, metavar="SEQ")
        export.add_argument(
            "--segment", type=_seq, metavar="SEQ", help="the closed segment that begins at SEQ"
        )
        export.add_argument("--output", metavar="FILE", help="default: standard output")
        export.add_argument("--streams", action="store_true", help="with the sealed rows before their seals")
        export.add_argument("--json", action="store_true", help="with --output: print what was written")
        _add_who(export)
        _add_segments(commands.add_parser("segment", help="close, list or detach parts of the log"))

    def handle(self, *args: Any, **options: Any) -> None:
        if options["command"] == "verify" and options["export"]:
            self._verify_file(options)
            return
        try:
            getattr(self, f"_{options['command']}")(options)
        except DomainError as refusal:
            raise CommandError(refusal.message, returncode=BROKEN) from refusal

    def _verify_file(self, options: dict[str, Any]) -> None:
        argv = [*options["export"], "--after", str(options["after"])]
        argv += ["--checkpoints", options["checkpoints"]] if options["checkpoints"] else []
        argv += ["--key", options["key"]] if options["key"] else []
        argv += ["--json"] if options["json"] else []
        code = verify.main(argv)
        if code:
            sys.exit(code)

    def _verify(self, options: dict[str, Any]) -> None:
        anchors = self._read_anchors(options)
        report = verify_database(after_seq=options["after"], checkpoints=anchors.heads)
        if not options["after"]:
            store_verification(report, at=get_database_time())
        answer = asdict(report) | {
            "last_checkpoint": anchors.last,
            "signatures_checked": anchors.is_checked,
            "checkpoints_missing_before": anchors.gaps,
        }
        self.stdout.write(json.dumps(answer) if options["json"] else _text(report, anchors))
        if not report.is_whole:
            sys.exit(BROKEN)

    def _read_anchors(self, options: dict[str, Any]) -> Anchors:
        """What is kept outside, by default in AUDIT_CHECKPOINT_DIR."""
        if options["key"] and not options["checkpoints"]:
            raise CommandError("--key is for --checkpoints", returncode=USAGE)
        try:
            return read_own_anchors(options["checkpoints"], options["key"])
        except (OSError, UnicodeDecodeError, BadFile) as error:
            raise CommandError(str(error), returncode=USAGE) from error

    def _inspect(self, options: dict[str, Any]) -> None:
        """The five questions of an auditor; exits 1 where one of them has a bad answer."""
        findings = inspect_log(self._read_anchors(options))
        if options["json"]:
            self.stdout.write(json.dumps([asdict(one) for one in findings]))
        else:
            for one in findings:
                self.stdout.write(f"{'ok ' if one.is_good else 'BAD'} {one.question}: {one.answer}")
        if not all(one.is_good for one in findings):
            sys.exit(BROKEN)

    def _checkpoint(self, options: dict[str, Any]) -> None:
        key = get_public_key()
        if key is None:
            raise CommandError("AUDIT_SIGNING_KEY is not set: nothing can be signed", returncode=USAGE)
        if options["public_key"]:
            self.stdout.write(key.hex())
            return
        with transaction.atomic(durable=True):
            record(
                action="audit.checkpoint",
                actor=_required(options, "actor"),
                subject_type="log",
                subject_id=settings.AUDIT_ORIGIN,
                reason=_required(options, "reason"),
            )
        checkpoint = write_checkpoint(options["reason"])
        errors = {sink: deliver_checkpoints(sink, now=get_database_time()) for sink in list_sinks()}
        answer = {
            "seq": checkpoint and checkpoint.seq,
            "hash": checkpoint and checkpoint.hash,
            "sinks": errors,
        }
        lines = [f"checkpoint: seq {answer['seq']} {answer['hash']}"]
        lines += [f"{sink}: {error or 'has it'}" for sink, error in errors.items()]
        lines += (
            [] if errors else ["kept nowhere outside: set AUDIT_CHECKPOINT_DIR or AUDIT_CHECKPOINT_COMMAND"]
        )
        self.stdout.write(json.dumps(answer) if options["json"] else "\n".join(lines))
        if not errors or any(errors.values()):
            sys.exit(BROKEN)

    def _segment(self, options: dict[str, Any]) -> None:
        if options["step"] == "close":
            segment = close_segment(actor=options["actor"], reason=options["reason"])
            answer: Any = {
                "first_seq": segment.first_seq,
                "last_seq": segment.last_seq,
                "hash": segment.last_hash,
            }
        elif options["step"] == "detach":
            detachment = detach_segment(
                first_seq=options["segment"],
                export=Path(options["export"]),
                actor=options["actor"],
                reason=options["reason"],
                now=get_database_time(),
            )
            answer = {"first_seq": options["segment"], "export_sha256": detachment.export_sha256}
        else:
            answer = [
                {
                    "first_seq": segment.first_seq,
                    "last_seq": segment.last_seq,
                    "hash": segment.last_hash,
                    "closed_at": segment.closed_at.isoformat(),
                    "is_detached": hasattr(segment, "detachment"),
                }
                for segment in list_segments()
            ]
        self.stdout.write(json.dumps(answer) if options["json"] else _rows_text(answer))

    def _export(self, options: dict[str, Any]) -> None:
        if options["actor"]:
            with transaction.atomic(durable=True):
                record(
                    action="audit.export",
                    actor=options["actor"],
                    subject_type="log",
                    subject_id=_part(options),
                    reason=options["reason"],
                )
        after, until = options["after"], None
        if options["segment"] is not None:
            segment = get_segment(options["segment"])
            after, until = segment.first_seq - 1, segment.last_seq
        lines = export_lines(after_seq=after, until_seq=until, with_rows=options["streams"])
        if not options["output"]:
            for line in lines:
                sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        count = 0
        try:
            with Path(options["output"]).open("wb") as file:
                for line in lines:
                    file.write(line)
                    count += 1
        except OSError as error:
            raise CommandError(f"{options['output']}: {error.strerror}", returncode=USAGE) from error
        answer = {"output": options["output"], "lines": count}
        self.stdout.write(json.dumps(answer) if options["json"] else f"{count} lines in {options['output']}")


def _add_anchors(parser: CommandParser) -> None:
    parser.add_argument(
        "--checkpoints", metavar="PATH", help="heads kept elsewhere, by default AUDIT_CHECKPOINT_DIR"
    )
    parser.add_argument("--key", metavar="FILE", help="the public keys that must have signed them")


def _add_who(parser: CommandParser, *, required: bool = False) -> None:
    parser.add_argument("--actor", default="", required=required, help="the person who does this")
    parser.add_argument("--reason", default="", required=required)


def _add_segments(parser: CommandParser) -> None:
    steps = parser.add_subparsers(dest="step", required=True)
    close = steps.add_parser("close", help="close what is open; the next event begins a new segment")
    detach = steps.add_parser("detach", help="take a closed segment out, as the owner of the tables")
    detach.add_argument("segment", type=_seq, metavar="SEQ", help="where it begins")
    detach.add_argument("--export", required=True, metavar="FILE", help="made by `audit export --segment`")
    for parser_ in (close, detach):
        _add_who(parser_, required=True)
    for parser_ in (close, detach, steps.add_parser("list")):
        parser_.add_argument("--json", action="store_true")


def _required(options: dict[str, Any], name: str) -> str:
    value = str(options[name]).strip()
    if not value:
        raise CommandError(f"--{name} is required", returncode=USAGE)
    return value


def _part(options: dict[str, Any]) -> str:
    return f"after {options['after']}" if options["segment"] is None else f"segment {options['segment']}"


def _rows_text(answer: Any) -> str:
    rows = answer if isinstance(answer, list) else [answer]
    return "\n".join("  ".join(f"{name} {value}" for name, value in row.items()) for row in rows) or "none"


def _seq(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a seq")
    return int(text)


def _text(report: LogReport, anchors: Anchors) -> str:
    if not report.is_whole:
        return f"broken: seq {report.first_bad_seq}: {report.why}"
    lines = [f"whole: {report.events} events, head {report.head_seq} {report.head_hash}"]
    lines += anchor_texts(report.unanchored_since, anchors)
    lines += [
        f"{count.stream}: {count.sealed} rows sealed, {count.unsealed} waiting" for count in report.streams
    ]
    return "\n".join(lines)
