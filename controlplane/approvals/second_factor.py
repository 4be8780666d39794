"""A person shows the second factor: one code, for one action on one digest, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from controlplane.approvals import core
from controlplane.approvals.models import SecondFactor, SecondFactorUse
from controlplane.approvals.selectors import get_database_time
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, DomainError, NotPermitted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A code has 10^6 values and three of them are good at a time: guessing is stopped early.
MAX_WRONG_CODES = 5
WRONG_CODES_WINDOW = timedelta(minutes=15)
WRONG = "wrong"


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


@contextmanager
def keeping_codes() -> Iterator[None]:
    """One transaction that is committed even when it ends in a refusal, for what was tried with codes.

    A code that was taken stays spent whatever came of it (RFC 6238, 5.2), and a wrong one is counted
    before the next is looked at. What else must be undone stands in a transaction within.
    """
    refusal: DomainError | None = None
    with transaction.atomic():
        try:
            yield
        except DomainError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def spend_code(*, user: "User", code: str | None, action: str, digest: str) -> datetime:
    """Use the code for this action on this digest, in the caller's transaction; returns when.

    Time is the database's. Raises StepUpRequired, StepUpWrong, StepUpLocked and StepUpUsed. The
    caller stands inside `audited_attempt` and `keeping_codes`: what they keep locks the guesser out.
    """
    typed = "".join((code or "").split())
    # Locked: codes of one person are looked at one by one, so that many guesses at once are counted too.
    factor = SecondFactor.objects.select_for_update().filter(user=user).first()
    if not typed or factor is None:
        raise StepUpRequired("otp: this takes a code of your second factor")
    now = get_database_time()
    _require_few_wrong_codes(user, now)
    step = core.find_totp_step(factor.totp_secret, typed, now)
    if step is None:
        # No code has a step before the epoch; the number only has to be another one each time.
        tried = -int(now.timestamp() * 1_000_000)
        SecondFactorUse.objects.create(user=user, step=tried, action=f"{WRONG}.{action}"[:60], digest=digest)
        raise StepUpWrong("otp: this is not a code of the present minute")
    try:
        with transaction.atomic():
            SecondFactorUse.objects.create(user=user, step=step, action=action, digest=digest)
    except IntegrityError:
        raise StepUpUsed("otp: this code was used; wait for the next one") from None
    return now


def _require_few_wrong_codes(user: "User", now: datetime) -> None:
    since = now - WRONG_CODES_WINDOW
    tried = SecondFactorUse.objects.filter(user=user, step__lt=0, used_at__gt=since)
    wrong = AuditEvent.objects.filter(
        actor=user.get_username(),
        actor_kind="user",
        occurred_at__gt=since,
        action__endswith=".denied",
        payload__detail__code=StepUpWrong.code,
    )
    if max(tried.count(), wrong.count()) >= MAX_WRONG_CODES:
        raise StepUpLocked("otp: too many wrong codes; wait a quarter of an hour")
