"""`manage.py override request|approve|list|end`: raise one limit for a while, with a second person."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.approvals.core import VoteDecision
from controlplane.approvals.describing import describe_request
from controlplane.approvals.selectors import get_actor, list_open_requests
from controlplane.approvals.voting import vote_on_request
from controlplane.errors import DomainError
from risk import overrides
from risk.core.overrides import OVERRIDABLE_LIMITS
from trading.selectors import get_account

REFUSED = 1


class Command(BaseCommand):
    help = "Raise one limit of one account for one or more orders, or for at most an hour."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        request = verbs.add_parser("request", help="ask; in force once another person has approved")
        request.add_argument("--account", required=True)
        request.add_argument("--limit", required=True, choices=OVERRIDABLE_LIMITS)
        request.add_argument("--value", required=True, help="the raised limit: a ratio is 0.02, not 2")
        request.add_argument(
            "--uses", type=int, help="for so many orders; default: as many as fit the window"
        )
        request.add_argument("--minutes", type=int, default=60, help="over after this, at most 60")
        approve = verbs.add_parser("approve", help="approve somebody else's request")
        approve.add_argument("request_id", type=UUID)
        approve.add_argument("--otp", required=True, help="a code of your second factor")
        approve.add_argument("--digest", help="the digest you were shown; another one is refused")
        end = verbs.add_parser("end", help="end one now")
        end.add_argument("override_id", type=int)
        shown = verbs.add_parser("list", help="what is raised now, and what waits for approval")
        for verb in (request, approve, end):
            verb.add_argument("--actor", required=True)
            verb.add_argument("--reason", required=True)
        for verb in (request, approve, end, shown):
            verb.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            answer = getattr(self, f"do_{options['verb']}")(options)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        self.stdout.write(json.dumps(answer) if options["json"] else as_lines(answer))

    def do_request(self, options: dict[str, Any]) -> dict[str, Any]:
        row = overrides.request_override(
            account=get_account(options["account"]),
            limit=options["limit"],
            value=overrides.parse_value(options["value"]),
            uses=options["uses"],
            window=timedelta(minutes=options["minutes"]),
            reason=options["reason"],
            actor=get_actor(options["actor"]),
        )
        return describe_request(row)

    def do_approve(self, options: dict[str, Any]) -> dict[str, Any]:
        row = vote_on_request(
            request_id=options["request_id"],
            kind=overrides.OVERRIDE,
            decision=VoteDecision.APPROVE,
            otp=options["otp"],
            digest=options["digest"],
            reason=options["reason"],
            actor=get_actor(options["actor"]),
        )
        return describe_request(row)

    def do_end(self, options: dict[str, Any]) -> dict[str, Any]:
        row = overrides.end_override(
            override_id=options["override_id"],
            reason=options["reason"],
            actor=get_actor(options["actor"]),
        )
        return overrides.describe_override(row)

    def do_list(self, options: dict[str, Any]) -> dict[str, Any]:
        waiting = list_open_requests().filter(kind=overrides.OVERRIDE)
        return {
            "overrides": [overrides.describe_override(row) for row in overrides.list_active_overrides()],
            "requests": [describe_request(row) for row in waiting],
        }


def as_lines(answer: dict[str, Any]) -> str:
    if "overrides" not in answer:
        return "  ".join(f"{key}={value}" for key, value in answer.items())
    lines = [as_lines(row) for row in (*answer["overrides"], *answer["requests"])]
    return "\n".join(lines) or "no limit is raised, and nothing waits"
