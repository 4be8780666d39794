"""The synthetic order book around the traded price, and how deep an order walks into it.

A falling step trades at the bid, a rising one at the ask. The spread is one tick, or a tenth of the
step's move if that is more (at most 1 %). Level i lies i(i+1)/2 gaps behind the best, a gap being
0.3 basis points (at least one tick); each level holds the instrument's level notional.
"""

from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal

from trading.simulator.instruments import Instrument
from trading.simulator.state import ZERO, Market, Side

LEVELS = 40
_TOUCH_SHARE = Decimal("0.2")


def last_price(market: Market, instrument: Instrument) -> Decimal:
    return market.ticks * instrument.tick


def best_prices(market: Market, instrument: Instrument) -> tuple[Decimal, Decimal]:
    """Best bid and best ask in USDT."""
    move = abs(market.ticks - market.previous)
    spread = max(1, min(move // 10, market.ticks // 100))
    bid = market.ticks if market.falling else max(1, market.ticks - spread)
    ask = market.ticks + spread if market.falling else max(market.ticks, bid + 1)
    return bid * instrument.tick, ask * instrument.tick


def round_down(quantity: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of the lot step that is not above the quantity."""
    return (quantity / step).to_integral_value(ROUND_DOWN) * step


def levels(market: Market, instrument: Instrument, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
    """Price and quantity that an order of this side meets, best first, without what was taken already."""
    bid, ask = best_prices(market, instrument)
    gap = max(1, market.ticks * 3 // 100_000) * instrument.tick
    size = max(
        instrument.step,
        round_down(instrument.level_notional / last_price(market, instrument), instrument.step),
    )
    taken = market.taken_buy if side == "BUY" else market.taken_sell
    for level in range(LEVELS):
        depth = gap * (level * (level + 1) // 2)
        left = max(ZERO, size - taken)
        taken = max(ZERO, taken - size)
        price = ask + depth if side == "BUY" else bid - depth
        if price <= 0:
            return
        if left:
            yield price, left


def walk(
    market: Market,
    instrument: Instrument,
    side: Side,
    quantity: Decimal,
    *,
    limit: Decimal | None,
    endless: bool,
) -> list[tuple[Decimal, Decimal]]:
    """The fills (price, quantity) of an aggressive order, without changing the book.

    `limit` is the worst acceptable price. An `endless` order takes what the levels cannot give at the
    last price reached: nothing that removes risk is left standing in a simulated crash.
    """
    fills: list[tuple[Decimal, Decimal]] = []
    left = quantity
    price = best_prices(market, instrument)[1 if side == "BUY" else 0]
    for price, available in levels(market, instrument, side):
        if left <= 0 or (limit is not None and (price > limit if side == "BUY" else price < limit)):
            break
        part = min(left, available)
        fills.append((price, part))
        left -= part
    if endless and left > 0:
        fills.append((price, left))
    return fills


def take(market: Market, side: Side, quantity: Decimal) -> None:
    """Remove what an aggressive order took; the book refills at the next step."""
    if side == "BUY":
        market.taken_buy += quantity
    else:
        market.taken_sell += quantity


def resting_quantity(market: Market, instrument: Instrument, side: Side, price: Decimal) -> Decimal:
    """How much of a resting order can trade in this step, from the candle's volume.

    All of the step's remaining volume if the other side of the book came through the price; a fifth of
    it if the last trade only touched the price; else zero.
    """
    bid, ask = best_prices(market, instrument)
    through = ask <= price if side == "BUY" else bid >= price
    if through:
        return round_down(market.volume, instrument.step)
    if last_price(market, instrument) == price:
        return round_down(market.volume * _TOUCH_SHARE, instrument.step)
    return ZERO
