"""A rehearsed stop as a drill leaves it, without a venue."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models.functions import Now

from controlplane.code_version import get_code_version
from risk import models
from risk.stops.rules import get_stop_rules
from trading.models import Account
from trading.selectors import get_clocks


def make_drill(*, ago: timedelta = timedelta(0), **changes: Any) -> models.Drill:
    """One that passed on this code; `ago` is how long it has been over."""
    name = get_stop_rules().drill_account
    Account.objects.get_or_create(name=name, defaults={"environment": "paper"})
    clocks = get_clocks()
    event = models.StopEvent.objects.create(
        scope=f"account:{name}",
        source="drill",
        actor="system:drill",
        reason="a rehearsal",
        market_at=clocks.market_at,
        progress="STOPPED",
        stopped_at=Now(),
    )
    models.StopEvent.objects.filter(pk=event.pk).update(
        ended_at=Now(), ended_by="system:drill", root_cause="drill"
    )
    values = {
        "event": event,
        "account": name,
        "code_version": get_code_version(),
        "is_passed": True,
        "seconds": Decimal("0.5"),
        "finished_at": clocks.wall_at - ago,
    }
    return models.Drill.objects.create(**values | changes)
