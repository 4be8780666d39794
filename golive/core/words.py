"""The words of the programme: phases, states, verdicts. Pure."""

from enum import StrEnum

LADDER = ("MICRO", "SMALL", "MEDIUM", "LARGE")


class Phase(StrEnum):
    """The five phases of a programme, in their order."""

    VALIDATION = "validation"
    FREEZE = "freeze"
    ACTIVATION = "activation"
    OBSERVATION = "observation"
    HANDOVER = "handover"


class ProgrammeState(StrEnum):
    """Where a programme ended: `confirmed` by a person, `rolled_back`, or `withdrawn` before activation."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    WITHDRAWN = "withdrawn"


class ActivationState(StrEnum):
    """The last two are final; what is confirmed is what a rollback goes back to."""

    OBSERVING = "observing"
    CONFIRMED = "confirmed"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"


class GuardVerdict(StrEnum):
    """What a guard says; no data is INCONCLUSIVE and never a pass."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class RollbackState(StrEnum):
    """`failed` is not final: it pages, and is tried again."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Recommendation(StrEnum):
    """What an evaluation says of an account's next rung."""

    PROMOTE = "promote"
    HOLD = "hold"
    DEMOTE = "demote"


class Direction(StrEnum):
    """What a change does to what may be risked; one limit going up makes it an increase."""

    INCREASE = "increase"
    DECREASE = "decrease"
    NEUTRAL = "neutral"
