"""What the ledger says of an account since its record began, each fact with the rows behind it.

The record begins with the active permit, in market time, or with the last loss stop after it: nobody
chooses the moment. Round trips are those of every account of the same environment that the account's
strategies ever traded on, retired ones too; equity, drawdown, incidents and the count of trades are its own.
Incidents are those of the rung's days before now, so that one is forgotten by days without another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet, Sum

from controlplane.native import run_native
from golive.core.advancement import AdvancementRules, Record, Result, Rung
from golive.models import Activation
from golive.uptime import measure_uptime
from risk.core.consequences import UNPROTECTED_FOR
from risk.core.emergency_stop import Cause
from risk.core.measures import MAJOR_SYMBOLS
from risk.core.values import Limits, RiskLevel
from risk.models import GlobalRisk, Restriction, StopEvent
from risk.reducing.placed_causes import PLACES
from trading import selectors
from trading.core.values import Clocks, OrderPurpose
from trading.models import Account, EquitySample, Permit, StrategyAssignment, Trade, VenueAccount

DAY, WEEK = timedelta(days=1), timedelta(days=7)
ZERO = Decimal(0)
PLACES_OF_RATIO = 10
# How many of the newest rows a criterion names.
SHOWN = 20

# U_t = U_{t-1} (E_t - F_t) / E_{t-1} (RISK.md part 1) as a sum of logarithms; the deepest fall below its
# highest so far. Where an equity was not above zero nothing after it is known.
DRAWDOWN = """
WITH s AS (
  SELECT id, market_at, equity::float8 AS equity, net_flow::float8 AS flow,
    lag(equity::float8) OVER (ORDER BY market_at, id) AS before
  FROM trading_equitysample
  WHERE venue_account_id = %(place)s AND market_at >= %(since)s AND market_at <= %(until)s
), c AS (
  SELECT id, market_at, coalesce(before, equity) > 0 AS is_known, sum(CASE WHEN before IS NULL THEN 0
      WHEN before > 0 THEN ln(greatest((equity - flow) / before, 1e-100)) END)
    OVER (ORDER BY market_at, id ROWS UNBOUNDED PRECEDING) AS level
  FROM s
), d AS (
  SELECT is_known, level - max(level) OVER (ORDER BY market_at, id ROWS UNBOUNDED PRECEDING) AS fall FROM c
)
SELECT count(*), coalesce(bool_and(is_known), false), 1 - exp(greatest(min(fall), -200)) FROM d
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Market time: the record from `since`, incidents from `clean_since`; None where nothing began."""

    since: datetime
    clean_since: datetime
    until: datetime


def gather_record(
    *, permit: Permit, limits: Limits | None, rules: AdvancementRules, rung: Rung, clocks: Clocks
) -> Record:
    """Every fact that the criteria ask about; all unknown while the permit has no moment in market time."""
    account = permit.account
    began = find_beginning(permit)
    if began is None:
        return Record(evidence={"active_days": (f"permit:{permit.pk}",)})
    scopes = _list_scopes(account)
    window = _open_window(began, scopes, rules, rung, clocks)
    evidence: dict[str, tuple[str, ...]] = {}
    facts = {
        **_read_trades(account, window, limits, evidence),
        **_read_equity(account, window, evidence),
        **_read_incidents(account, scopes, window, rules, evidence),
        **_read_global_risk(window, evidence),
    }
    uptime, evidence["uptime"] = measure_uptime(account, since=window.since, until=window.until)
    inactive = _list_inactive_days(account, scopes, window, rules)
    evidence["active_days"] = (f"permit:{permit.pk}", f"since:{window.since.isoformat()}", *inactive)
    return Record(
        active_days=max(0, (window.until - window.since) // DAY - len(inactive)),
        uptime=uptime,
        weekly_loss_limit=None if limits is None else limits.max_weekly_loss_ratio,
        weekly_losses=_count_weekly_losses(account, began, evidence),
        evidence=evidence,
        **facts,
    )


def find_beginning(permit: Permit) -> datetime | None:
    """When the permit began in market time: its activation, else the first equity seen under it."""
    activation = Activation.objects.filter(permit=permit).first()
    if activation is not None:
        return activation.market_at
    return find_market_time(permit.account, permit.created_at)


def find_market_time(account: Account, wall_at: datetime) -> datetime | None:
    """Market time of a moment of wall time: that of the first equity sample from then on."""
    rows = EquitySample.objects.filter(venue_account__account=account, at__gte=wall_at)
    return rows.order_by("at", "id").values_list("market_at", flat=True).first()


def _list_scopes(account: Account) -> list[str]:
    """Scopes of account width or wider in which the account, or another of its strategies, trades."""
    names = {account.name, *(row.name for row in _list_fellows(account))}
    venues = VenueAccount.objects.filter(account=account).values_list("venue", flat=True)
    return ["all", *(f"venue:{name}" for name in venues), *(f"account:{name}" for name in sorted(names))]


def _list_strategies(account: Account) -> list[str]:
    rows = StrategyAssignment.objects.filter(account=account)
    return sorted(rows.values_list("strategy", flat=True))


def _list_fellows(account: Account) -> QuerySet[Account]:
    """Every account of the environment that one of the strategies is or was assigned to, or traded on."""
    strategies = _list_strategies(account)
    traded = Trade.objects.filter(strategy__in=strategies).values("venue_account__account")
    return Account.objects.filter(
        Q(assignments__strategy__in=strategies) | Q(pk__in=traded), environment=account.environment
    ).distinct()


def _list_stops(scopes: Iterable[str], since: datetime, sources: Q) -> QuerySet[StopEvent]:
    return StopEvent.objects.filter(sources, scope__in=scopes, market_at__gte=since).order_by("-market_at")


def _open_window(
    began: datetime, scopes: list[str], rules: AdvancementRules, rung: Rung, clocks: Clocks
) -> Window:
    last = _list_stops(scopes, began, Q(source__in=rules.loss_stops)).first()
    return Window(
        since=began if last is None else last.market_at,
        clean_since=max(began, clocks.market_at - rung.days * DAY),
        until=clocks.market_at,
    )


def _list_inactive_days(
    account: Account, scopes: list[str], window: Window, rules: AdvancementRules
) -> tuple[str, ...]:
    """Days (UTC) on which a stop stood that restarts nothing: manual, drill, data, venue."""
    own = [
        scope for scope in scopes if not scope.startswith("account:") or scope == f"account:{account.name}"
    ]
    days: set[str] = set()
    for event in _list_stops(own, window.since, ~Q(source__in=rules.loss_stops)):
        ended = None if event.ended_at is None else find_market_time(account, event.ended_at)
        last = window.until if ended is None else ended
        count = (last.date() - event.market_at.date()).days
        days |= {f"inactive:{event.market_at.date() + number * DAY}" for number in range(count + 1)}
    return tuple(sorted(days))


def _name(kind: str, rows: Iterable[Any]) -> tuple[str, ...]:
    """The newest rows by kind and number, and how many there are."""
    numbers = sorted((row.pk for row in rows), reverse=True)
    return (f"{kind}s:{len(numbers)}", *(f"{kind}:{number}" for number in numbers[:SHOWN]))


def _read_trades(
    account: Account, window: Window, limits: Limits | None, evidence: dict[str, tuple[str, ...]]
) -> dict[str, Any]:
    rows = list(
        Trade.objects.filter(
            venue_account__account__environment=account.environment,
            strategy__in=_list_strategies(account),
            closed_at__gte=window.since,
            closed_at__lte=window.until,
        )
        .select_related("venue_account", "entry_intent")
        .order_by("closed_at", "id")
    )
    own = [row for row in rows if row.venue_account.account_id == account.pk]
    evidence["trades"] = _name("trade", own)
    for name in ("profit_factor", "without_best", "mean_result"):
        evidence[name] = _name("trade", rows)
    stopped = [row for row in own if row.closed_by == OrderPurpose.STOP_LOSS]
    evidence["stop_slippage"] = _name("trade", stopped)
    return {
        "trades": len(own),
        "results": tuple(Result(net_pnl=row.net_pnl or ZERO, risk=row.risk_amount) for row in rows),
        "slippages": None if limits is None else _measure_slippages(stopped, limits),
    }


def _measure_slippages(stopped: list[Trade], limits: Limits) -> tuple[Decimal, ...] | None:
    """(stop - fill) / stop over the allowance s, adverse positive; None where a stop's price is not known."""
    found = []
    for row in stopped:
        stop = None if row.entry_intent is None else row.entry_intent.stop_loss
        if stop is None or row.exit_price is None:
            return None
        is_major = row.symbol in MAJOR_SYMBOLS
        allowed = limits.major_slippage_ratio if is_major else limits.other_slippage_ratio
        if allowed <= 0:
            return None
        side = 1 if row.side == "buy" else -1
        found.append(side * (stop - row.exit_price) / stop / allowed)
    return tuple(found)


