"""System checks of what the whole desk rests on; the identifiers are stable.

controlplane.E001  times are not UTC
controlplane.E002  requests are wrapped in transactions, which would hide what a denial must keep
controlplane.E003  tasks could be lost with their worker
controlplane.E004  the database is too old
controlplane.E005  the database may lose a commit

The last two run with `check --database default`. That the application's role cannot change the
audit log is checked there too, by `controlplane.audit`.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

OLDEST_POSTGRES = 14
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


@register()
def check_times(*, app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    if settings.USE_TZ and settings.TIME_ZONE == "UTC":
        return []
    return [Error("USE_TZ must be on and TIME_ZONE must be UTC", id="controlplane.E001")]


@register()
def check_transactions(*, app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    return [
        Error(f"DATABASES[{alias!r}]: ATOMIC_REQUESTS must be off", id="controlplane.E002")
        for alias, database in settings.DATABASES.items()
        if database.get("ATOMIC_REQUESTS")
    ]


@register()
def check_tasks(*, app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    wanted = ("CELERY_TASK_ACKS_LATE", "CELERY_TASK_REJECT_ON_WORKER_LOST")
    return [
        Error(f"{name} must be on", id="controlplane.E003") for name in wanted if not getattr(settings, name)
    ]


@register(Tags.database)
def check_database(
    *, app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    return [message for alias in databases or () for message in _check_server(alias)]


def _check_server(alias: str) -> list[CheckMessage]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int / 10000")
        version = cursor.fetchone()[0]
        cursor.execute(
            "SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = 'off'", [list(DURABLE)]
        )
        unsafe = [name for (name,) in cursor.fetchall()]
    messages: list[CheckMessage] = []
    if version < OLDEST_POSTGRES:
        messages.append(
            Error(f"{alias}: PostgreSQL {version} is older than {OLDEST_POSTGRES}", id="controlplane.E004")
        )
    messages += [
        Error(f"{alias}: {name} is off", hint="An order could be sent and forgotten.", id="controlplane.E005")
        for name in unsafe
    ]
    return messages
