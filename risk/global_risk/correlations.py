"""Correlations of the desk's symbols, from closed hourly candles. The one writer of Correlation.

Called often; it writes only what a newly closed or newly arrived hour has changed.
"""

from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import combinations

from django.conf import settings
from django.db import connection, transaction

from risk import models
from risk.core.statistics import pair_correlation
from risk.core.values import CorrelationFacts
from risk.global_risk.returns import CandleSpan, floor_to_hour, list_returns, list_spans
from risk.snapshot import CORRELATION_AGE
from trading.core.values import Clocks, IntentState, OrderPurpose
from trading.models import Order, OrderIntent, Position, StrategyAssignment
from trading.selectors import UNSETTLED

_CORRELATION_LOCK = 7_420_002
PLACES = 8


def list_desk_symbols() -> tuple[str, ...]:
    """Every symbol that an account of this environment trades, holds or waits for, sorted."""
    environment = settings.TRADING_ENVIRONMENT
    assigned = StrategyAssignment.objects.filter(enabled=True, account__environment=environment)
    held = Position.objects.filter(venue_account__account__environment=environment).exclude(quantity=0)
    waiting = OrderIntent.objects.filter(
        account__environment=environment, state=IntentState.APPROVED, purpose=OrderPurpose.ENTRY
    )
    sent = Order.objects.filter(
        venue_account__account__environment=environment, state__in=UNSETTLED, purpose=OrderPurpose.ENTRY
    )
    symbols = {symbol for row in assigned for symbol in row.symbols}
    for rows in (held, waiting, sent):
        symbols |= set(rows.values_list("symbol", flat=True))
    return tuple(sorted(symbols))


@transaction.atomic
def update_correlations(*, clocks: Clocks) -> int:
    """Compute every pair of the desk's symbols and store what is new; returns how many were."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CORRELATION_LOCK])
    symbols = list_desk_symbols()
    spans = list_spans(symbols, clocks.market_at)
    stored = {
        (row.first, row.second): row
        for row in models.Correlation.objects.filter(first__in=symbols, second__in=symbols)
    }
    changed = 0
    for first, second in combinations(symbols, 2):
        row = _compute(first, second, spans, clocks)
        if not _is_same(stored.get((first, second)), row):
            _store(row)
            changed += 1
    return changed


def _compute(first: str, second: str, spans: dict[str, CandleSpan], clocks: Clocks) -> models.Correlation:
    value, samples, computed_at = None, 0, floor_to_hour(clocks.market_at)
    if first in spans and second in spans:
        value, samples = _correlate(spans[first], spans[second])
        computed_at = min(spans[first].closed_at, spans[second].closed_at)
    return models.Correlation(
        first=first, second=second, value=value, samples=samples, computed_at=computed_at
    )


@lru_cache(maxsize=512)
def _correlate(first: CandleSpan, second: CandleSpan) -> tuple[Decimal | None, int]:
    value, samples = pair_correlation(list_returns(first), list_returns(second))
    return (None if value is None else round(Decimal(value), PLACES)), samples


def _is_same(stored: models.Correlation | None, computed: models.Correlation) -> bool:
    return stored is not None and all(
        getattr(stored, name) == getattr(computed, name) for name in ("value", "samples", "computed_at")
    )


def _store(row: models.Correlation) -> None:
    models.Correlation.objects.update_or_create(
        first=row.first,
        second=row.second,
        defaults={"value": row.value, "samples": row.samples, "computed_at": row.computed_at},
    )


def list_correlations(symbols: frozenset[str], market_at: datetime) -> tuple[CorrelationFacts, ...]:
    """The known correlations among the symbols, as the gate knows them; one not listed is unknown."""
    rows = models.Correlation.objects.filter(
        first__in=symbols,
        second__in=symbols,
        value__isnull=False,
        computed_at__gte=market_at - CORRELATION_AGE,
    )
    return tuple(
        CorrelationFacts(first=row.first, second=row.second, value=row.value)
        for row in rows.order_by("first", "second")
        if row.value is not None
    )
