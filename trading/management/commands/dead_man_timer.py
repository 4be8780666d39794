"""`manage.py dead_man_timer`: what a venue's dead-man timer cancels; exit 1 if protections die of it."""

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from controlplane.errors import DomainError
from trading import selectors
from trading.dead_man import probe_dead_man_timer

NOT_GOOD = 1


class Command(BaseCommand):
    help = "Probe the dead-man timer of an account's venue on paper or demo; takes about ten seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", required=True)
        parser.add_argument("--venue", help="default: the account's primary venue")
        parser.add_argument("--symbol", required=True, help="one on which nothing rests and nothing is held")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            account = selectors.get_account(options["account"])
            place = (
                selectors.get_venue_account(account, options["venue"])
                if options["venue"]
                else selectors.get_primary(account)
            )
            found = probe_dead_man_timer(venue_account=place, symbol=options["symbol"], wait=time.sleep)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=NOT_GOOD) from refusal
        facts = {"entry_is_gone": found.entry_is_gone, "protection_rests": found.protection_rests}
        text = f"entry {'gone' if found.entry_is_gone else 'STILL THERE'}, protection "
        text += "rests" if found.protection_rests else "GONE"
        self.stdout.write(json.dumps(facts) if options["json"] else f"{place}: {text}")
        if not found.is_good:
            raise CommandError("the timer must stay off at this venue", returncode=NOT_GOOD)
