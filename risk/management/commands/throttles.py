"""`manage.py throttles list|re-enable`: strategies that wait for a person after too many entries."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.approvals.selectors import get_actor
from controlplane.errors import DomainError
from risk import throttles
from trading.selectors import get_account

REFUSED = 1


class Command(BaseCommand):
    help = "Show throttled strategies, and let one enter again."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        shown = verbs.add_parser("list", help="what is throttled")
        enable = verbs.add_parser("re-enable", help="count from nothing again")
        for name in ("--account", "--strategy", "--symbol", "--actor", "--reason"):
            enable.add_argument(name, required=True)
        enable.add_argument("--otp", required=True, help="a code of your second factor")
        for verb in (shown, enable):
            verb.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rows = self.reenable(options) if options["verb"] == "re-enable" else throttles.list_throttled()
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        answer = [throttles.describe_throttle(row) for row in rows]
        if options["json"]:
            self.stdout.write(json.dumps({"throttles": answer}))
            return
        lines = ["  ".join(f"{key}={value}" for key, value in row.items()) for row in answer]
        self.stdout.write("\n".join(lines) or "nothing is throttled")

    def reenable(self, options: dict[str, Any]) -> list[Any]:
        row = throttles.reenable_throttle(
            account=get_account(options["account"]),
            strategy=options["strategy"],
            symbol=options["symbol"],
            otp=options["otp"],
            reason=options["reason"],
            actor=get_actor(options["actor"]),
        )
        return [row]
