"""Celery's way in: ids only, idempotent, one call each."""

import uuid

from celery import shared_task

import risk.services
from controlplane.cycle import run_due_cycles
from trading import selectors, services


@shared_task(name="controlplane.run_cycles", ignore_result=True)
def run_cycles() -> None:
    """Trade the bars that are due; sent by beat once a second, a late copy finds nothing to do."""
    services.record_heartbeat(name="worker")
    run_due_cycles()


@shared_task(name="controlplane.execute_intent", ignore_result=True)
def execute_intent(intent_id: str) -> None:
    """Judge where needed and send one registered intent."""
    risk.services.execute_intent(intent_id=uuid.UUID(intent_id), clocks=selectors.get_clocks())
