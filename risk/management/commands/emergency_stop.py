"""`manage.py emergency_stop status|trip|sweep`: works with Redis, Celery and the web down."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.approvals.selectors import get_actor
from controlplane.errors import DomainError
from risk import models, selectors, services
from risk.core.emergency_stop import StopProgress, StopSource
from risk.emergency import DEFAULT_REASON
from trading.selectors import get_clocks

REFUSED = 1
PAUSE_SECONDS = 1.0


class Command(BaseCommand):
    help = "Show, trip and sweep the emergency stop."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        status = verbs.add_parser("status", help="the trading state of every scope")
        trip = verbs.add_parser("trip", help="halt a scope at once")
        trip.add_argument("--scope", default="all", help="all, venue:V, account:A, strategy:S or symbol:X")
        trip.add_argument("--actor", required=True, help="the person who stops")
        trip.add_argument("--reason", default=DEFAULT_REASON)
        sweep = verbs.add_parser("sweep", help="cancel what rests at the venues until they confirm")
        sweep.add_argument("event_id", nargs="?", type=int, help="default: every unfinished stop")
        sweep.add_argument(
            "--once", action="store_true", help="one round; exit 1 if a venue has not confirmed"
        )
        for verb in (status, trip, sweep):
            verb.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"do_{options['verb']}")(options)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal

    def do_status(self, options: dict[str, Any]) -> None:
        status = selectors.get_stop_status()
        if options["json"]:
            self.stdout.write(json.dumps(status))
            return
        for row in status["scopes"]:
            progress = f" {row['progress']}, {row['outstanding']} outstanding" if row["progress"] else ""
            self.stdout.write(
                f"{row['state']:<9}{row['scope']:<28}since {row['since']}{progress}: {row['reason']}"
            )
        self.stdout.write("A scope that is not listed is HALTED.")

    def do_trip(self, options: dict[str, Any]) -> None:
        event = services.trip_emergency_stop(
            scope=options["scope"],
            reason=options["reason"],
            source=StopSource.MANUAL,
            actor=get_actor(options["actor"]),
            clocks=get_clocks(),
        )
        answer = {
            "scope": event.scope,
            "state": "HALTED",
            "progress": event.progress,
            "event_id": event.pk,
        }
        text = f"{event.scope} is HALTED; the venues are being swept (stop {event.pk}, {event.progress})"
        self.stdout.write(json.dumps(answer) if options["json"] else text)

    def do_sweep(self, options: dict[str, Any]) -> None:
        """Go on until every venue has confirmed; a guard may be doing the same, which does no harm."""
        while True:
            events = [
                services.sweep_stop(event_id=event_id, clocks=get_clocks())
                for event_id in list_event_ids(options["event_id"])
            ]
            is_finished = all(event.progress == StopProgress.STOPPED for event in events)
            if is_finished or options["once"]:
                break
            time.sleep(PAUSE_SECONDS)
        self.show_sweep(events, as_json=options["json"])
        if not is_finished:
            raise CommandError("stopping: not every venue has confirmed", returncode=REFUSED)

    def show_sweep(self, events: list[models.StopEvent], *, as_json: bool) -> None:
        rows = [describe(event) for event in events]
        if as_json:
            self.stdout.write(json.dumps({"stops": rows}))
            return
        for row in rows:
            self.stdout.write(f"stop {row['event_id']} of {row['scope']}: {row['progress']}")
            for step in row["steps"]:
                self.stdout.write("  " + " ".join(str(value) for value in step.values() if value))
        if not rows:
            self.stdout.write("no stop is unfinished")


def list_event_ids(event_id: int | None) -> list[int]:
    if event_id is not None:
        return [event_id]
    return [event.pk for event in services.list_unfinished_stops()]


def describe(event: models.StopEvent) -> dict[str, Any]:
    steps = selectors.list_stop_steps(event).values(
        "venue", "account", "symbol", "action", "status", "detail"
    )
    return {
        "event_id": event.pk,
        "scope": event.scope,
        "progress": event.progress,
        "steps": list(steps),
    }
