"""The two health endpoints. `live` touches nothing; `ready` says what is missing."""

from collections.abc import Callable
from functools import lru_cache

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.backoff import NoBackoff
from redis.retry import Retry

from trading.models import TradingState

CONTENT_TYPE = "application/json"
LIVE_BODY = '{"status":"ok"}'
READY_BODY = '{"status":"ready"}'
REDIS_SECONDS = 0.2


@never_cache
@require_safe
def show_liveness(request: HttpRequest) -> HttpResponse:
    return HttpResponse(LIVE_BODY, content_type=CONTENT_TYPE)


@never_cache
@require_safe
def show_readiness(request: HttpRequest) -> HttpResponse:
    """200 when an order could be judged and stopped from here: database, broker, trading states."""
    reasons = list_reasons()
    if not reasons:
        return HttpResponse(READY_BODY, content_type=CONTENT_TYPE)
    listed = ",".join(f'"{reason}"' for reason in reasons)
    return HttpResponse(
        f'{{"status":"not_ready","reasons":[{listed}]}}', content_type=CONTENT_TYPE, status=503
    )


def list_reasons() -> list[str]:
    """Stable codes of what is missing; empty when ready."""
    checks: tuple[Callable[[], str | None], ...] = (_check_database, _check_redis)
    return [reason for check in checks if (reason := check()) is not None]


def _check_database() -> str | None:
    try:
        if not _are_migrations_applied():
            return "migrations_pending"
    except DatabaseError:
        connection.close()
        return "database_unreachable"
    try:
        TradingState.objects.filter(scope="all").values_list("state", flat=True).first()
    except DatabaseError:
        connection.close()
        return "trading_state_unreadable"
    return None


def _are_migrations_applied() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT app, name FROM django_migrations")
        return set(cursor.fetchall()) >= list_known_migrations()


@lru_cache(maxsize=1)
def list_known_migrations() -> frozenset[tuple[str, str]]:
    """The migrations of this code, read from disk once."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return frozenset(loader.disk_migrations)


def _check_redis() -> str | None:
    try:
        open_redis(settings.REDIS_URL).ping()
    except (redis.RedisError, OSError):
        return "redis_unreachable"
    return None


@lru_cache(maxsize=4)
def open_redis(url: str) -> "redis.Redis":
    """One pool per process; tries a second connection where the first had gone stale, and never waits."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