def _read_equity(account: Account, window: Window, evidence: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Change without flows, the worst week and the deepest drawdown, of all its venues or unknown."""
    places = _list_places(account)
    change = _measure_change(places, window.since, window.until)
    weeks = [_measure_change(places, since, until) for since, until in _list_weeks(window)]
    drawdowns = [_measure_drawdown(place, window) for place in places]
    evidence["net_profit"] = evidence["drawdown"] = _name_samples(places, window)
    evidence["worst_week"] = tuple(f"week:{since.date()}" for since, _ in _list_weeks(window))
    known = [week for week in weeks if week is not None]
    is_whole = bool(known) and len(known) == len(weeks)
    return {
        "equity_change": None if change is None else change[0],
        "worst_week_ratio": max(max(ZERO, -won / base) for won, base in known) if is_whole else None,
        "drawdown_ratio": _find_deepest(drawdowns),
    }


def _list_places(account: Account) -> list[VenueAccount]:
    """The primary, and every other venue whose equity was ever read."""
    rows = selectors.list_venue_accounts(account)
    return list(rows.filter(Q(priority=0) | Q(equity_samples__isnull=False)).distinct())


def _find_deepest(drawdowns: list[Decimal | None]) -> Decimal | None:
    known = [ratio for ratio in drawdowns if ratio is not None]
    return max(known) if known and len(known) == len(drawdowns) else None


def _list_weeks(window: Window) -> list[tuple[datetime, datetime]]:
    """Weeks from Monday 00:00 UTC, the first and the last cut by the record's ends."""
    midnight = window.since.replace(hour=0, minute=0, second=0, microsecond=0)
    edge = midnight - timedelta(days=midnight.weekday())
    weeks = []
    while edge < window.until:
        weeks.append((max(edge, window.since), min(edge + WEEK, window.until)))
        edge += WEEK
    return weeks


def _measure_change(
    places: list[VenueAccount], since: datetime, until: datetime
) -> tuple[Decimal, Decimal] | None:
    """(E_end - E_start - F, E_start) over all venues, USDT; None without a sample or without equity."""
    change = base = ZERO
    for place in places:
        first = selectors.equity_at(place, since)
        rows = EquitySample.objects.filter(venue_account=place, market_at__lte=until)
        last = rows.order_by("-market_at", "-id").first()
        if first is None or last is None:
            return None
        between = rows.filter(
            Q(market_at__gt=first.market_at) | Q(market_at=first.market_at, id__gt=first.pk)
        )
        flow = between.aggregate(sum=Sum("net_flow"))["sum"] or ZERO
        change += last.equity - first.equity - flow
        base += first.equity
    return (change, base) if base > 0 else None


def _measure_drawdown(place: VenueAccount, window: Window) -> Decimal | None:
    parameters = {"place": place.pk, "since": window.since, "until": window.until}
    count, is_known, ratio = run_native(DRAWDOWN, parameters)[0]
    if not count or not is_known or ratio is None:
        return None
    return max(ZERO, round(Decimal(ratio), PLACES_OF_RATIO))


def _name_samples(places: list[VenueAccount], window: Window) -> tuple[str, ...]:
    ids = []
    for place in places:
        first, last = selectors.equity_at(place, window.since), selectors.latest_equity(place)
        ids += [f"equity:{row.pk}" for row in (first, last) if row is not None]
    return tuple(ids)


def _list_restrictions(scopes: Iterable[str], causes: Iterable[Cause], since: datetime) -> list[Restriction]:
    names = [cause.value for cause in causes]
    rows = Restriction.objects.filter(scope__in=list(scopes), cause__in=names, market_at__gte=since)
    return list(rows.order_by("id"))


def _read_incidents(
    account: Account,
    scopes: list[str],
    window: Window,
    rules: AdvancementRules,
    evidence: dict[str, tuple[str, ...]],
) -> dict[str, Any]:
    """Loss stops, limits broken after a trade, and the longest time without a stop."""
    own = [f"account:{account.name}", *(f"symbol:{name}" for name in _list_symbols(account))]
    stops = list(_list_stops(scopes, window.clean_since, Q(source__in=rules.loss_stops)))
    breaches = _list_restrictions(own, (Cause.OVERSIZE, Cause.MAINTENANCE_MARGIN), window.clean_since)
    bare = _list_restrictions(own, (Cause.UNPROTECTED,), window.clean_since)
    evidence["loss_stops"] = _name("stop", stops)
    evidence["breaches"] = _name("restriction", breaches)
    evidence["protection"] = _name("restriction", bare)
    return {
        "loss_stops": len(stops),
        "breaches": len(breaches),
        "unprotected": max((_measure_bare(row) for row in bare), default=timedelta(0)),
    }


def _list_symbols(account: Account) -> list[str]:
    """Everything the account was assigned or has traded."""
    rows = StrategyAssignment.objects.filter(account=account)
    traded = Trade.objects.filter(venue_account__account=account).order_by().values_list("symbol", flat=True)
    return sorted({symbol for row in rows for symbol in row.symbols}.union(traded.distinct()))


def _measure_bare(row: Restriction) -> timedelta:
    """From the first sight of the missing stop, with the time before it counted, to the last."""
    seen = [datetime.fromisoformat(at) for at in row.evidence.get(PLACES, {}).values()]
    return max([row.since_at, *seen]) - row.since_at + UNPROTECTED_FOR


def _read_global_risk(window: Window, evidence: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The share of the time that was assessed; what was not is down by the uptime of its slots."""
    rows = list(GlobalRisk.objects.filter(market_at__gte=window.since).order_by("id"))
    evidence["global_risk_ok"] = _name("global_risk", rows)
    spans = [(row.level, row.checked_at - row.since_at) for row in rows]
    whole = sum((span for _, span in spans), timedelta(0))
    good = sum((span for level, span in spans if level == RiskLevel.OK), timedelta(0))
    bad = [row for row in rows if row.level == RiskLevel.CRITICAL and row.market_at >= window.clean_since]
    evidence["global_risk_critical"] = _name("global_risk", bad)
    return {
        "ok_share": Decimal(good / whole) if whole else None,
        "criticals": len(bad) if rows else None,
    }


def _count_weekly_losses(account: Account, began: datetime, evidence: dict[str, tuple[str, ...]]) -> int:
    rows = _list_restrictions((f"account:{account.name}",), (Cause.WEEKLY_LOSS,), began)
    evidence["weekly_losses"] = _name("restriction", rows)
    return len(rows)
