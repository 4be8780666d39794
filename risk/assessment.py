"""Measures what global risk is judged by, and stores the level."""

from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from risk import metrics, models
from risk.core import global_risk
from risk.core.global_risk import AccountFacts
from risk.limits import get_limits
from risk.native import run_native
from risk.snapshot import FLOW_KINDS, anchor_times
from trading import selectors
from trading.core.values import Clocks, TradingStateName
from trading.models import MarketPrice, Permit, TradingState, VenueAccount

_ASSESSMENT_LOCK = 7_420_001
# A longer pause between checks ends a stretch, so that downtime is nobody's OK time.
STRETCH_GAP = timedelta(seconds=60)

# Peak and latest of equity less the external flows since the first sample of the day: what came in
# before it (the first deposit, say) is in that sample already.
DRAWDOWN = """
WITH flows AS MATERIALIZED (
  SELECT n.amount, n.market_at FROM trading_income n
  WHERE n.venue_account_id = %(venue_account_id)s AND n.kind = ANY (%(flow_kinds)s::text[])
    AND n.market_at > (SELECT min(q.market_at) FROM trading_equitysample q
      WHERE q.venue_account_id = %(venue_account_id)s AND q.market_at >= %(since)s)
), curve AS MATERIALIZED (
  SELECT q.id, q.market_at,
    q.equity - coalesce((SELECT sum(f.amount) FROM flows f WHERE f.market_at <= q.market_at), 0) AS value
  FROM trading_equitysample q
  WHERE q.venue_account_id = %(venue_account_id)s AND q.market_at >= %(since)s
)
SELECT max(value), (SELECT value FROM curve ORDER BY market_at DESC, id DESC LIMIT 1) FROM curve
"""


@transaction.atomic
def assess_global_risk(*, clocks: Clocks) -> models.GlobalRisk:
    """Measure every permitted account, judge, and store level, reasons and inputs."""
    facts = tuple(_measure(permit, clocks) for permit in _list_permits())
    found = global_risk.assess(facts)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ASSESSMENT_LOCK])
    row = _extend_or_begin(found, _as_inputs(facts), clocks)
    states = dict(TradingState.objects.values_list("scope", "state"))
    transaction.on_commit(lambda: _publish(found, states))
    return row


def _publish(found: global_risk.Assessment, states: dict[str, str]) -> None:
    """Show the level, and the state of every scope as the database has it now."""
    metrics.GLOBAL_RISK.set(found.level.severity)
    for scope, state in states.items():
        metrics.STOP_STATE.labels(scope=scope).set(TradingStateName(state).strictness)


def _list_permits() -> list[Permit]:
    rows = Permit.objects.select_related("account").filter(
        active=True, environment=settings.TRADING_ENVIRONMENT
    )
    return list(rows.order_by("account__name"))


def _measure(permit: Permit, clocks: Clocks) -> AccountFacts:
    venue_account = selectors.get_primary(permit.account)
    limits = get_limits(permit.limit_set_digest)
    balance = selectors.latest_equity(venue_account)
    compared = selectors.latest_reconciliation(venue_account)
    return AccountFacts(
        account=permit.account.name,
        venue=venue_account.venue,
        price_age=_age(_newest_price_at(venue_account), clocks.wall_at),
        balance_age=_age(None if balance is None else balance.at, clocks.wall_at),
        reconciliation_age=_age(None if compared is None else compared.finished_at, clocks.wall_at),
        is_reconciled=compared is not None and compared.is_clean,
        drawdown_ratio=measure_drawdown(venue_account, clocks.market_at),
        drawdown_limit_ratio=None if limits is None else limits.daily_drawdown_stop_ratio,
    )


def _newest_price_at(venue_account: VenueAccount) -> datetime | None:
    """When the venue last gave any price the account needs; each symbol's own age is the gate's."""
    rows = MarketPrice.objects.filter(
        venue=venue_account.venue, symbol__in=selectors.list_symbols(venue_account.account)
    )
    return rows.order_by("-read_at").values_list("read_at", flat=True).first()


def measure_drawdown(venue_account: VenueAccount, market_at: datetime) -> Decimal | None:
    """(peak - equity) / peak since 00:00 UTC, external flows netted; None without a sample today."""
    since = next(iter(anchor_times(market_at).values()))
    parameters = {"venue_account_id": venue_account.pk, "since": since, "flow_kinds": list(FLOW_KINDS)}
    peak, latest = run_native(DRAWDOWN, parameters)[0]
    if peak is None or latest is None or peak <= 0:
        return None
    drawdown: Decimal = (peak - latest) / peak
    return drawdown


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


def _as_inputs(facts: tuple[AccountFacts, ...]) -> dict[str, Any]:
    """Plain JSON: ages in seconds, ratios as texts."""

    def plain(value: object) -> object:
        if isinstance(value, timedelta):
            return round(value.total_seconds(), 3)
        return str(value) if isinstance(value, Decimal) else value

    return {item.account: {name: plain(value) for name, value in asdict(item).items()} for item in facts}
