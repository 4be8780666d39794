"""`manage.py up`: the whole desk on this machine, on paper."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from controlplane.supervisor.options import add_arguments, read_options
from controlplane.supervisor.run import run_up


class Command(BaseCommand):
    help = "Start servers, simulated venues, web, worker, beat and guard, and trade on paper."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def run_from_argv(self, argv: list[str]) -> None:
        # Django would ask for the settings, which exist only once the servers run.
        self._called_from_command_line = True
        parser = self.create_parser(argv[0], argv[1])
        sys.exit(run_up(read_options(vars(parser.parse_args(argv[2:])))))

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(run_up(read_options(options)))
