"""Reads everything the gate needs to know of one account in one statement."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from controlplane.errors import NotFound
from controlplane.native import as_array, run_native
from risk.core.values import AnchorName, Intent, PendingFacts, PositionFacts, Snapshot
from risk.evidence import build, parse_text
from risk.snapshot_statements import (
    ACCOUNT_COLUMNS,
    LOAD_BOOK,
    LOAD_FACTS,
    LOAD_INTENT,
    LOAD_PRIMARY,
    PLACE_COLUMNS,
)
from trading.core.values import Clocks
from trading.models import Account, VenueAccount

# Binance's names of external flows in the income ledger (other venues' dialects use the same words).
FLOW_KINDS = (
    "TRANSFER",
    "INTERNAL_TRANSFER",
    "CROSS_COLLATERAL_TRANSFER",
    "WELCOME_BONUS",
    "COIN_SWAP_DEPOSIT",
    "COIN_SWAP_WITHDRAW",
    "STRATEGY_UMFUTURES_TRANSFER",
)
# A correlation that is older is not known, and unknown counts as 1.
CORRELATION_AGE = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedIntent:
    """An intent with the facts it is judged by, and what the decision's statement must find unchanged."""

    intent: Intent
    snapshot: Snapshot
    account_id: int
    state: str
    version: int
    execute: bool


class IntentNotFound(NotFound):
    """No order intent has this id."""

    code = "intent_not_found"


def load_intent(*, intent_id: uuid.UUID, clocks: Clocks) -> LoadedIntent:
    """The intent and everything known of its account; raises IntentNotFound."""
    rows = run_native(LOAD_INTENT, {"intent_id": intent_id, **time_parameters(clocks)})
    if not rows:
        raise IntentNotFound(f"intent: no order intent {intent_id}")
    data = parse_text(rows[0][0])
    data["snapshot"] |= clock_facts(clocks)
    return build(LoadedIntent, data)


def load_facts(*, place_id: int, strategy: str, symbol: str, clocks: Clocks) -> Snapshot:
    """What an order of the strategy in the symbol would be judged by at this moment."""
    names = {"place": place_id, "strategy": strategy, "symbol": symbol}
    rows = run_native(LOAD_FACTS, names | time_parameters(clocks))
    return build(Snapshot, parse_text(rows[0][0]) | clock_facts(clocks))


def load_primary(
    *, account: str, strategy: str, symbol: str, clocks: Clocks
) -> tuple[VenueAccount, Snapshot] | None:
    """The account's place at its primary venue, and the facts of `load_facts` there; None without one."""
    names = {"account": account, "strategy": strategy, "symbol": symbol}
    rows = run_native(LOAD_PRIMARY, names | time_parameters(clocks))
    if not rows:
        return None
    text, *columns = rows[0]
    place = VenueAccount.from_db(DEFAULT_DB_ALIAS, PLACE_COLUMNS, columns[len(ACCOUNT_COLUMNS) :])
    place.account = Account.from_db(DEFAULT_DB_ALIAS, ACCOUNT_COLUMNS, columns[: len(ACCOUNT_COLUMNS)])
    return place, build(Snapshot, parse_text(text) | clock_facts(clocks))


def load_book(account_id: int) -> tuple[tuple[PositionFacts, ...], tuple[PendingFacts, ...]]:
    """What the account holds and what may still fill, at every venue."""
    data = parse_text(run_native(LOAD_BOOK, {"account_id": account_id})[0][0])
    return (
        tuple(build(PositionFacts, item) for item in data["positions"]),
        tuple(build(PendingFacts, item) for item in data["pending"]),
    )


def clock_facts(clocks: Clocks) -> dict[str, Any]:
    return {
        "wall_at": clocks.wall_at.isoformat(),
        "market_at": clocks.market_at.isoformat(),
        "environment": settings.TRADING_ENVIRONMENT,
    }


def time_parameters(clocks: Clocks) -> dict[str, object]:
    """The moments that losses and counts are measured from, and that facts may not be older than."""
    times = anchor_times(clocks.market_at)
    return {
        "anchor_names": as_array(times),
        "anchor_times": as_array(at.isoformat() for at in times.values()),
        "day_start": times[AnchorName.DAY],
        "flow_kinds": as_array(FLOW_KINDS),
        "wall_at": clocks.wall_at,
        "correlated_since": clocks.market_at - CORRELATION_AGE,
    }


def anchor_times(market_at: datetime) -> dict[AnchorName, datetime]:
    """00:00 UTC, 24 h ago, Monday 00:00 UTC and 7 days ago (RISK.md part 1)."""
    day = market_at.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        AnchorName.DAY: day,
        AnchorName.ROLLING_DAY: market_at - timedelta(days=1),
        AnchorName.WEEK: day - timedelta(days=day.weekday()),
        AnchorName.ROLLING_WEEK: market_at - timedelta(days=7),
    }
