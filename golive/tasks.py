"""Celery's way in: ids only, idempotent, one call each."""

import uuid
from typing import Any

from celery import shared_task

from golive import canaries, services


@shared_task(name="golive.answer_canary", bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def answer_canary(task: Any, nonce: str) -> None:
    canaries.answer_canary(nonce=uuid.UUID(nonce), worker=str(task.request.hostname))


@shared_task(name="golive.run_preflight", ignore_result=True)  # type: ignore[untyped-decorator]
def run_preflight() -> None:
    """Start the scheduled pre-flight in a process of its own, which asks the workers like any other."""
    services.start_preflight(purpose="golive", actor="system:schedule", is_scheduled=True)
