"""`manage.py alerts list|ack|test`: who was told what, and does telling work."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.alerts.models import Alert, DeliveryState
from controlplane.alerts.selectors import list_alerts
from controlplane.alerts.services import acknowledge_alert, send_test_alert
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
        test = commands.add_parser("test", help="send one alert now; exit 1 unless every channel took it")
        for command in (listing, ack, test):
            command.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        run = {"list": self._list, "ack": self._acknowledge, "test": self._test}[options["command"]]
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
                f" {alert['text']} ({seen}; {alert['delivered']} of {alert['deliveries']} delivered)"
            )
        if not alerts:
            self.stdout.write("no open alerts" if not options["all"] else "no alerts")

    def _acknowledge(self, options: dict[str, Any]) -> None:
        alert = acknowledge_alert(
            alert_id=options["id"],
            actor=options["actor"],
            reason=options["reason"],
            wall_at=get_database_time(),
        )
        self.stdout.write(json.dumps(_facts(alert)) if options["json"] else f"alert {alert.pk} acknowledged")

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
        "acknowledged_by": alert.acknowledged_by,
        "resolved_at": time_text(alert.resolved_at) if alert.resolved_at else None,
        "deliveries": len(deliveries),
        "delivered": sum(delivery.state == DeliveryState.SENT for delivery in deliveries),
    }
