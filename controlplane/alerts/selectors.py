"""Reads of alerts."""

from dataclasses import dataclass
from datetime import datetime

from controlplane.alerts.channels import get_channels, get_every_channel
from controlplane.alerts.models import Alert, ChannelHealth, Delivery, DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatus:
    """A configured channel by its fingerprint; `line` is first or second, times are wall time."""

    channel: str
    line: str
    sent_at: datetime | None
    failing_since: datetime | None
    error: str


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


def list_channels() -> list[ChannelStatus]:
    """Every configured channel, the first line first."""
    health = {row.channel: row for row in ChannelHealth.objects.all()}
    first = {channel.fingerprint for channel in get_channels()}
    return [
        _status(channel.fingerprint, channel.fingerprint in first, health.get(channel.fingerprint))
        for channel in get_every_channel()
    ]


def _status(channel: str, is_first: bool, row: ChannelHealth | None) -> ChannelStatus:
    return ChannelStatus(
        channel=channel,
        line="first" if is_first else "second",
        sent_at=None if row is None else row.sent_at,
        failing_since=None if row is None else row.failing_since,
        error="" if row is None else row.error,
    )
