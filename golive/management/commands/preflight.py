"""`manage.py preflight`: six checks measured now. Exit 0 passed, 1 failed, 2 usage or error."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from controlplane.errors import DomainError
from golive.core.values import CheckName, Purpose
from golive.preflight import output
from golive.services import run_preflight
from golive.validation_report import write_report

FAILED, WRONG = 1, 2
REPORT_ENDINGS = (".md", ".html")


class Command(BaseCommand):
    help = "Check whether the desk may go live, or re-arm after a stop."
    # The checks below measure the database themselves and say what is wrong with it.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--purpose", choices=list(Purpose), default=Purpose.GOLIVE.value)
        parser.add_argument("--account", default="", help="one account; all of the environment otherwise")
        parser.add_argument("--check", nargs="+", default=[], choices=list(CheckName), metavar="NAME")
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--report", type=Path, metavar="PATH", help="write the report, .md or .html")
        parser.add_argument("--run", type=int, metavar="ID", help="finish a run that was started elsewhere")
        parser.add_argument("--scheduled", action="store_true", help="take a recent proof of alert delivery")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path | None = options["report"]
        if path is not None and path.suffix not in REPORT_ENDINGS:
            raise CommandError(
                f"--report: expected a file ending in {' or '.join(REPORT_ENDINGS)}", returncode=WRONG
            )
        if not options["json"]:
            self.stdout.write(output.HEADER)
        try:
            report = run_preflight(
                purpose=options["purpose"],
                names=options["check"],
                actor="command:preflight",
                account=options["account"],
                is_scheduled=options["scheduled"],
                run_id=options["run"],
            )
            if path is not None:
                write_report(report, path, at=timezone.now(), account=options["account"])
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=WRONG) from refusal
        except OSError as error:
            raise CommandError(f"--report: {path}: {error.strerror}", returncode=WRONG) from error
        shown = json.dumps(output.as_data(report)) if options["json"] else output.write_text(report)
        self.stdout.write(shown)
        if not report.is_passed:
            self.stdout.flush()
            sys.exit(FAILED)
