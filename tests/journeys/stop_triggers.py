"""What trips the stop by itself: each brings about what its trigger measures, and lets the guard look."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from risk import models
from risk.core.emergency_stop import StopSource
from risk.limits import load_profiles
from risk.reducing.consequences import apply_consequences
from risk.registration import store_limit_set
from risk.stops.capital import rebase_capital
from risk.stops.rules import get_stop_rules
from risk.stops.triggers import watch_all
from tests.journeys.stop_desk import ENTRY, HELD
from trading import ledger
from trading import models as facts
from trading.core.values import Clocks
from trading.dispatch.orders import open_venue
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks
from trading.simulator import ledger as venue_ledger

D = Decimal
RULES = get_stop_rules()
LONG = timedelta(hours=1)


def make_ready(desk: Any) -> None:
    """MICRO limits, an assignment, and a first comparison: what every trigger measures from."""
    row = store_limit_set(limits=load_profiles()["MICRO"], actor="system:test", reason="limits of the test")
    facts.Permit.objects.update(limit_set_digest=row.digest, profile="MICRO")
    desk.permit.refresh_from_db()
    facts.StrategyAssignment.objects.create(
        account=desk.place.account, strategy="trend", symbols=[ENTRY, HELD]
    )
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)
    look(1)


def look(count: int, *, later: timedelta = timedelta(0)) -> None:
    """So many passes of a guard that has watched for long, a second apart.

    The first may come too soon after the one before to count, so that three readings take four.
    """
    now = get_clocks()
    for number in range(count):
        passed = later + timedelta(seconds=number)
        clocks = Clocks(wall_at=now.wall_at + passed, market_at=now.market_at + passed)
        watch_all(clocks=clocks, began_at=now.wall_at - LONG, call_sweeper=lambda _: None)


def ago(seconds: float) -> datetime:
    return get_clocks().wall_at - timedelta(seconds=seconds)


def lose(desk: Any, share: str) -> None:
    """The venue takes a share of the wallet, and our book knows of it."""
    with desk.venue.at_now() as engine:
        venue_ledger.post_income(engine.state, "INSURANCE_CLEAR", "", -engine.state.wallet * D(share))
    rows = open_venue(desk.place).fetch_income(since=ago(60))
    ledger.record_income(venue_account=desk.place, rows=rows)


def lose_the_day(desk: Any) -> None:
    # Whatever came from outside before is capital now, so that only the day's limit is passed.
    rebase(desk, "1")
    lose(desk, "0.02")
    look(4)


def lose_capital(desk: Any) -> None:
    rebase(desk, "1.1")
    look(4)


def rebase(desk: Any, share: str) -> None:
    """Measure capital loss from a share of what the venue's wallet is now."""
    equity = desk.venue.engine.state.wallet * D(share)
    rebase_capital(account=desk.place.account, equity=equity, reason="a test", set_by="someone")


def lose_in_a_row(desk: Any) -> None:
    now = get_clocks().market_at
    for number in range(RULES.max_losing_run + 1):
        closed_at = now - timedelta(minutes=number)
        facts.Trade.objects.create(
            venue_account=desk.place,
            strategy="trend",
            symbol="BNBUSDT",
            side="buy",
            max_quantity=1,
            entry_price=600,
            exit_price=598,
            net_pnl=-2,
            risk_amount=2,
            opened_at=closed_at - timedelta(minutes=1),
            closed_at=closed_at,
        )
    look(1)


def lose_sight(desk: Any) -> None:
    facts.MarketPrice.objects.update(read_at=ago(RULES.stale_data.total_seconds() + 5))
    look(1)


def read_nothing(desk: Any) -> None:
    desk.fault("error_before", path="/fapi/v3/account", times=10)
    look(1)
    look(1, later=RULES.absent_trip + timedelta(seconds=2))
    desk.clear_faults()


def fail_in_a_burst(desk: Any) -> None:
    order = facts.Order.objects.filter(symbol=HELD).order_by("id").first()
    facts.OrderEvent.objects.bulk_create(
        facts.OrderEvent(order=order, state="rejected", market_at=ago(0), at=ago(1))
        for _ in range(RULES.max_errors + 1)
    )
    look(1)


def differ(desk: Any) -> None:
    facts.ReconciliationRun.objects.update(finished_at=ago(3600))
    for seconds in (RULES.mismatch.total_seconds() + 5, 0):
        facts.ReconciliationRun.objects.create(
            venue_account=desk.place,
            is_clean=False,
            differences=[{"kind": "position", "symbol": "BNBUSDT"}],
            market_at=ago(seconds),
            started_at=ago(seconds),
            finished_at=ago(seconds),
        )
    look(1)


def stay_critical(desk: Any) -> None:
    finding = {
        "level": "CRITICAL",
        "code": "leverage",
        "measured": "2.4 x",
        "account": desk.place.account.name,
        "venue": desk.place.venue,
        "text": "leverage",
    }
    models.GlobalRisk.objects.create(
        level="CRITICAL",
        inputs={"findings": [finding]},
        since_at=ago(RULES.global_risk.total_seconds() + 5),
        checked_at=ago(0),
        market_at=ago(0),
    )
    look(1)


def fall_silent(desk: Any) -> None:
    for name in ("beat", "worker"):
        facts.Heartbeat.objects.update_or_create(
            name=name, defaults={"beat_at": ago(RULES.heartbeat.total_seconds() + 5)}
        )
    look(1)


def be_liquidated(desk: Any) -> None:
    lose(desk, "0.001")
    apply_consequences(account=desk.place.account, clocks=get_clocks())


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What brings the trip about, and of which kind of scope it is."""

    source: StopSource
    kind: str
    fire: Callable[[Any], None]
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.source.value


TRIGGERS = (
    Trigger(source=StopSource.CAPITAL_LOSS, kind="account", fire=lose_capital),
    Trigger(source=StopSource.DAILY_DRAWDOWN, kind="account", fire=lose_the_day),
    Trigger(source=StopSource.LOSING_RUN, kind="strategy", fire=lose_in_a_row),
    Trigger(source=StopSource.STALE_DATA, kind="venue", fire=lose_sight),
    Trigger(source=StopSource.STALE_DATA, kind="account", fire=read_nothing, name="absent_readings"),
    Trigger(source=StopSource.EXECUTION_ERRORS, kind="account", fire=fail_in_a_burst),
    Trigger(source=StopSource.RECONCILIATION, kind="account", fire=differ),
    Trigger(source=StopSource.GLOBAL_RISK, kind="all", fire=stay_critical),
    Trigger(source=StopSource.HEARTBEAT, kind="all", fire=fall_silent),
    Trigger(source=StopSource.LIQUIDATION, kind="account", fire=be_liquidated),
)
