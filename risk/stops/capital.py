"""B, the equity that capital loss is measured from: set once, changed only by what people approved."""

from decimal import Decimal

from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Now

from controlplane.audit.services import record
from controlplane.errors import InvalidInput
from risk import models
from risk.snapshot import FLOW_KINDS
from trading import selectors
from trading.core.values import Clocks
from trading.models import Account, Income, VenueAccount

ZERO = Decimal(0)
FIRST = "the first equity that could be believed under a permit"


class BaseInvalid(InvalidInput):
    """Capital loss cannot be measured from this equity."""

    code = "capital_base_invalid"


def get_capital_base(account: Account) -> models.CapitalBase | None:
    """The one in force; None before the first believed reading under a permit."""
    return models.CapitalBase.objects.filter(account=account, ended_at__isnull=True).first()


def set_first_base(
    *, account: Account, equity: Decimal, actor: str, clocks: Clocks
) -> models.CapitalBase | None:
    """Begin to measure at this equity (USDT) unless something stands; None where it is not above zero."""
    standing = get_capital_base(account)
    if standing is not None or equity <= 0:
        return standing
    with transaction.atomic():
        _lock(account)
        return get_capital_base(account) or _begin(account, equity, FIRST, actor, clocks, before=None)


@transaction.atomic
def rebase_capital(*, account: Account, equity: Decimal, reason: str, set_by: str) -> models.CapitalBase:
    """Measure capital loss from this equity (USDT) from now on, in the caller's transaction.

    What was lost until now counts no more: only for what people approved. Audited with both equities.
    Raises BaseInvalid.
    """
    if not equity.is_finite() or equity <= 0:
        raise BaseInvalid(f"equity: capital loss is measured from an equity above zero, found {equity}")
    _lock(account)
    before = get_capital_base(account)
    models.CapitalBase.objects.filter(account=account, ended_at__isnull=True).update(ended_at=Now())
    return _begin(account, equity, reason, set_by, selectors.get_clocks(), before=before)


def _lock(account: Account) -> None:
    """One change of an account's base at a time; foreign keys to the account stay free."""
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)


def _begin(
    account: Account,
    equity: Decimal,
    reason: str,
    actor: str,
    clocks: Clocks,
    *,
    before: models.CapitalBase | None,
) -> models.CapitalBase:
    row = models.CapitalBase.objects.create(
        account=account, equity=equity, market_at=clocks.market_at, reason=reason, set_by=actor
    )
    record(
        action="risk.capital_base",
        actor=actor,
        subject_type="account",
        subject_id=account.name,
        reason=reason,
        detail={"equity": equity, "before": None if before is None else before.equity},
    )
    return row


def sum_flows(venue_account: VenueAccount, base: models.CapitalBase) -> Decimal:
    """F: what came from outside since the base was set (USDT, signed), by the booked income."""
    rows = Income.objects.filter(
        venue_account=venue_account, kind__in=FLOW_KINDS, market_at__gt=base.market_at
    )
    return rows.aggregate(total=Sum("amount"))["total"] or ZERO
