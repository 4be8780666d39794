"""Are the facts and limits numbers at all? NaN compares with nothing and must not slip through."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal

from risk.core.reasons import ReasonCode
from risk.core.rules.case import breach
from risk.core.values import Breach, Limits, Snapshot
from trading.core.values import Instrument

Named = tuple[str, Decimal | None]


def permits_real_facts(snapshot: Snapshot) -> Breach | None:
    """Every known fact is finite; prices, filters and pending quantities are also > 0."""
    positive = _first(_positive_facts(snapshot), lowest=Decimal(0))
    return positive or _first(_signed_facts(snapshot), lowest=None)


def permits_real_limits(limits: Limits) -> Breach | None:
    """Every limit is finite and > 0; fees and slippage may be 0."""
    for field in fields(limits):
        number = getattr(limits, field.name)
        if isinstance(number, str):
            continue
        if isinstance(number, timedelta):
            number = Decimal(number // timedelta(microseconds=1))
        may_be_zero = field.name.endswith(("fee_ratio", "slippage_ratio"))
        if not Decimal(number).is_finite() or number < 0 or (number == 0 and not may_be_zero):
            return breach(
                ReasonCode.LIMITS_INVALID, measured=f"{field.name} {number}", limit="finite, above 0"
            )
    return None


def has_real_filters(instrument: Instrument) -> bool:
    """Whether the venue's filters can be calculated with."""
    return _first(_filters(instrument), lowest=Decimal(0)) is None


def has_real_positions(snapshot: Snapshot) -> bool:
    return all(item.quantity.is_finite() for item in snapshot.positions)


def _first(numbers: Iterable[Named], *, lowest: Decimal | None) -> Breach | None:
    for name, number in numbers:
        if number is None:
            continue
        if not number.is_finite() or (lowest is not None and number <= lowest):
            limit = "finite" if lowest is None else "finite, above 0"
            return breach(ReasonCode.FACT_INVALID, measured=f"{name} {number}", limit=limit)
    return None


def _filters(instrument: Instrument) -> Iterator[Named]:
    yield "tick size", instrument.tick_size
    yield "lot size", instrument.lot_size
    yield "min quantity", instrument.min_quantity
    yield "max quantity", instrument.max_quantity
    yield "max market quantity", instrument.max_market_quantity
    yield "min notional", instrument.min_notional
    yield "max price", instrument.max_price


def _positive_facts(snapshot: Snapshot) -> Iterator[Named]:
    if snapshot.instrument is not None:
        yield from _filters(snapshot.instrument)
    if snapshot.prices is not None:
        yield "mark", snapshot.prices.mark
        yield "bid", snapshot.prices.bid
        yield "ask", snapshot.prices.ask
    for held in snapshot.positions:
        yield f"mark of {held.symbol}", held.mark
        yield f"stop of {held.symbol}", held.stop_price
        yield f"target of {held.symbol}", held.target_price
    for waiting in snapshot.pending:
        yield f"pending mark of {waiting.symbol}", waiting.mark
        yield f"pending quantity of {waiting.symbol}", waiting.quantity
        yield f"pending price of {waiting.symbol}", waiting.price
        yield f"pending stop of {waiting.symbol}", waiting.stop_loss


def _signed_facts(snapshot: Snapshot) -> Iterator[Named]:
    if snapshot.instrument is not None:
        yield "min price", snapshot.instrument.min_price
    if snapshot.setting is not None:
        yield "max stop ratio", snapshot.setting.max_stop_ratio
    if snapshot.balance is not None:
        yield "wallet", snapshot.balance.wallet
        yield "equity", snapshot.balance.equity
        yield "initial margin", snapshot.balance.initial_margin
    for anchor in snapshot.anchors:
        yield f"equity at {anchor.name.value}", anchor.equity
        yield f"net flow since {anchor.name.value}", anchor.net_flow
    for held in snapshot.positions:
        yield f"position of {held.symbol}", held.quantity
