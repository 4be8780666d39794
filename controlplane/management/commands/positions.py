"""`manage.py positions list|close`: what is held, and closing it by hand; needs no Redis, worker or web."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane import closing
from controlplane.approvals.selectors import get_actor
from controlplane.errors import DomainError
from trading import selectors
from trading.schemas import PositionOut, describe_positions

REFUSED, USAGE = 1, 2


class Command(BaseCommand):
    help = "List open positions, and close one at market whatever the trading state is."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        shown = verbs.add_parser("list", help="every open position of our book")
        shown.add_argument("--account", help="of this account only")
        close = verbs.add_parser("close", help="close the whole position, reduce-only; exit 0 once flat")
        close.add_argument("--account", required=True)
        close.add_argument("--symbol", required=True)
        close.add_argument("--venue", help="needed where the symbol is held at several")
        close.add_argument("--actor", required=True, help="the person who closes")
        close.add_argument("--reason", required=True)
        for verb in (shown, close):
            verb.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"do_{options['verb']}")(options)
        except closing.VenueNeeded as missing:
            raise CommandError(missing.message, returncode=USAGE) from missing
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal

    def do_list(self, options: dict[str, Any]) -> None:
        account = selectors.get_account(options["account"]) if options["account"] else None
        places = selectors.list_venue_accounts(account).filter(
            account__environment=settings.TRADING_ENVIRONMENT
        )
        rows = [(place.account.name, row) for place in places for row in describe_positions(place)]
        if options["json"]:
            listed = [{"account": name, **row.model_dump(mode="json")} for name, row in rows]
            self.stdout.write(json.dumps({"positions": listed}))
            return
        for name, row in rows:
            self.stdout.write(f"{name} {describe(row)}")
        if not rows:
            self.stdout.write("nothing is held")

    def do_close(self, options: dict[str, Any]) -> None:
        position = closing.find_position(
            account=options["account"], symbol=options["symbol"], venue=options["venue"]
        )
        done = closing.close_now(
            position=position, reason=options["reason"], actor=get_actor(options["actor"])
        )
        rows = [closing.describe_closing(one) for one in done]
        if options["json"]:
            self.stdout.write(json.dumps({"is_flat": done[-1].is_flat, "closings": rows}))
        else:
            for row in rows:
                self.stdout.write("  ".join(f"{key}={value}" for key, value in row.items() if value != ""))
        if not done[-1].is_flat:
            raise CommandError(f"not flat yet: {rows[-1]['left']} is held", returncode=REFUSED)


def describe(row: PositionOut) -> str:
    stop = f"stop {row.stop_loss:f} verified" if row.stop_verified_at else "no verified stop"
    mark = "not known" if row.mark_price is None else f"{row.mark_price.normalize():f}"
    held = f"{row.quantity.normalize():f} {row.symbol} at {row.venue}"
    return f"{held} ({row.strategy or 'not ours'}), mark {mark}, {stop}"
