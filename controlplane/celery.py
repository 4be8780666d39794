"""The Celery application: broker from settings, a static schedule, no result backend."""

import os
import signal
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_shutdown

# How long a worker has to end by itself once its supervisor is gone.
GRACE_SECONDS = 10.0

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


@worker_init.connect  # type: ignore[untyped-decorator]
def end_with_the_supervisor(**_: Any) -> None:
    """A worker that looks for a broker that is gone may miss the signal of its supervisor's death."""
    supervisor = os.environ.get("CONTROLPLANE_SUPERVISOR")
    if supervisor and os.getpgrp() == os.getpid():
        threading.Thread(target=_outlive_by_grace, args=(int(supervisor),), daemon=True).start()


def _outlive_by_grace(supervisor: int) -> None:
    while os.getppid() == supervisor:
        time.sleep(1.0)
    time.sleep(GRACE_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)
