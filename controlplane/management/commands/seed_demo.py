"""`manage.py seed_demo`: the demo desk on paper, and var/demo.json with its secrets."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

import risk.services
from controlplane.desk import write_private
from controlplane.errors import DomainError
from controlplane.seed import seed_demo
from trading.selectors import get_clocks
from trading.venue_config import load_venue_config

REFUSED = 1
FILE_NAME = "demo.json"


class Command(BaseCommand):
    help = "Make the demo desk (paper only): users, one API token, the account paper-main and its permit."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the file's content")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.STATE_DIR / FILE_NAME
        try:
            venues = load_venue_config()
            seeded = seed_demo(
                earlier=read_file(path),
                url=settings.WEB_URL,
                environment=settings.TRADING_ENVIRONMENT,
                venues=venues.venues,
                symbols=venues.symbols,
                wall_at=get_clocks().wall_at,
            )
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        # `up` calls this before the guard and the workers start.
        risk.services.adopt_offline_stops()
        write_private(path, json.dumps(seeded.content, indent=2) + "\n")
        if seeded.reset:
            self.stderr.write(f"seed_demo: {path} was lost or is another desk's: its secrets were made anew")
        self.stdout.write(json.dumps(seeded.content) if options["json"] else f"seed_demo: {path}")


def read_file(path: Path) -> dict[str, Any] | None:
    """The file's content, or None if it is absent or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
