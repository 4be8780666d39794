"""Reads of alerts."""

from controlplane.alerts.models import Alert, Delivery, DeliveryState


def list_alerts(*, include_resolved: bool = False, limit: int = 100) -> list[Alert]:
    """Return alerts with their deliveries, newest first; by default those that are open."""
    alerts = Alert.objects.prefetch_related("deliveries").order_by("-opened_at", "-pk")
    if not include_resolved:
        alerts = alerts.filter(resolved_at=None)
    return list(alerts[:limit])


def count_undelivered() -> int:
    """Return how many open alerts no channel has accepted."""
    reached = Delivery.objects.filter(state=DeliveryState.SENT).values("alert_id")
    return Alert.objects.filter(resolved_at=None).exclude(pk__in=reached).count()
