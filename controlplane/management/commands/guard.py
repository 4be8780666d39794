"""Run the guard until SIGTERM or Ctrl-C."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

import risk.services
from controlplane.guard import Guard


class Command(BaseCommand):
    help = "Watch triggers, leases and workers; sweep emergency stops; recover what a dead worker left."

    def handle(self, *args: Any, **options: Any) -> None:
        # Before anything else is done: what was stopped while the database was away stays stopped.
        risk.services.adopt_offline_stops()
        guard = Guard()
        signal.signal(signal.SIGTERM, lambda *_: guard.stop())
        signal.signal(signal.SIGINT, lambda *_: guard.stop())
        self.stdout.write("guard: watching")
        guard.run()
