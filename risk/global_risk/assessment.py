"""Measures what global risk is judged by, and stores the level."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from controlplane.errors import NotFound
from controlplane.native import run_native
from risk import metrics, models
from risk.core import global_risk
from risk.core.global_risk import AccountFacts, GlobalRiskLimits, MeasureName
from risk.global_risk.book_facts import measure_account_book
from risk.global_risk.drawdown import measure_drawdown
from risk.global_risk.limits import get_global_risk_limits
from risk.global_risk.record import as_inputs
from risk.limits import get_limits
from trading import selectors
from trading.core.values import Clocks, TradingStateName
from trading.models import MarketPrice, Permit, TradingState, VenueAccount

_ASSESSMENT_LOCK = 7_420_001
# A longer pause between checks ends a stretch, so that downtime is nobody's OK time.
STRETCH_GAP = timedelta(seconds=60)
# Enough to be grave several times over; the look back never grows with history.
COUNTED_EVENTS = 1000

# Refusals and lost answers of the newest events. What our own fence kept back is no error.
ERRORS = """
SELECT count(*) FROM (
  SELECT e.order_id, e.state, e.venue_code, e.at FROM trading_orderevent e
  ORDER BY e.id DESC LIMIT %(counted_events)s
) AS newest JOIN trading_order o ON o.id = newest.order_id
JOIN trading_venueaccount v ON v.id = o.venue_account_id
WHERE v.account_id = %(account_id)s AND newest.at > %(since)s
  AND newest.state IN ('rejected', 'unknown', 'never_placed') AND newest.venue_code <> 'FENCED'
"""

UNKNOWN = """
SELECT count(*) FROM trading_order o JOIN trading_venueaccount v ON v.id = o.venue_account_id
WHERE v.account_id = %(account_id)s AND o.state IN ('sending', 'unknown', 'open')
  AND o.state <> 'open' AND o.sent_at < %(since)s
"""


@transaction.atomic
def assess_global_risk(*, clocks: Clocks) -> models.GlobalRisk:
    """Measure every permitted account, judge, and store level, reasons, findings and inputs.

    One at a time, from before the first fact is read: a later row never stands on earlier facts.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ASSESSMENT_LOCK])
    limits = get_global_risk_limits()
    facts = tuple(_measure(permit, limits, clocks) for permit in _list_permits())
    found = global_risk.assess(facts, limits)
    row = _extend_or_begin(found, as_inputs(facts, limits, found), clocks)
    states = dict(TradingState.objects.values_list("scope", "state"))
    measures = {item.account: global_risk.list_measures(item, limits) for item in facts}
    transaction.on_commit(lambda: _publish(found, measures, states))
    return row


def _publish(
    found: global_risk.Assessment,
    measures: dict[str, dict[MeasureName, Decimal | None]],
    states: dict[str, str],
) -> None:
    """Show the level, every measure, and the state of every scope as the database has it now."""
    metrics.GLOBAL_RISK.set(found.level.severity)
    for account, values in measures.items():
        for name, value in values.items():
            shown = float("nan") if value is None else float(value)
            metrics.GLOBAL_RISK_MEASURE.labels(account=account, measure=name.value).set(shown)
    for scope, state in states.items():
        metrics.STOP_STATE.labels(scope=scope).set(TradingStateName(state).strictness)


def _list_permits() -> list[Permit]:
    rows = Permit.objects.select_related("account").filter(
        active=True, environment=settings.TRADING_ENVIRONMENT
    )
    return list(rows.order_by("account__name"))


def _measure(permit: Permit, risk: GlobalRiskLimits, clocks: Clocks) -> AccountFacts:
    """One account's facts; without a primary venue nothing is known of it, and the others go on."""
    account = permit.account
    try:
        place = selectors.get_primary(account)
    except NotFound:
        return AccountFacts(account=account.name, venue="")
    limits = get_limits(permit.limit_set_digest)
    equity = selectors.latest_equity(place)
    compared = selectors.latest_reconciliation(place)
    price_age = _age(_newest_price_at(place), clocks.wall_at)
    balance_age = _age(None if equity is None else equity.at, clocks.wall_at)
    compared_age = _age(None if compared is None else compared.finished_at, clocks.wall_at)
    return AccountFacts(
        account=account.name,
        venue=place.venue,
        price_age=price_age,
        balance_age=balance_age,
        reconciliation_age=compared_age,
        is_reconciled=compared is not None and compared.is_clean,
        drawdown_ratio=measure_drawdown(place, clocks.market_at),
        drawdown_limit_ratio=None if limits is None else limits.daily_drawdown_stop_ratio,
        answer_age=min(
            (age for age in (price_age, balance_age, compared_age) if age is not None), default=None
        ),
        unknown_orders=_count(UNKNOWN, account.pk, clocks.wall_at - risk.unknown_order_age),
        errors=_count(ERRORS, account.pk, clocks.wall_at - risk.error_window),
        **measure_account_book(account, limits, equity, risk, clocks.market_at),
    )


def _count(statement: str, account_id: int, since: datetime) -> int:
    parameters = {"account_id": account_id, "since": since, "counted_events": COUNTED_EVENTS}
    (number,) = run_native(statement, parameters)[0]
    return int(number)


def _newest_price_at(venue_account: VenueAccount) -> datetime | None:
    """When the venue last gave any price the account needs; each symbol's own age is the gate's."""
    rows = MarketPrice.objects.filter(
        venue=venue_account.venue, symbol__in=selectors.list_symbols(venue_account.account)
    )
    return rows.order_by("-read_at").values_list("read_at", flat=True).first()


def _age(at: datetime | None, now: datetime) -> timedelta | None:
    return None if at is None else max(timedelta(0), now - at)


def _extend_or_begin(
    found: global_risk.Assessment, inputs: dict[str, Any], clocks: Clocks
) -> models.GlobalRisk:
    latest = models.GlobalRisk.objects.order_by("-id").first()
    if latest is not None and _continues(latest, found, clocks.wall_at):
        latest.inputs, latest.market_at = inputs, clocks.market_at
        latest.checked_at = max(latest.checked_at, clocks.wall_at)
        latest.save(update_fields=["inputs", "market_at", "checked_at"])
        return latest
    return models.GlobalRisk.objects.create(
        level=found.level.value,
        reasons=list(found.reasons),
        inputs=inputs,
        since_at=clocks.wall_at,
        checked_at=clocks.wall_at,
        market_at=clocks.market_at,
    )


def _continues(latest: models.GlobalRisk, found: global_risk.Assessment, now: datetime) -> bool:
    same = latest.level == found.level.value and latest.reasons == list(found.reasons)
    return same and now - latest.checked_at <= STRETCH_GAP
