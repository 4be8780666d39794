"""A person shows the second factor: one code, for one action on one digest, once."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from controlplane.approvals import core
from controlplane.approvals.models import SecondFactor, SecondFactorUse
from controlplane.approvals.selectors import get_database_time
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, NotPermitted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A code has 10^6 values and three of them are good at a time: guessing is stopped early.
MAX_WRONG_CODES = 5
WRONG_CODES_WINDOW = timedelta(minutes=15)


class StepUpRequired(NotPermitted):
    """This takes a code, and none was given or nothing to make one is enrolled."""

    code = "step_up_required"


class StepUpWrong(NotPermitted):
    """The code is not one of this moment."""

    code = "step_up_wrong"


class StepUpLocked(NotPermitted):
    """Too many wrong codes were tried lately."""

    code = "step_up_locked"


class StepUpUsed(Conflict):
    """The code was used already, for this or for another action."""

    code = "step_up_used"


def spend_code(*, user: "User", code: str | None, action: str, digest: str) -> datetime:
    """Use the code for this action on this digest, in the caller's transaction; returns when.

    Time is the database's. Raises StepUpRequired, StepUpWrong, StepUpLocked and StepUpUsed. The
    caller stands inside `audited_attempt`: what it records of refusals is what locks the guesser out.
    """
    typed = "".join((code or "").split())
    # Locked: codes of one person are looked at one by one, so that many guesses at once are counted too.
    factor = SecondFactor.objects.select_for_update().filter(user=user).first()
    if not typed or factor is None:
        raise StepUpRequired("otp: this takes a code of your second factor")
    now = get_database_time()
    _require_few_wrong_codes(user.get_username(), now)
    step = core.find_totp_step(factor.totp_secret, typed, now)
    if step is None:
        raise StepUpWrong("otp: this is not a code of the present minute")
    try:
        with transaction.atomic():
            SecondFactorUse.objects.create(user=user, step=step, action=action, digest=digest)
    except IntegrityError:
        raise StepUpUsed("otp: this code was used; wait for the next one") from None
    return now


def _require_few_wrong_codes(name: str, now: datetime) -> None:
    wrong = AuditEvent.objects.filter(
        actor=name,
        actor_kind="user",
        occurred_at__gt=now - WRONG_CODES_WINDOW,
        action__endswith=".denied",
        payload__detail__code=StepUpWrong.code,
    )
    if wrong.count() >= MAX_WRONG_CODES:
        raise StepUpLocked("otp: too many wrong codes; wait a quarter of an hour")
