"""Closed label sets, created at zero: a labelled counter without children exposes nothing.

One process does it, the web, at its first scrape and whenever the desk's accounts have changed.
"""

import threading
from collections.abc import Iterator
from functools import cache
from itertools import product

from django.conf import settings
from prometheus_client import Counter

from golive.preflight.scenarios import MAX_AGES
from risk import metrics as risk_metrics
from risk.core.emergency_stop import StopSource
from risk.core.reasons import NONE, ReasonCode
from risk.stress_metrics import STRESS_SCENARIO_EXECUTIONS_TOTAL
from trading import metrics as trading_metrics
from trading import selectors
from trading.core.values import OrderState
from trading.venue_config import load_venue_config
from trading.venue_metrics import EXCHANGE_FAILOVER_EVENTS_TOTAL, NO_VENUE

Labels = dict[str, str]
_LOCK = threading.Lock()


def init_label_sets() -> None:
    """Create every child of the closed label sets; may be repeated, and is cheap when nothing changed."""
    _create_fixed()
    for account in selectors.list_accounts().filter(environment=settings.TRADING_ENVIRONMENT):
        venues = tuple(row.venue for row in selectors.list_venue_accounts(account))
        strategies = tuple(row.strategy for row in selectors.list_assignments(account))
        _create_of_account(account.name, venues, (*strategies, risk_metrics.UNASSIGNED))


@cache
def _create_fixed() -> None:
    with _LOCK:
        for source in StopSource:
            risk_metrics.STOP_TRIGGERS.labels(source=source.value)
        for success in ("true", "false"):
            risk_metrics.DRILLS.labels(success=success)
        for scenario, success in product(MAX_AGES, ("true", "false")):
            STRESS_SCENARIO_EXECUTIONS_TOTAL.labels(scenario=scenario, success=success)
        for primary, selected in _failovers():
            EXCHANGE_FAILOVER_EVENTS_TOTAL.labels(primary=primary, selected=selected)


def _failovers() -> Iterator[tuple[str, str]]:
    venues = load_venue_config().venues
    for primary, selected in product(venues, (*venues, NO_VENUE)):
        if primary != selected:
            yield primary, selected


@cache
def _create_of_account(account: str, venues: tuple[str, ...], strategies: tuple[str, ...]) -> None:
    with _LOCK:
        for venue, strategy in product(venues, strategies):
            _create_decisions(account=account, venue=venue, strategy=strategy)
        for venue, state in product(venues, OrderState):
            if state.is_final:
                trading_metrics.ORDERS_TOTAL.labels(account=account, venue=venue, outcome=state.value)


def _create_decisions(**labels: str) -> None:
    decisions: Counter = risk_metrics.DECISIONS
    decisions.labels(decision="allowed", reason=NONE, **labels)
    for code in ReasonCode:
        decisions.labels(decision="blocked", reason=code.value, **labels)
