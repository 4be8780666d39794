"""`/metrics`: one exposition text of all processes of the host, workers included."""

import os
from collections.abc import Iterable
from pathlib import Path

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

import controlplane.alerts.metrics  # noqa: F401  its metrics belong to every scrape
from controlplane.observability.folding import fold_dead_processes, hold_folder
from controlplane.observability.labels import init_label_sets
from controlplane.observability.truth import read_truth
from golive.metrics import TRUTHS


@never_cache
@require_safe
def show_metrics(request: HttpRequest) -> HttpResponse:
    try:
        init_label_sets()
    except DatabaseError:
        connection.close()
    return HttpResponse(generate_latest(Everything()), content_type=CONTENT_TYPE_LATEST)


class Everything(CollectorRegistry):
    """What processes count, with every truth read anew; a process's own copy of a truth is left out."""

    def collect(self) -> Iterable[Metric]:
        yield from (family for family in collect_counted() if family.name not in TRUTHS)
        yield from read_truth()


def collect_counted() -> list[Metric]:
    """The families of this process, or of every process that shares PROMETHEUS_MULTIPROC_DIR."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return list(REGISTRY.collect())
    fold_dead_processes(Path(folder))
    with hold_folder(Path(folder), alone=False):
        return list(MultiProcessCollector(None, folder).collect())  # type: ignore[no-untyped-call]
