"""`manage.py import_candles DIR`: store the candles of a folder of SYMBOL.csv.gz files."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from controlplane.approvals.core import Role
from controlplane.approvals.selectors import get_actor
from controlplane.approvals.services import require_any_role
from controlplane.errors import DomainError
from trading import selectors
from trading.candles import Imported, import_candles
from trading.venue_config import VENUES_WITH_DIALECT

REFUSED = 1
MAY_IMPORT = frozenset({Role.REQUESTER, Role.OPERATOR, Role.ADMIN})


class Command(BaseCommand):
    help = (
        "Store closed candles (columns date, open, high, low, close, volume; UTC) and the hours they make up."
        " Nothing is stored where one file is malformed; the same folder again changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, help="a folder of SYMBOL.csv.gz or SYMBOL.csv")
        parser.add_argument("--venue", default="binanceusdm", choices=sorted(VENUES_WITH_DIALECT))
        parser.add_argument("--actor", required=True)
        parser.add_argument("--reason", required=True)
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = get_actor(options["actor"])
            require_any_role(actor, MAY_IMPORT)
            imported = import_candles(
                directory=options["directory"],
                venue=options["venue"],
                actor=actor.audit_name,
                reason=options["reason"],
                market_at=selectors.get_clocks().market_at,
            )
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        if options["json"]:
            self.stdout.write(json.dumps({"candles": [asdict(item) for item in imported]}))
        else:
            self.stdout.write("\n".join(map(_as_line, imported)))


def _as_line(item: Imported) -> str:
    line = f"{item.symbol}: {item.stored} of {item.interval}, {item.hours} hours made of them"
    return f"{line}; {item.later} lie later than market time" if item.later else line
