"""`manage.py explain_decision ID`: what was asked, what was known, what each rule said, and again."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.errors import DomainError
from risk.core.rules.case import plain
from risk.selectors import Explanation, explain_decision, list_breaches

REFUSED = 1


class Command(BaseCommand):
    help = "Show one decision of the risk gate and decide its stored inputs again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("decision_id", type=int)
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            explanation = explain_decision(options["decision_id"])
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        answer = describe(explanation)
        self.stdout.write(json.dumps(answer) if options["json"] else as_text(answer))
        if explanation.is_same_code and not explanation.agrees:
            raise CommandError("the same code decides otherwise now", returncode=REFUSED)


def describe(explanation: Explanation) -> dict[str, Any]:
    row, snapshot = explanation.row, explanation.snapshot
    ages = {
        "price": None if snapshot.prices is None else snapshot.market_at - snapshot.prices.at,
        "signal": snapshot.market_at - explanation.intent.signal_at,
        "balance": None if snapshot.balance is None else snapshot.wall_at - snapshot.balance.read_at,
        "reconciliation": None
        if snapshot.reconciliation is None
        else snapshot.wall_at - snapshot.reconciliation.finished_at,
        "global_risk": None
        if snapshot.global_risk is None
        else snapshot.wall_at - snapshot.global_risk.checked_at,
    }
    return {
        "decision_id": row.pk,
        "decision": "allowed" if row.allowed else "blocked",
        "reason": row.reason,
        "asked": str(row.intent),
        "account": row.account.name,
        "decided_at": row.decided_at.isoformat(),
        "breaches": list_breaches(row),
        "max_quantity": plain(row.max_quantity),
        "requested_quantity": plain(row.requested_quantity),
        "quantity": plain(row.quantity),
        "resized_for": [item.code.value for item in explanation.again.resized_for],
        "override_id": row.override_id or None,
        "ages": {name: "unknown" if age is None else plain(age) for name, age in ages.items()},
        "outcomes": {item.rule: item.code for item in explanation.again.outcomes},
        "limit_set_digest": row.limit_set_digest,
        "code_version": row.code_version,
        "is_same_code": explanation.is_same_code,
        "agrees": explanation.agrees,
    }


def as_text(answer: dict[str, Any]) -> str:
    lines = [
        f"decision {answer['decision_id']}: {answer['decision']} ({answer['reason']})",
        f"asked: {answer['asked']} on {answer['account']}, decided {answer['decided_at']}",
        f"largest quantity that would be allowed: {answer['max_quantity']}",
    ]
    if answer["resized_for"]:
        asked, given, why = answer["requested_quantity"], answer["quantity"], ", ".join(answer["resized_for"])
        lines.append(f"allowed {given} of the {asked} asked for: {why}")
    if answer["override_id"] is not None:
        lines.append(f"allowed by override {answer['override_id']} only")
    lines += [
        f"  {item['code']}: measured {item['measured']}, limit {item['limit']}: {item['text']}"
        for item in answer["breaches"]
    ]
    lines.append("ages: " + ", ".join(f"{name} {age}" for name, age in answer["ages"].items()))
    lines += [f"  {rule}: {code}" for rule, code in answer["outcomes"].items()]
    code = "the same code" if answer["is_same_code"] else "another version of the code"
    lines.append(f"decided again by {code}: {'the same answer' if answer['agrees'] else 'another answer'}")
    return "\n".join(lines)
