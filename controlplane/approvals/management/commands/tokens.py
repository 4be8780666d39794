"""`manage.py tokens create|list|revoke`: the keys of outside programs."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.approvals import selectors, tokens
from controlplane.approvals.core import TokenScope
from controlplane.approvals.models import ApiToken
from controlplane.errors import DomainError

REFUSED = 1


class Command(BaseCommand):
    help = "Create, list and revoke API tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a token; its value is shown once")
        create.add_argument("name")
        create.add_argument(
            "--user", help="whose designations it carries (default: the actor; another's: an admin)"
        )
        create.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=[scope.value for scope in TokenScope],
            help="what it may be used for; may be repeated",
        )
        revoke = verbs.add_parser("revoke", help="end a token at once")
        revoke.add_argument("name")
        for verb in (create, revoke):
            verb.add_argument("--actor", required=True)
            verb.add_argument("--reason", required=True)
        shown = verbs.add_parser("list", help="show every token, without its value")
        for verb in (create, revoke, shown):
            verb.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            answer = getattr(self, options["verb"])(options)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        self.stdout.write(json.dumps(answer) if options["json"] else as_lines(answer))

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        token, raw = tokens.give_token(
            name=options["name"],
            user=selectors.get_user(options["user"] or options["actor"]),
            scopes=[TokenScope(name) for name in options["scope"]],
            actor=selectors.get_actor(options["actor"]),
            reason=options["reason"],
        )
        return describe(token) | {"token": raw}

    def revoke(self, options: dict[str, Any]) -> dict[str, Any]:
        tokens.end_token(
            name=options["name"], actor=selectors.get_actor(options["actor"]), reason=options["reason"]
        )
        return {"name": options["name"], "revoked": True}

    def list(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"tokens": [describe(token) for token in selectors.list_tokens()]}


def describe(token: ApiToken) -> dict[str, Any]:
    def as_text(at: Any) -> str | None:
        return at.isoformat() if at is not None else None

    return {
        "name": token.name,
        "user": token.user.get_username(),
        "scopes": token.scopes,
        "created_at": as_text(token.created_at),
        "revoked_at": as_text(token.revoked_at),
        "last_used_at": as_text(token.last_used_at),
    }


def as_lines(answer: dict[str, Any]) -> str:
    rows = answer.get("tokens", [answer])
    return "\n".join("  ".join(f"{key}={value}" for key, value in row.items()) for row in rows) or "no tokens"
