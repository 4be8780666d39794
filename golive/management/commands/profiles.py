"""`manage.py profiles list|load|evaluate`: the ladder, the limits that span accounts, who has earned more."""

import json
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from controlplane.approvals.core import Role
from controlplane.approvals.selectors import get_actor
from controlplane.approvals.services import require_any_role
from controlplane.errors import DomainError
from golive.core.advancement import NOT_MEASURED
from golive.evaluation import list_evaluable_accounts
from golive.models import Evaluation
from golive.services import evaluate_account
from risk.binding import list_binding, list_caps
from risk.core.rules.case import plain
from risk.core.values import Limits
from risk.exposure import Exposure, get_exposure, get_exposure_path, load_exposure, store_exposure
from risk.limits import get_profiles_path, load_profiles
from risk.models import LimitSet
from risk.services import store_limit_set
from trading.models import Permit
from trading.selectors import get_account, get_clocks

REFUSED = 1
MARKS = {True: "met", False: "NOT MET", None: "informs"}
MAY_LOAD = frozenset({Role.REQUESTER, Role.OPERATOR, Role.ADMIN})


class Command(BaseCommand):
    help = "Show and load the profiles of config/profiles.yaml, and evaluate who trades under them."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        shown = verbs.add_parser("list", help="the profiles, what is stored, and who trades under them")
        load = verbs.add_parser("load", help="store the file's limits; no account's limits change by that")
        load.add_argument("--actor", required=True)
        load.add_argument("--reason", required=True)
        for verb in (shown, load):
            verb.add_argument("--file", type=Path, default=get_profiles_path())
            verb.add_argument("--exposure", type=Path, default=get_exposure_path())
            verb.add_argument("--json", action="store_true", help="for machines")
        judged = verbs.add_parser("evaluate", help="every criterion of the next rung, from the ledger; kept")
        judged.add_argument("--account", default="", help="one account; every one with a permit otherwise")
        judged.add_argument("--actor", default="", help="who asks; the command itself otherwise")
        judged.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["verb"] == "evaluate":
                self.evaluate(options)
            else:
                self.show(options)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal

    def evaluate(self, options: dict[str, Any]) -> None:
        actor = get_actor(options["actor"]).audit_name if options["actor"] else "command:profiles"
        name = options["account"]
        accounts = [get_account(name)] if name else list_evaluable_accounts()
        rows = [evaluate_account(account=account, actor=actor, clocks=get_clocks()) for account in accounts]
        if options["json"]:
            self.stdout.write(json.dumps({"evaluations": [describe_evaluation(row) for row in rows]}))
        else:
            self.stdout.write("\n".join(map(evaluation_text, rows)) or "no account has a permit")

    def show(self, options: dict[str, Any]) -> None:
        profiles, exposure = load_profiles(options["file"]), load_exposure(options["exposure"])
        if options["verb"] == "load":
            self.load(profiles, exposure, options)
        rows = [describe(limits) for limits in profiles.values()]
        shared = describe_exposure(exposure)
        answer = {"profiles": rows, "exposure": shared}
        self.stdout.write(json.dumps(answer) if options["json"] else as_text(rows, shared))

    @transaction.atomic
    def load(self, profiles: dict[str, Limits], exposure: Exposure, options: dict[str, Any]) -> None:
        actor = get_actor(options["actor"])
        require_any_role(actor, MAY_LOAD)
        for limits in profiles.values():
            store_limit_set(limits=limits, actor=actor.audit_name, reason=options["reason"])
        store_exposure(exposure=exposure, actor=actor.audit_name, reason=options["reason"])


def describe(limits: Limits) -> dict[str, Any]:
    permits = Permit.objects.filter(active=True, limit_set_digest=limits.digest)
    numbers = {
        field.name: as_number(getattr(limits, field.name))
        for field in fields(limits)
        if field.name not in {"digest", "profile"}
    }
    return {
        "profile": limits.profile,
        "digest": limits.digest,
        "is_loaded": LimitSet.objects.filter(digest=limits.digest).exists(),
        "accounts": sorted(permits.values_list("account__name", flat=True)),
        "limits": numbers,
        "binding": [
            {
                "limit": cap.name,
                "one_position_usd": plain(cap.one_position),
                "all_positions_usd": plain(cap.all_positions),
            }
            for cap in list_caps(limits)
        ],
        "can_bind": list_binding(limits),
    }


def describe_exposure(exposure: Exposure) -> dict[str, Any]:
    """What the file says; `is_loaded` tells whether that is in force."""
    stored = get_exposure()
    return {
        "is_loaded": stored is not None
        and (stored.limits, stored.defaults) == (exposure.limits, exposure.defaults),
        "limits": {scope: plain(number) for scope, number in exposure.limits.items()},
        "defaults": {kind: plain(number) for kind, number in exposure.defaults.items()},
    }


def as_number(value: object) -> str:
    return str(int(value.total_seconds())) if isinstance(value, timedelta) else plain(value)


def as_text(rows: list[dict[str, Any]], shared: dict[str, Any]) -> str:
    lines = []
    for row in rows:
        state = "loaded" if row["is_loaded"] else "not loaded"
        users = ", ".join(row["accounts"]) or "no account"
        lines.append(f"{row['profile']:<8}{row['digest'][:12]}  {state}, traded by {users}")
        lines.append(
            f"        at {row['limits']['reference_capital']} USDT, narrowest stop, majors, notional left by"
        )
        lines += [
            f"          {cap['limit']:<20} {cap['one_position_usd']:>12} a position"
            f" {cap['all_positions_usd']:>12} together{' *' if cap['limit'] in row['can_bind'] else ''}"
            for cap in row["binding"]
        ]
        lines.append("          * can bind: it leaves no more than the largest positions, all of one side")
    state = "loaded" if shared["is_loaded"] else "not loaded"
    lines.append(f"all accounts together, {state}: gross notional in USDT")
    named = {**shared["limits"], **{f"{kind}:*": number for kind, number in shared["defaults"].items()}}
    lines += [f"          {scope:<20} {number:>12}" for scope, number in named.items()]
    return "\n".join(lines)


def describe_evaluation(row: Evaluation) -> dict[str, Any]:
    return {
        "id": row.pk,
        "account": row.account.name,
        "profile": row.profile,
        "recommendation": row.recommendation,
        "market_at": row.market_at.isoformat(),
        "code_version": row.code_version,
        "criteria": row.criteria,
    }


def evaluation_text(row: Evaluation) -> str:
    lines = [f"{row.account.name} at {row.profile}: {row.recommendation.upper()} (evaluation {row.pk})"]
    lines += [
        f"  {MARKS[item['is_met']]:<8} {item['name']:<22} {item['measured']:<22} {item['required']}"
        for item in row.criteria
    ]
    unknown = sum(item["measured"] == NOT_MEASURED and item["is_met"] is False for item in row.criteria)
    if unknown:
        lines.append(f"  {unknown} not measured, which counts as not met")
    lines.append("  this proves operation, not edge")
    return "\n".join(lines)
