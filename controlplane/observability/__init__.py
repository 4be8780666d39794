"""Metrics of every process of this host, and truth read from the database at each scrape."""

from controlplane.observability.labels import init_label_sets
from controlplane.observability.views import show_metrics

__all__ = ["init_label_sets", "show_metrics"]
