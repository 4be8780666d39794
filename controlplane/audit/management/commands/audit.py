"""`manage.py audit verify|export`: prove the log whole, and hand it to someone who can prove it again."""

import json
import sys
from argparse import ArgumentTypeError
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from controlplane.audit import verify
from controlplane.audit.exporting import export_lines
from controlplane.audit.services import record
from controlplane.audit.verification import LogReport, verify_database

BROKEN = 1
USAGE = 2


class Command(BaseCommand):
    help = "Verify the audit log, or export it for the stand-alone verifier controlplane/audit/verify.py."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        check = commands.add_parser("verify", help="verify the log in the database, or an exported FILE")
        check.add_argument("export", nargs="?", metavar="FILE", help="an export; needs no database")
        check.add_argument(
            "--checkpoints", metavar="FILE", help='heads kept elsewhere, {"seq":N,"hash":"H"} a line'
        )
        check.add_argument(
            "--after",
            type=_seq,
            default=0,
            metavar="SEQ",
            help="leave out what comes before; a FILE begins after it",
        )
        check.add_argument("--json", action="store_true")
        export = commands.add_parser("export", help="write JSON lines, one event a line")
        export.add_argument("--after", type=_seq, default=0, metavar="SEQ")
        export.add_argument("--output", metavar="FILE", help="default: standard output")
        export.add_argument("--streams", action="store_true", help="with the sealed rows before their seals")
        export.add_argument("--json", action="store_true", help="with --output: print what was written")
        export.add_argument("--actor", default="", help="record in the log that this person exported it")
        export.add_argument("--reason", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["command"] == "export":
            self._export(options)
        elif options["export"]:
            self._verify_file(options)
        else:
            self._verify_database(options)

    def _verify_file(self, options: dict[str, Any]) -> None:
        argv = [options["export"], "--after", str(options["after"])]
        argv += ["--checkpoints", options["checkpoints"]] if options["checkpoints"] else []
        argv += ["--json"] if options["json"] else []
        code = verify.main(argv)
        if code:
            sys.exit(code)

    def _verify_database(self, options: dict[str, Any]) -> None:
        try:
            checkpoints = verify.read_checkpoints(options["checkpoints"]) if options["checkpoints"] else {}
        except (OSError, UnicodeDecodeError, verify.BadFile) as error:
            raise CommandError(str(error), returncode=USAGE) from error
        report = verify_database(after_seq=options["after"], checkpoints=checkpoints)
        self.stdout.write(json.dumps(asdict(report)) if options["json"] else _text(report))
        if not report.is_whole:
            sys.exit(BROKEN)

    def _export(self, options: dict[str, Any]) -> None:
        if options["actor"]:
            with transaction.atomic(durable=True):
                record(
                    action="audit.export",
                    actor=options["actor"],
                    subject_type="log",
                    subject_id=f"after {options['after']}",
                    reason=options["reason"],
                )
        lines = export_lines(after_seq=options["after"], with_rows=options["streams"])
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


def _seq(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a seq")
    return int(text)


def _text(report: LogReport) -> str:
    if not report.is_whole:
        return f"broken: seq {report.first_bad_seq}: {report.why}"
    since = report.unanchored_since
    lines = [
        f"whole: {report.events} events, head {report.head_seq} {report.head_hash}",
        "anchored to the end" if since is None else f"unanchored since seq {since}",
    ]
    lines += [
        f"{count.stream}: {count.sealed} rows sealed, {count.unsealed} waiting" for count in report.streams
    ]
    return "\n".join(lines)
