"""The Celery application: broker from settings, a static schedule, no result backend."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

app = Celery("controlplane")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def forget_live_gauges(*, pid: int, **_: Any) -> None:
    """Drop the live gauges of a pool process that ends; those of a killed one are left to the supervisor."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
