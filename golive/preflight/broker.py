"""Redis: reachable, durable, not behind; and a worker that answers through it."""

import uuid

import redis
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from golive import canaries
from golive.core.values import Finding
from golive.preflight.context import Details, first_line, restart

QUEUE = "celery"
MAX_WAITING_TASKS = 100
REDIS_SECONDS = 1.0
PING_SECONDS = 3.0
ANSWER_SECONDS = 6.0
RETRY = "python3 manage.py preflight --check check_database_redis"


def measure_redis() -> tuple[Details, list[Finding]]:
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    try:
        return _measure(client)
    except (redis.RedisError, OSError) as error:
        reason = find_redis_cause(error)
        return {"reachable": False}, [Finding(reason=reason, text=first_line(error), next=restart("valkey"))]
    finally:
        client.close()


def _measure(client: "redis.Redis") -> tuple[Details, list[Finding]]:
    key, value = f"preflight:{uuid.uuid4()}", uuid.uuid4().hex
    client.set(key, value, ex=60)
    found = client.get(key)
    client.delete(key)
    is_durable = str(client.info("persistence").get("aof_enabled")) == "1"
    waiting = int(client.llen(QUEUE))
    details: Details = {
        "write_read": "ok" if found == value else "lost",
        "appendonly": "yes" if is_durable else "no",
        "waiting_tasks": waiting,
    }
    findings = []
    if found != value:
        findings.append(Finding(reason="redis_write_lost", text="what was set is not there", next=RETRY))
    if not is_durable:
        text = "appendonly is off: waiting tasks do not survive a restart"
        step = 'redis-cli -u "$REDIS_URL" CONFIG SET appendonly yes'
        findings.append(Finding(reason="redis_not_durable", text=text, next=step))
    if waiting > MAX_WAITING_TASKS:
        text = f"{waiting} tasks wait, at most {MAX_WAITING_TASKS}"
        findings.append(Finding(reason="broker_lag", text=text, next=restart("worker")))
    return details, findings


def find_redis_cause(error: Exception) -> str:
    if isinstance(error, redis.AuthenticationError):
        return "redis_auth"
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "redis_timeout"
    text = str(error)
    if any(words in text for words in ("Connection refused", "No such file", "ECONNREFUSED")):
        return "redis_refused"
    if any(words in text for words in ("Name or service not known", "name resolution", "nodename nor")):
        return "redis_dns"
    return "redis_error"


def measure_worker(nonce: uuid.UUID) -> tuple[Details, list[Finding]]:
    """Ask the workers by remote control, and have one answer the canary by a task."""
    details: Details = {}
    try:
        send_canary(nonce)
        names = ping_workers()
    except OperationalError as error:
        return details, [Finding(reason="broker_unreachable", text=first_line(error), next=restart("valkey"))]
    details["ping"] = names or "no answer"
    trip = canaries.wait_for_answer(nonce, seconds=ANSWER_SECONDS if names else 0.5)
    details["round_trip_seconds"] = None if trip.answered_by is None else round(trip.seconds, 3)
    details["answered_by"] = trip.answered_by
    if trip.answered_by is not None:
        return details, []
    if not names:
        text = f"no worker answered within {PING_SECONDS:.0f} s, by control or by task"
        return details, [Finding(reason="worker_silent", text=text, next=restart("worker"))]
    text = f"{', '.join(names)} is there, but ran no task within {ANSWER_SECONDS:.0f} s"
    return details, [Finding(reason="worker_stuck", text=text, next=restart("worker"))]


def send_canary(nonce: uuid.UUID) -> None:
    """Publish without waiting for a broker that is gone; raises kombu's OperationalError."""
    from golive.tasks import answer_canary

    answer_canary.apply_async((str(nonce),), retry=False, expires=ANSWER_SECONDS * 2)


def ping_workers() -> list[str]:
    answers = current_app.control.broadcast("ping", reply=True, limit=1, timeout=PING_SECONDS)
    return sorted(name for answer in answers or () for name in answer)
