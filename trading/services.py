"""Writes of facts that no venue is needed for: accounts, the market clock, intents, heartbeats."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Required, TypedDict, Unpack

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models import Model

from controlplane.errors import Conflict, InvalidInput
from controlplane.native import run_native
from trading import models
from trading.core.values import OrderPurpose, OrderType, Side, TimeInForce
from trading.selectors import get_clocks


class ClientRefReused(Conflict):
    """The same client_ref came again with another body."""

    code = "client_ref_reused"


class AnotherCandleSet(Conflict):
    """The desk's clock belongs to another candle set; `--fresh` starts over."""

    code = "another_candle_set"


@transaction.atomic
def start_market_clock(*, anchor_at: datetime, speed: int, candle_set: str) -> models.MarketClock:
    """Start or resume market time; a resumed clock goes on from where it was last seen.

    Raises AnotherCandleSet if the desk has lived on other candles.
    """
    wall_at = get_clocks().wall_at
    row = models.MarketClock.objects.select_for_update().filter(id=1).first()
    if row is None:
        return models.MarketClock.objects.create(
            id=1,
            anchor_at=anchor_at,
            started_at=wall_at,
            speed=speed,
            paused=False,
            seen_at=wall_at,
            candle_set=candle_set,
        )
    if row.candle_set != candle_set:
        raise AnotherCandleSet(
            f"--candles: this desk runs on {row.candle_set or 'generated candles'!r};"
            " give the same set, or start over with --fresh"
        )
    row.anchor_at = _market_time_last_seen(row)
    row.started_at = row.seen_at = wall_at
    row.speed, row.paused = speed, False
    row.save(update_fields=["anchor_at", "started_at", "seen_at", "speed", "paused"])
    return row


def _market_time_last_seen(row: models.MarketClock) -> datetime:
    if row.paused or row.seen_at <= row.started_at:
        return row.anchor_at
    return row.anchor_at + (row.seen_at - row.started_at) * row.speed


def touch_market_clock() -> None:
    """Remember that the desk is up now, so that a crash pauses market time here."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE trading_marketclock SET seen_at = clock_timestamp() WHERE NOT paused")


@transaction.atomic
def pause_market_clock() -> None:
    """Stop market time at this moment."""
    clocks = get_clocks()
    models.MarketClock.objects.filter(id=1, paused=False).update(
        anchor_at=clocks.market_at,
        started_at=clocks.wall_at,
        seen_at=clocks.wall_at,
        paused=True,
    )


@transaction.atomic
def open_account(*, name: str, environment: str, venues: Sequence[str]) -> models.Account:
    """Create the account and its venue accounts where missing; the first venue is the primary."""
    account, _ = models.Account.objects.get_or_create(name=name, defaults={"environment": environment})
    if account.environment != environment:
        raise Conflict(f"account {name} belongs to {account.environment}, not {environment}")
    for priority, venue in enumerate(venues):
        models.VenueAccount.objects.get_or_create(
            account=account, venue=venue, defaults={"priority": priority}
        )
    return account


def assign_strategy(
    *, account: models.Account, strategy: str, symbols: Sequence[str]
) -> models.StrategyAssignment:
    """Put the strategy on the account's allow-list for these symbols."""
    row, _ = models.StrategyAssignment.objects.update_or_create(
        account=account,
        strategy=strategy,
        defaults={"symbols": sorted(symbols), "enabled": True},
    )
    return row


