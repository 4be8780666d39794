"""A row written here, answered by a worker: the way through the broker and back."""

import time
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from controlplane.audit.selectors import get_database_time
from golive.metrics import CANARY_ANSWERS
from golive.models import Canary

POLL_SECONDS = 0.02
# What an interrupted pre-flight left behind goes with a later one.
FORGOTTEN_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A canary's answer; None where none came within the time."""

    answered_by: str | None
    seconds: float


def release_canary() -> uuid.UUID:
    """Write the row and read it back; raises DatabaseError, or LookupError if it is not there."""
    nonce, now = uuid.uuid4(), get_database_time()
    Canary.objects.filter(asked_at__lt=now - FORGOTTEN_AFTER).delete()
    Canary.objects.create(nonce=nonce, asked_at=now)
    if not Canary.objects.filter(nonce=nonce).exists():
        raise LookupError(f"canary {nonce} was written and cannot be read")
    return nonce


def answer_canary(*, nonce: uuid.UUID, worker: str) -> bool:
    """Called by a worker; counts the answer once."""
    answered = Canary.objects.filter(nonce=nonce, answered_at=None).update(
        answered_at=Now(), answered_by=worker[:120]
    )
    if answered:
        CANARY_ANSWERS.inc()
    return bool(answered)


def wait_for_answer(nonce: uuid.UUID, *, seconds: float) -> RoundTrip:
    started = time.monotonic()
    while True:
        worker = (
            Canary.objects.filter(nonce=nonce, answered_at__isnull=False)
            .values_list("answered_by", flat=True)
            .first()
        )
        taken = time.monotonic() - started
        if worker is not None or taken > seconds:
            return RoundTrip(answered_by=worker, seconds=taken)
        time.sleep(POLL_SECONDS)


def forget_canary(nonce: uuid.UUID) -> None:
    Canary.objects.filter(nonce=nonce).delete()
