"""`manage.py alerts list|ack|channels|test`: who was told what, and does telling work."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.alerts.delivery import send_test_alert
from controlplane.alerts.models import Alert, DeliveryState
from controlplane.alerts.selectors import list_alerts, list_channels
from controlplane.alerts.services import acknowledge_alert
from controlplane.approvals.selectors import get_actor
from controlplane.audit.canonical import time_text
from controlplane.audit.selectors import get_database_time
from controlplane.errors import DomainError

REFUSED = 1


class Command(BaseCommand):
    help = "List alerts, acknowledge one, or send a test alert through every channel."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        listing = commands.add_parser("list", help="open alerts, newest first")
        listing.add_argument("--all", action="store_true", help="with the resolved ones")
        ack = commands.add_parser("ack", help="record that you have seen an alert")
        ack.add_argument("id", type=int)
        ack.add_argument("--actor", required=True)
        ack.add_argument("--reason", required=True)
        channels = commands.add_parser("channels", help="which channels there are, and which of them fail")
        test = commands.add_parser("test", help="send one alert now; exit 1 unless every channel took it")
        for command in (listing, ack, channels, test):
            command.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        run = getattr(self, f"_{options['command']}")
        try:
            run(options)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal

    def _list(self, options: dict[str, Any]) -> None:
        alerts = [_facts(alert) for alert in list_alerts(include_resolved=options["all"])]
        if options["json"]:
            self.stdout.write(json.dumps(alerts))
            return
        for alert in alerts:
            seen = f"seen by {alert['acknowledged_by']}" if alert["acknowledged_by"] else "not acknowledged"
            self.stdout.write(
                f"{alert['id']} {alert['opened_at']} {alert['severity']} {alert['code']} {alert['scope']}:"
                f" {alert['text']} (owner {alert['owner']}; {seen};"
                f" {alert['delivered']} of {alert['deliveries']} delivered)"
            )
        if not alerts:
            self.stdout.write("no open alerts" if not options["all"] else "no alerts")

    def _ack(self, options: dict[str, Any]) -> None:
        alert = acknowledge_alert(
            alert_id=options["id"],
            actor=get_actor(options["actor"]),
            reason=options["reason"],
            wall_at=get_database_time(),
        )
        self.stdout.write(json.dumps(_facts(alert)) if options["json"] else f"alert {alert.pk} acknowledged")

    def _channels(self, options: dict[str, Any]) -> None:
        rows = [
            {
                "channel": row.channel,
                "line": row.line,
                "sent_at": time_text(row.sent_at) if row.sent_at else None,
                "failing_since": time_text(row.failing_since) if row.failing_since else None,
                "error": row.error,
            }
            for row in list_channels()
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            health = (
                f"FAILS since {row['failing_since']}: {row['error']}" if row["failing_since"] else "works"
            )
            known = health if row["sent_at"] or row["failing_since"] else "never used"
            self.stdout.write(f"{row['channel']} ({row['line']} line): {known}")
        if not rows:
            self.stdout.write("ALERT_URLS names no channel: nobody is told anything")

    def _test(self, options: dict[str, Any]) -> None:
        proof = send_test_alert(wall_at=get_database_time())
        answer = {
            "alert": proof.alert_id,
            "channel": proof.channel,
            "state": proof.state,
            "sent_at": time_text(proof.sent_at) if proof.sent_at else None,
            "error": proof.error,
        }
        text = f"{proof.channel}: {proof.state}" + (f", {proof.error}" if proof.error else "")
        self.stdout.write(json.dumps(answer) if options["json"] else text)
        if proof.state != DeliveryState.SENT:
            sys.exit(REFUSED)


def _facts(alert: Alert) -> dict[str, Any]:
    deliveries = list(alert.deliveries.all())
    return {
        "id": alert.pk,
        "code": alert.code,
        "severity": alert.severity,
        "scope": alert.scope,
        "text": alert.text,
        "opened_at": time_text(alert.opened_at),
        "owner": alert.owner,
        "escalated_at": time_text(alert.escalated_at) if alert.escalated_at else None,
        "acknowledged_by": alert.acknowledged_by,
        "resolved_at": time_text(alert.resolved_at) if alert.resolved_at else None,
        "deliveries": len(deliveries),
        "delivered": sum(delivery.state == DeliveryState.SENT for delivery in deliveries),
    }
