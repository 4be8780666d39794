"""`manage.py test`: the whole suite on a PostgreSQL and a Valkey of its own."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from controlplane.testing import run_tests


class Command(BaseCommand):
    help = "Run the tests with pytest on servers of their own; arguments are pytest's."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        sys.exit(run_tests(argv[2:]))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pytest_arguments", nargs="*", help="passed to pytest as they are")

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(run_tests(options["pytest_arguments"]))
