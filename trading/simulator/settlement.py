"""What the venue does by itself: funding every eight hours, and liquidation."""

from decimal import Decimal

from trading.simulator import ledger, matching
from trading.simulator.book import last_price
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.state import CENT8, ZERO, Funding, Order, State

FUNDING_MS = 8 * 3_600_000
INTEREST = Decimal("0.0001")
_DAMPER = Decimal("0.0005")
_RATE_CAP = Decimal("0.02")
_KEPT_FUNDINGS = 5_000


def funding_rate(state: State, symbol: str) -> Decimal:
    """Rate for the running period = P + clamp(interest - P, +-0.05 %), at most +-2 %; P = mean premium."""
    market = state.markets[symbol]
    if not market.premium_count:
        return INTEREST
    premium = market.premium_sum / market.premium_count
    rate = premium + max(-_DAMPER, min(_DAMPER, INTEREST - premium))
    return max(-_RATE_CAP, min(_RATE_CAP, rate)).quantize(CENT8)


def settle_funding(state: State) -> None:
    """At the end of a period longs pay shorts rate x value at mark (the other way if negative)."""
    for symbol, market in state.markets.items():
        if not market.ticks:
            continue
        rate = funding_rate(state, symbol)
        state.fundings.append(Funding(symbol=symbol, rate=rate, mark=market.mark, at_ms=state.now_ms))
        market.premium_sum, market.premium_count = ZERO, 0
        position = state.positions.get(symbol)
        if position and position.quantity:
            amount = (-ledger.notional(state, symbol) * rate).quantize(CENT8)
            ledger.post_income(state, "FUNDING_FEE", symbol, amount)
            if state.setting(symbol).isolated:
                position.margin += amount
    del state.fundings[:-_KEPT_FUNDINGS]


def liquidate(state: State) -> None:
    """Close positions whose margin is down to the maintenance margin; crossed ones count together."""
    for symbol in ledger.isolated_symbols(state):
        margin = state.positions[symbol].margin + ledger.unrealised(state, symbol)
        if margin <= ledger.maintenance(state, symbol):
            _liquidate(state, symbol)
    crossed = ledger.crossed_symbols(state)
    need = sum((ledger.maintenance(state, symbol) for symbol in crossed), ZERO)
    if crossed and ledger.cross_wallet(state) + ledger.cross_unrealised(state) <= need:
        for symbol in sorted(crossed, key=lambda s: -abs(ledger.notional(state, s))):
            _liquidate(state, symbol)


def _liquidate(state: State, symbol: str) -> None:
    """Cancel the symbol's orders, close at the book, charge the liquidation fee.

    The loss stops at the margin: what closing costs beyond it is paid by the insurance fund, and the
    fee takes at most what is left of it. Both are INSURANCE_CLEAR rows.
    """
    matching.cancel_all(state, symbol)
    position = state.positions[symbol]
    isolated = state.setting(symbol).isolated
    margin = position.margin if isolated else max(ZERO, ledger.cross_wallet(state))
    held, wallet = position.quantity, state.wallet
    order = Order(
        order_id=state.new_id(),
        client_id=f"autoclose-{state.now_ms}{symbol}",
        symbol=symbol,
        side="SELL" if held > 0 else "BUY",
        type="MARKET",
        time_in_force="IOC",
        price=ZERO,
        quantity=abs(held),
        reduce_only=True,
        close_position=False,
        original_type="MARKET",
        trigger_price=ZERO,
        status="NEW",
        created_ms=state.now_ms,
        updated_ms=state.now_ms,
    )
    matching.submit(state, order, endless=True)
    left = margin + state.wallet - wallet
    fee = (order.quote * INSTRUMENTS[symbol].liquidation_fee_ratio).quantize(CENT8)
    ledger.post_income(state, "INSURANCE_CLEAR", symbol, -min(fee, left) if left > 0 else -left)


def update_mark(state: State, symbol: str) -> None:
    """Mark and index follow the traded price: each step closes a third, an eighth, of the distance.

    So a wick of one step moves the mark price by a third of its size only.
    """
    market = state.markets[symbol]
    traded = last_price(market, INSTRUMENTS[symbol])
    if not market.mark:
        market.mark = market.index = traded
        return
    market.mark = (market.mark + (traded - market.mark) / 3).quantize(CENT8)
    market.index = (market.index + (traded - market.index) / 8).quantize(CENT8)
    market.premium_sum += (market.mark / market.index - 1).quantize(CENT8)
    market.premium_count += 1
