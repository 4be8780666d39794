"""Celery's way in: ids only, idempotent, one call each."""

import uuid
from typing import Any

from celery import shared_task
from celery.signals import after_task_publish, beat_init
from django.db import DatabaseError, connection

import risk.services
from controlplane.cycle import observe_accounts, recover_orders, run_due_cycles
from trading import selectors, services


@shared_task(name="controlplane.run_cycles", ignore_result=True)  # type: ignore[untyped-decorator]
def run_cycles() -> None:
    """Settle what a dead worker left, then trade the bars that are due; sent by beat each second."""
    services.record_heartbeat(name="worker")
    recover_orders()
    run_due_cycles()
    observe_accounts()


@shared_task(name="controlplane.execute_intent", ignore_result=True)  # type: ignore[untyped-decorator]
def execute_intent(intent_id: str) -> None:
    """Judge where needed and send one registered intent."""
    risk.services.execute_intent(intent_id=uuid.UUID(intent_id), clocks=selectors.get_clocks())


@beat_init.connect  # type: ignore[untyped-decorator]
def watch_beat(**_: Any) -> None:
    """In the beat process alone, every message it gets rid of is a sign of life."""
    after_task_publish.connect(show_life_of_beat, weak=False)


def show_life_of_beat(**_: Any) -> None:
    try:
        services.record_heartbeat(name="beat")
    except DatabaseError:
        # The schedule must go on; the heartbeat goes stale, and stale is what the guard reports.
        connection.close()