def record_heartbeat(*, name: str, detail: Mapping[str, Any] | None = None) -> None:
    """Stamp the database's clock beside the process name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trading_heartbeat (name, beat_at, detail) VALUES (%s, clock_timestamp(), %s)"
            " ON CONFLICT (name) DO UPDATE SET beat_at = clock_timestamp(), detail = EXCLUDED.detail",
            [name, json.dumps(dict(detail or {}))],
        )


class IntentBody(TypedDict, total=False):
    """What is asked; the digest of this decides whether a repeated client_ref is the same request."""

    venue_account: Required[models.VenueAccount]
    strategy: Required[str]
    symbol: Required[str]
    side: Required[Side]
    order_type: Required[OrderType]
    purpose: Required[OrderPurpose]
    quantity: Required[Decimal]
    price: Required[Decimal | None]
    stop_loss: Required[Decimal | None]
    take_profit: Required[Decimal | None]
    reduce_only: Required[bool]
    source: Required[str]
    time_in_force: TimeInForce
    execute: bool
    may_resize: bool


# What an intent is stored with besides what its judgement adds.
ASKED = (
    "id",
    "account_id",
    "venue_account_id",
    "strategy",
    "symbol",
    "side",
    "order_type",
    "time_in_force",
    "purpose",
    "quantity",
    "price",
    "stop_loss",
    "take_profit",
    "reduce_only",
    "signal_at",
    "client_ref",
    "body_digest",
    "source",
    "execute",
    "may_resize",
    "requested_quantity",
    "state",
    "version",
    "limit_set_digest",
    "market_at",
)
REGISTER = f"""
INSERT INTO trading_orderintent ({", ".join(ASKED)})
VALUES ({", ".join(f"%({name})s" for name in ASKED)})
ON CONFLICT (account_id, client_ref) DO NOTHING
RETURNING created_at, updated_at
"""  # noqa: S608 - made of the names above


def register_intent(
    *,
    account: models.Account,
    client_ref: str,
    signal_at: datetime,
    market_at: datetime,
    **body: Unpack[IntentBody],
) -> models.OrderIntent:
    """Commit the request before judgement; the same reference returns the first row.

    With `may_resize` a smaller quantity will do: the judgement may then lower `quantity`, and what was
    asked for stays in `requested_quantity`.
    Raises InvalidInput (field named) and ClientRefReused.
    """
    row = make_intent(
        account=account, client_ref=client_ref, signal_at=signal_at, market_at=market_at, **body
    )
    stored = run_native(REGISTER, {name: getattr(row, name) for name in ASKED})
    if stored:
        row.created_at, row.updated_at = stored[0]
        mark_stored(row)
        return row
    first = models.OrderIntent.objects.get(account=account, client_ref=client_ref)
    if first.body_digest != row.body_digest:
        raise ClientRefReused(f"client_ref: {client_ref!r} was used for another order intent")
    return first


def make_intent(
    *,
    account: models.Account,
    client_ref: str,
    signal_at: datetime,
    market_at: datetime,
    **body: Unpack[IntentBody],
) -> models.OrderIntent:
    """The request as a row that is not stored; raises InvalidInput (field named)."""
    for field in ("quantity", "price", "stop_loss", "take_profit"):
        _check_number(field, body[field])
    return models.OrderIntent(
        account=account,
        client_ref=client_ref,
        body_digest=_digest_body({**body, "venue_account": str(body["venue_account"])}),
        signal_at=signal_at,
        market_at=market_at,
        requested_quantity=body["quantity"],
        **body,
    )


def mark_stored(row: Model) -> None:
    """Tell Django that a row, which a statement of ours has written, is in the database."""
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def _check_number(field: str, number: Decimal | None) -> None:
    if number is None:
        if field == "quantity":
            raise InvalidInput("quantity: required")
        return
    if not number.is_finite() or number <= 0:
        raise InvalidInput(f"{field}: must be a finite number above zero, found {number}")
    if number >= Decimal(10) ** 15 or number != round(number, 10):
        raise InvalidInput(f"{field}: at most 15 digits before and 10 after the point, found {number}")


def _digest_body(body: Mapping[str, Any]) -> str:
    def as_text(value: Any) -> str:
        return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)

    text = "\n".join(f"{key}={as_text(value)}" for key, value in sorted(body.items()))
    return hashlib.sha256(text.encode()).hexdigest()
