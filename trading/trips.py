"""Positions and round trips, folded one fill at a time by the ledger.

A round trip runs from flat to flat. It belongs to the strategy whose entry opened it; one opened by
an order that is not ours belongs to "foreign", which owns against every strategy.
"""

from datetime import datetime
from decimal import Decimal

from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from trading import models
from trading.core import accounting
from trading.core.accounting import Execution, Holding, Step
from trading.core.values import FillReport, OrderPurpose, Side
from trading.venue_config import load_venue_config

ZERO = Decimal(0)
FOREIGN = "foreign"
SETTLED_IN = "USDT"


def fold_fill(
    *, venue_account: models.VenueAccount, order: models.Order | None, fill: FillReport
) -> models.Position:
    """Apply one fill to the position of its symbol and to the round trip that is open or opens.

    A fee in another asset than USDT is kept on the fill and not part of the round trip's fees.
    """
    position = _get_position(venue_account, fill.symbol)
    fee = fill.fee if fill.fee_asset == SETTLED_IN else ZERO
    execution = Execution(side=fill.side, quantity=fill.quantity, price=fill.price, fee=fee)
    for step in accounting.apply_execution(_read_holding(position), execution):
        if step.is_opening:
            _open_or_add(position, order, step, fill.at)
        else:
            _reduce(position, order, step, fill)
    _save(position)
    return position


def _get_position(venue_account: models.VenueAccount, symbol: str) -> models.Position:
    row, _ = models.Position.objects.select_for_update(of=("self",)).get_or_create(
        venue_account=venue_account, symbol=symbol
    )
    return row


def _read_holding(position: models.Position) -> Holding:
    """Cost is rebuilt from the stored average; its rounding stays below 8 decimals of what is realised."""
    if position.entry_price is None:
        return Holding()
    return Holding(quantity=position.quantity, cost=position.quantity * position.entry_price)


def _write_holding(position: models.Position, holding: Holding) -> None:
    entry = holding.entry_price
    position.quantity = holding.quantity
    position.entry_price = None if entry is None else entry.quantize(accounting.PRICE_PLACES)


def _open_or_add(position: models.Position, order: models.Order | None, step: Step, at: datetime) -> None:
    if position.quantity == 0:
        _start_trip(position, order, step, at)
    trade = position.trade
    if trade is None:
        raise RuntimeError(f"{position} is open and has no round trip")
    _write_holding(position, step.after)
    trade.entry_price = accounting.average(trade.entry_price, trade.entry_quantity, step.price, step.quantity)
    trade.entry_quantity += step.quantity
    trade.max_quantity = max(trade.max_quantity, abs(position.quantity))
    trade.fees += step.fee
    trade.risk_amount = _measure_risk(position, trade)
    trade.save(update_fields=["entry_price", "entry_quantity", "max_quantity", "fees", "risk_amount"])


def _start_trip(position: models.Position, order: models.Order | None, step: Step, at: datetime) -> None:
    intent = order.intent if order is not None and order.purpose == OrderPurpose.ENTRY else None
    position.strategy = FOREIGN if intent is None else intent.strategy
    position.entry_intent = intent
    position.opened_at = at
    # From now on there is a position; a stop that is read back clears this.
    position.unprotected_since = Now()
    position.trade = models.Trade.objects.create(
        venue_account=position.venue_account,
        strategy=position.strategy,
        symbol=position.symbol,
        side=step.side,
        entry_intent=intent,
        max_quantity=ZERO,
        entry_price=step.price,
        opened_at=at,
    )


def _measure_risk(position: models.Position, trade: models.Trade) -> Decimal | None:
    """R of the round trip at its entry; None without a stop that was asked for."""
    intent = position.entry_intent
    if intent is None or intent.stop_loss is None:
        return None
    terms = load_venue_config().terms[position.venue_account.venue]
    return accounting.risk_amount(
        quantity=trade.entry_quantity,
        entry=trade.entry_price,
        stop=intent.stop_loss,
        fee_ratio=terms.taker_fee_ratio,
        slippage_ratio=terms.slippage_ratio(position.symbol),
    )


def _reduce(position: models.Position, order: models.Order | None, step: Step, fill: FillReport) -> None:
    """Take a part out; the venue's own figure is what was realised, as that is what the wallet got."""
    trade = position.trade
    if trade is None:
        raise RuntimeError(f"{position} is open and has no round trip")
    left_before = abs(position.quantity)
    sold = trade.entry_quantity - left_before
    _write_holding(position, step.after)
    trade.exit_price = accounting.average(trade.exit_price or ZERO, sold, step.price, step.quantity)
    trade.gross_pnl += fill.realised_pnl
    trade.fees += step.fee
    if position.quantity == 0:
        _end_trip(position, trade, order, fill)
    trade.save(update_fields=["exit_price", "gross_pnl", "fees", "net_pnl", "closed_by", "closed_at"])


def _end_trip(
    position: models.Position, trade: models.Trade, order: models.Order | None, fill: FillReport
) -> None:
    trade.net_pnl = trade.gross_pnl - trade.fees + trade.funding
    trade.closed_by = FOREIGN if order is None else order.purpose
    trade.closed_at = max(fill.at, trade.opened_at)
    position.strategy = ""
    position.entry_intent = position.trade = position.opened_at = None
    position.unprotected_since = None


def _save(position: models.Position) -> None:
    position.version += 1
    position.updated_at = Now()
    position.save()
    position.refresh_from_db()


def add_funding(*, venue_account: models.VenueAccount, symbol: str, amount: Decimal, at: datetime) -> None:
    """Give a funding payment (USDT, signed) to the round trip that was open then, closed since or not."""
    trade = (
        models.Trade.objects.filter(
            Q(closed_at__isnull=True) | Q(closed_at__gte=at),
            venue_account=venue_account,
            symbol=symbol,
            opened_at__lte=at,
        )
        .order_by("-opened_at")
        .first()
    )
    if trade is not None:
        models.Trade.objects.filter(pk=trade.pk).update(
            funding=F("funding") + amount,
            # Null while open: null + amount stays null.
            net_pnl=F("net_pnl") + amount,
        )


def mark_unprotected(position: models.Position) -> None:
    """Note that the venue holds no stop for the position, keeping the time since when."""
    models.Position.objects.filter(pk=position.pk).exclude(quantity=0).update(
        unprotected_since=Coalesce("unprotected_since", Now()), version=F("version") + 1
    )


def mark_protected(position: models.Position, side: Side) -> bool:
    """Note that the stop was read back, if the position is still there on that side."""
    rows = models.Position.objects.filter(pk=position.pk)
    rows = rows.filter(quantity__gt=0) if side is Side.BUY else rows.filter(quantity__lt=0)
    return rows.update(unprotected_since=None, version=F("version") + 1) == 1
