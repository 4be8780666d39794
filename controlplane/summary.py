"""What the desk did: the figures that end a run of `up`."""

from typing import Any

from django.conf import settings

from controlplane.audit.verification import verify_database
from risk.selectors import count_allowed, count_denied_by_code
from trading import models, recovery, selectors
from trading.reconcile import reconcile_venue_account


def get_summary() -> dict[str, Any]:
    """Settle and reconcile every venue account once more, then count (CONTRACT.md: SUMMARY)."""
    differences = 0
    for venue_account in selectors.list_venue_accounts().filter(
        account__environment=settings.TRADING_ENVIRONMENT
    ):
        clocks = selectors.get_clocks()
        recovery.recover_venue_account(venue_account=venue_account, wall_at=clocks.wall_at)
        run = reconcile_venue_account(venue_account=venue_account, market_at=clocks.market_at)
        differences += len(run.differences)
    positions = models.Position.objects.exclude(quantity=0)
    return {
        "cycles": models.CycleRun.objects.filter(state="done").count(),
        "allowed": count_allowed(),
        "denied_by_code": count_denied_by_code(),
        "filled": models.Order.objects.filter(purpose="entry", filled_quantity__gt=0).count(),
        "open_positions": positions.count(),
        "protected_positions": positions.filter(
            trade__stop_verified_at__isnull=False, trade__target_verified_at__isnull=False
        ).count(),
        "trades_closed": models.Trade.objects.filter(closed_at__isnull=False).count(),
        "equity_samples": models.EquitySample.objects.count(),
        "differences": differences,
        "audit_verified": verify_database().is_whole,
    }
