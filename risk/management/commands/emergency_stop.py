"""`manage.py emergency_stop status|trip|sweep`: works with Redis, Celery and the web down."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.approvals.selectors import get_actor
from controlplane.errors import DomainError
from risk import models, selectors, services
from risk.core.emergency_stop import PositionPolicy, StopProgress, StopSource
from risk.management import offline_verbs, rearm_verbs
from risk.reducing.restrictions import acknowledge_restriction, list_restrictions, release_of
from risk.stops.emergency import DEFAULT_REASON
from risk.stops.sweep_ledger import is_answered
from trading.selectors import get_clocks

REFUSED = 1
PAUSE_SECONDS = 1.0
ANSWER_SECONDS, POLL_SECONDS = 1.0, 0.05


class Command(BaseCommand):
    help = "Show, trip and sweep the emergency stop."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        status = verbs.add_parser("status", help="the trading state of every scope")
        trip = verbs.add_parser("trip", help="halt a scope at once")
        trip.add_argument("--scope", default="all", help="all, venue:V, account:A, strategy:S or symbol:X")
        trip.add_argument("--actor", required=True, help="the person who stops")
        trip.add_argument("--reason", default=DEFAULT_REASON)
        offline_verbs.add_options(trip)
        sweep = verbs.add_parser("sweep", help="cancel what rests at the venues until they confirm")
        sweep.add_argument("event_id", nargs="?", type=int, help="default: every unfinished stop")
        sweep.add_argument(
            "--once", action="store_true", help="one round; exit 1 if a venue has not confirmed"
        )
        sweep.add_argument(
            "--unless-answered", action="store_true", help="leave it to a guard that begins within a second"
        )
        sweep.add_argument("--scope", default="all", help="offline: all, venue:V or account:A")
        offline_verbs.add_options(sweep)
        acknowledge = verbs.add_parser("acknowledge", help="say that a restriction was seen")
        acknowledge.add_argument("restriction_id", type=int)
        acknowledge.add_argument("--actor", required=True, help="the person who has seen it")
        acknowledge.add_argument("--reason", required=True)
        for verb in (*rearm_verbs.add_verbs(verbs), status, trip, sweep, acknowledge):
            verb.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"do_{options['verb'].replace('-', '_')}")(options)
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
            for cause in list_restrictions(row["scope"]):
                self.stdout.write(f"{'':<9}{describe_cause(cause)}")
        self.stdout.write("A scope that is not listed is HALTED.")

    def do_acknowledge(self, options: dict[str, Any]) -> None:
        row = acknowledge_restriction(
            restriction_id=options["restriction_id"],
            reason=options["reason"],
            actor=get_actor(options["actor"]),
        )
        answer = {"id": row.pk, "scope": row.scope, "cause": row.cause, "by": row.acknowledged_by}
        text = f"{row.scope}: {row.cause} was seen by {row.acknowledged_by}; it ends once its cause is over"
        self.stdout.write(json.dumps(answer) if options["json"] else text)

    def do_trip(self, options: dict[str, Any]) -> None:
        if options["offline"]:
            self.stop_offline(options)
            return
        event = services.trip_emergency_stop(
            scope=options["scope"],
            reason=options["reason"],
            source=StopSource.MANUAL,
            positions=PositionPolicy(options["positions"]),
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
        if options["offline"]:
            self.stop_offline(options)
            return
        if options["unless_answered"] and wait_for_answer(options["event_id"]):
            self.stdout.write("a guard sweeps it")
            return
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

    def do_rearm_request(self, options: dict[str, Any]) -> None:
        rearm_verbs.request_rearm(options, self.stdout)

    def do_rearm_approve(self, options: dict[str, Any]) -> None:
        rearm_verbs.approve_rearm(options, self.stdout)

    def do_rearm_status(self, options: dict[str, Any]) -> None:
        rearm_verbs.show_rearm_status(options, self.stdout)

    def stop_offline(self, options: dict[str, Any]) -> None:
        result = offline_verbs.run_offline(options)
        self.stdout.write(offline_verbs.describe(result, as_json=options["json"]))
        if not result.is_confirmed:
            raise CommandError("stopping: not every venue has confirmed", returncode=REFUSED)

    def do_drill(self, options: dict[str, Any]) -> None:
        if not rearm_verbs.run_drill(options, self.stdout):
            raise CommandError("the drill failed", returncode=REFUSED)

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


def describe_cause(row: models.Restriction) -> str:
    """One line: the cause, and whose word is missing."""
    if not row.needs_acknowledgement:
        word = "ends by itself"
    elif row.acknowledged_at is not None:
        word = f"seen by {row.acknowledged_by}"
    else:
        word = f"{row.pk} waits for the word of a {release_of(row).value}"
    return f"{row.cause} since {row.since_at.isoformat()}, {word}: {row.reason}"


def wait_for_answer(event_id: int | None) -> bool:
    """Whether within a second somebody has noted what the venues said to the stops that wait for it."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while not is_answered([selectors.get_stop_event(number) for number in list_event_ids(event_id)]):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


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
