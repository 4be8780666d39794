"""Gauges read from the database and the broker when they are asked for."""

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count, Max, Q
from prometheus_client.core import GaugeMetricFamily

from controlplane.alerts.selectors import count_undelivered
from controlplane.audit.models import Seal
from controlplane.audit.selectors import get_last_anchor_time
from controlplane.health import open_redis
from golive import selectors as golive
from golive.metrics import TRUTHS
from risk import selectors as risk
from risk.core.global_risk import CRITICAL_AGE
from risk.core.values import RiskLevel
from risk.headroom import measure_headroom
from trading import models
from trading import selectors as trading
from trading.core.values import Clocks

Sample = tuple[str, tuple[str, ...], float]
NEVER = math.inf
PROCESSES = ("worker", "beat", "guard")
QUEUE = "celery"


def read_truth() -> list[GaugeMetricFamily]:
    """Every family that can be read now; one that cannot is absent, never zero."""
    families: dict[str, GaugeMetricFamily] = {}
    for name, labels, value in (*_read_database(), *_read_redis()):
        truth = TRUTHS[name]
        family = families.setdefault(
            name, GaugeMetricFamily(name, truth.documentation, labels=list(truth.labels))
        )
        family.add_metric(list(labels), value)
    return list(families.values())


def _read_database() -> list[Sample]:
    try:
        clocks = trading.get_clocks()
        found = [sample for read in READERS for sample in read(clocks)]
    except DatabaseError:
        connection.close()
        return [("database_up", (), 0.0)]
    return [("database_up", (), 1.0), *found]


def _read_redis() -> list[Sample]:
    try:
        length = int(open_redis(settings.REDIS_URL).llen(QUEUE))
    except (redis.RedisError, OSError):
        return [("redis_up", (), 0.0)]
    return [("redis_up", (), 1.0), ("broker_queue_length", (), float(length))]


def _age(at: datetime | None, now: datetime) -> float:
    return NEVER if at is None else max(0.0, (now - at).total_seconds())


def _read_heartbeats(clocks: Clocks) -> Iterator[Sample]:
    """Each duty of the guard has its own; `guard` itself is as alive as its freshest duty."""
    beats = {name: row.beat_at for name, row in trading.list_heartbeats().items()}
    duties = [at for name, at in beats.items() if name.startswith("guard:")]
    if duties:
        beats["guard"] = max(duties)
    for name in sorted({*beats, *PROCESSES}):
        yield "process_heartbeat_age_seconds", (name,), _age(beats.get(name), clocks.wall_at)


def _read_risk(clocks: Clocks) -> Iterator[Sample]:
    for status in risk.list_trading_states():
        yield "ess_state", (status.scope,), float(status.state.strictness)
    drill = risk.find_last_good_drill()
    yield "ess_drill_age_seconds", (), _age(None if drill is None else drill.finished_at, clocks.wall_at)
    state = risk.get_risk_state(clocks)["global_risk"]
    yield "global_risk_level", (), float(RiskLevel(state["level"]).severity)
    age = state["age_seconds"]
    yield "global_risk_age_seconds", (), NEVER if age is None else float(age)


def _list_accounts() -> list[models.Account]:
    return list(trading.list_accounts().filter(environment=settings.TRADING_ENVIRONMENT))


def _read_books(clocks: Clocks) -> Iterator[Sample]:
    for account in _list_accounts():
        ages = []
        for place in trading.list_venue_accounts(account):
            compared = trading.latest_reconciliation(place)
            ages.append(_age(None if compared is None else compared.finished_at, clocks.wall_at))
        yield "reconciliation_age_seconds", (account.name,), max(ages, default=NEVER)
        for row in measure_headroom(account, clocks):
            if row.headroom is not None and row.limit > 0:
                yield "risk_headroom_ratio", (account.name, row.name), float(row.headroom / row.limit)


def _read_positions(clocks: Clocks) -> Iterator[Sample]:
    rows = models.Account.objects.filter(environment=settings.TRADING_ENVIRONMENT).annotate(
        bare=Count(
            "venue_accounts__positions",
            filter=~Q(venue_accounts__positions__quantity=0)
            & Q(venue_accounts__positions__trade__stop_verified_at__isnull=True),
        )
    )
    for row in rows.order_by("name"):
        yield "unprotected_positions", (row.name,), float(row.bare)


def _read_venues(clocks: Clocks) -> Iterator[Sample]:
    read = dict(models.MarketPrice.objects.values_list("venue").annotate(at=Max("read_at")))
    for venue in sorted(set(trading.list_venue_accounts().values_list("venue", flat=True))):
        is_fresh = _age(read.get(venue), clocks.wall_at) < CRITICAL_AGE.total_seconds()
        yield "exchange_health", (venue,), float(is_fresh)


def _read_permits(clocks: Clocks) -> Iterator[Sample]:
    leases = dict(models.Permit.objects.filter(active=True).values_list("account_id", "lease_expires_at"))
    for account in _list_accounts():
        left = max(timedelta(0), leases.get(account.pk, clocks.wall_at) - clocks.wall_at)
        yield "permit_lease_seconds", (account.name,), left.total_seconds()
    for account_name, current in golive.list_phases().items():
        for phase in golive.PHASES:
            yield "golive_phase", (account_name, phase), float(phase == current)


def _read_preflight(clocks: Clocks) -> Iterator[Sample]:
    for name, status in golive.get_latest_statuses().items():
        yield "preflight_check_status", (name.value,), float(status is not None and status.is_good)
    run = golive.get_latest_run(is_complete=True)
    yield "preflight_age_seconds", (), _age(None if run is None else run.finished_at, clocks.wall_at)


def _read_audit(clocks: Clocks) -> Iterator[Sample]:
    sealed_at = Seal.objects.aggregate(at=Max("event__occurred_at"))["at"]
    yield "audit_last_seal_age_seconds", (), _age(sealed_at, clocks.wall_at)
    yield "audit_last_checkpoint_age_seconds", (), _age(get_last_anchor_time(), clocks.wall_at)


def _read_alerts(clocks: Clocks) -> Iterator[Sample]:
    yield "alerts_undelivered", (), float(count_undelivered())


READERS: Iterable[Callable[[Clocks], Iterator[Sample]]] = (
    _read_heartbeats,
    _read_risk,
    _read_books,
    _read_positions,
    _read_venues,
    _read_permits,
    _read_preflight,
    _read_audit,
    _read_alerts,
)
