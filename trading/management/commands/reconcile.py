"""`manage.py reconcile`: compare the book with the venues now; exit 1 where something differs."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from controlplane.errors import DomainError
from trading import models, selectors
from trading.reconcile import reconcile_venue_account
from trading.recovery import recover_venue_account

DIFFERS = 1


class Command(BaseCommand):
    help = "Settles what is open and compares our book with the venues': orders, fills, positions, money."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="one account; without it every account of this environment")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            runs = [self._compare(place) for place in _list_places(options["account"])]
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=DIFFERS) from refusal
        if options["json"]:
            self.stdout.write(json.dumps([_describe(run) for run in runs]))
        else:
            for run in runs:
                self._print(run)
        if not all(run.is_clean for run in runs):
            raise CommandError("our book and a venue's differ", returncode=DIFFERS)

    def _compare(self, place: models.VenueAccount) -> models.ReconciliationRun:
        clocks = selectors.get_clocks()
        recover_venue_account(venue_account=place, wall_at=clocks.wall_at)
        return reconcile_venue_account(venue_account=place, market_at=clocks.market_at)

    def _print(self, run: models.ReconciliationRun) -> None:
        self.stdout.write(f"{run.venue_account}: {'clean' if run.is_clean else 'differs'}")
        for item in run.differences:
            self.stdout.write(
                f"  {item['kind']} {item['symbol'] or '-'}: ours {item['ours']}, the venue's {item['theirs']}"
            )


def _list_places(account: str | None) -> list[models.VenueAccount]:
    if account is not None:
        return list(selectors.list_venue_accounts(selectors.get_account(account)))
    rows = selectors.list_venue_accounts()
    return list(rows.filter(account__environment=settings.TRADING_ENVIRONMENT))


def _describe(run: models.ReconciliationRun) -> dict[str, Any]:
    return {
        "account": run.venue_account.account.name,
        "venue": run.venue_account.venue,
        "is_clean": run.is_clean,
        "adopted_fills": run.adopted_fills,
        "differences": run.differences,
    }
