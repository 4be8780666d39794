"""`manage.py golive …`: the way of an account to a profile; works with Redis, Celery and the web down."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.errors import DomainError
from golive.management import checklist_verbs, config_verbs, programme_verbs, rollback_verbs

REFUSED = 1
# Each module adds its verbs, and has a `run_VERB` for each.
MODULES = (
    config_verbs,
    checklist_verbs,
    programme_verbs,
    rollback_verbs,
)


class Command(BaseCommand):
    help = "Take an account live: programme, request, approval, activation, confirmation."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for module in MODULES:
            for verb in module.add_verbs(verbs):
                verb.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for run in _find(options["verb"]):
                run(options, self.stdout)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal


def _find(verb: str) -> Iterator[Any]:
    name = f"run_{verb.replace('-', '_')}"
    return (getattr(module, name) for module in MODULES if hasattr(module, name))
