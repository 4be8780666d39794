"""`manage.py desk_summary`: what the desk did; `up` ends with it."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.errors import DomainError
from controlplane.summary import get_summary


class Command(BaseCommand):
    help = "Settle and reconcile once more, then count cycles, decisions, orders, trades and differences."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            summary = get_summary()
        except DomainError as error:
            raise CommandError(f"{error.code}: {error.message}", returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps(summary))
        else:
            self.stdout.write("\n".join(f"{name:<20} {value}" for name, value in summary.items()))
