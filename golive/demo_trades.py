"""The round trips that count as evidence for going live."""

from datetime import datetime

from django.db.models import Q, QuerySet

from controlplane.code_version import get_code_version
from golive.core.programme_values import ProgrammeRules
from trading.core.values import Environment
from trading.models import Account, Trade
from trading.selectors import list_assignments

# Where trades count for an account of an environment (RISK.md 3.12): paper only for paper.
COUNTED_IN = {
    Environment.PAPER.value: (Environment.PAPER.value, Environment.DEMO.value),
    Environment.DEMO.value: (Environment.DEMO.value,),
    Environment.LIVE.value: (Environment.DEMO.value,),
}


def list_counting_trades(account: Account, rules: ProgrammeRules, market_now: datetime) -> QuerySet[Trade]:
    """Closed round trips of the account's strategies that are evidence: young, of this code, protected.

    The account's own, and those of demo accounts; both protections were read back at the venue.
    """
    strategies = list_assignments(account).values_list("strategy", flat=True)
    own = Q(venue_account__account=account) | Q(venue_account__account__environment=Environment.DEMO.value)
    return Trade.objects.filter(
        own,
        venue_account__account__environment__in=COUNTED_IN[account.environment],
        strategy__in=list(strategies),
        closed_at__gt=market_now - rules.trade_age,
        closed_at__lte=market_now,
        stop_verified_at__isnull=False,
        target_verified_at__isnull=False,
        entry_intent__decision__code_version=get_code_version(),
    )
