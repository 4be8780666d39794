"""The steps of a stop at one venue account, and a sweeper's turn there."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from risk import models
from risk.core.emergency_stop import StepAction, StepStatus, StopProgress
from risk.stops.escalation import get_sweep_began_at
from trading.core.values import Clocks, Scope
from trading.models import VenueAccount

MAX_DETAIL = 500
ORDER_ACTIONS = (StepAction.SETTLE, StepAction.CANCEL)
POSITION_ACTIONS = (StepAction.PROTECT, StepAction.REDUCE, StepAction.FLATTEN)


class Ledger:
    """Writes the steps of one stop at one venue account; a step is DONE only when the venue has said so."""

    def __init__(self, event: models.StopEvent, place: VenueAccount) -> None:
        self._event = event
        self._place = place

    def write(
        self, action: StepAction, status: StepStatus, subject: str = "", symbol: str = "", detail: str = ""
    ) -> None:
        key = {
            "event": self._event,
            "venue": self._place.venue,
            "account": self._place.account.name,
            "action": action,
            "subject": subject[:64],
        }
        models.StopStep.objects.get_or_create(**key, defaults={"symbol": symbol})
        models.StopStep.objects.filter(**key).update(
            status=status, detail=detail[:MAX_DETAIL], attempts=F("attempts") + 1, updated_at=Now()
        )

    def close(self, actions: Collection[StepAction], detail: str) -> None:
        """What was still to do is done: the venue has just said so. What is not ours to do stays failed."""
        rows = (
            self._steps().filter(action__in=actions).exclude(status__in=[StepStatus.DONE, StepStatus.FAILED])
        )
        rows.update(status=StepStatus.DONE, detail=detail, updated_at=Now())

    def is_done(self, action: StepAction) -> bool:
        return self._steps().filter(action=action, status=StepStatus.DONE).exists()

    def count_attempts(self, action: StepAction) -> int:
        """How often the step without a subject was written."""
        row = self._steps().filter(action=action, subject="").values_list("attempts", flat=True).first()
        return 0 if row is None else row

    def has_outstanding(self, actions: Collection[StepAction]) -> bool:
        rows = self._steps().filter(action__in=actions)
        return rows.exclude(status__in=[StepStatus.DONE, StepStatus.FAILED]).exists()

    def _steps(self) -> QuerySet[models.StopStep]:
        return models.StopStep.objects.filter(
            event=self._event, venue=self._place.venue, account=self._place.account.name
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One sweeper's turn with one stop at one venue account; `deadline` is monotonic seconds."""

    event: models.StopEvent
    scope: Scope
    place: VenueAccount
    ledger: Ledger
    clocks: Clocks
    deadline: float

    @property
    def is_over(self) -> bool:
        """Whether what is left must wait for the next turn, so that others get theirs."""
        return time.monotonic() >= self.deadline


def is_answered(events: Iterable[models.StopEvent]) -> bool:
    """Whether a sweeper has noted what came of each of the stops since it began to be swept, or it ended."""
    return all(
        event.progress == StopProgress.STOPPED
        or event.steps.exclude(status=StepStatus.PENDING)
        .filter(updated_at__gt=get_sweep_began_at(event))
        .exists()
        for event in events
    )
