"""Wallet, positions and margin: every change of the wallet is one income row.

wallet = sum of all income rows, exactly: fills realise the difference between price x quantity and
the cost carried for it, so that a round trip realises what it sold minus what it bought, to the last
digit; only shares of a partly closed cost are rounded, to 8 decimals, and the rest stays in the cost.
"""

from decimal import Decimal

from trading.simulator.book import last_price
from trading.simulator.instruments import INSTRUMENTS, Bracket
from trading.simulator.state import CENT8, ZERO, Income, Order, Position, Side, State, Trade

MAKER_FEE_RATIO = Decimal("0.0002")
TAKER_FEE_RATIO = Decimal("0.0005")
KEPT_TRADES = 20_000
KEPT_INCOMES = 40_000


def sign(side: Side) -> int:
    return 1 if side == "BUY" else -1


def post_income(state: State, kind: str, symbol: str, amount: Decimal, *, trade_id: int = 0) -> None:
    """Change the wallet by a signed amount in USDT and record why; zero changes nothing."""
    if amount == 0:
        return
    state.wallet += amount
    state.wallet_ms = state.now_ms
    state.totals[kind] = state.totals.get(kind, ZERO) + amount
    state.incomes.append(
        Income(
            income_id=state.new_id(),
            type=kind,
            symbol=symbol,
            amount=amount,
            at_ms=state.now_ms,
            trade_id=trade_id,
        )
    )
    if len(state.incomes) > KEPT_INCOMES:
        del state.incomes[: KEPT_INCOMES // 10]


def apply_fill(state: State, order: Order, price: Decimal, quantity: Decimal, *, maker: bool) -> Trade:
    """Book one fill: order, position, realised profit, commission."""
    position = state.position(order.symbol)
    setting = state.setting(order.symbol)
    signed = sign(order.side) * quantity
    closing = min(quantity, abs(position.quantity)) if position.quantity * signed < 0 else ZERO
    realised = _close(position, price, closing) if closing else ZERO
    opening = quantity - closing
    if opening:
        position.quantity += sign(order.side) * opening
        position.cost += sign(order.side) * opening * price
        if setting.isolated:
            position.margin += (opening * price / setting.leverage).quantize(CENT8)
    position.updated_ms = state.now_ms
    commission = (price * quantity * (MAKER_FEE_RATIO if maker else TAKER_FEE_RATIO)).quantize(CENT8)
    trade = Trade(
        trade_id=state.new_id(),
        order_id=order.order_id,
        symbol=order.symbol,
        side=order.side,
        price=price,
        quantity=quantity,
        commission=commission,
        realised=realised,
        maker=maker,
        at_ms=state.now_ms,
    )
    _record(state, order, trade)
    return trade


def _record(state: State, order: Order, trade: Trade) -> None:
    state.trades.append(trade)
    if len(state.trades) > KEPT_TRADES:
        del state.trades[: KEPT_TRADES // 10]
    post_income(state, "REALIZED_PNL", order.symbol, trade.realised, trade_id=trade.trade_id)
    post_income(state, "COMMISSION", order.symbol, -trade.commission, trade_id=trade.trade_id)
    order.executed += trade.quantity
    order.quote += trade.price * trade.quantity
    order.updated_ms = state.now_ms
    order.status = "FILLED" if order.executed >= order.quantity else "PARTIALLY_FILLED"


def _close(position: Position, price: Decimal, closing: Decimal) -> Decimal:
    """Take a part out of the position and return its realised profit."""
    held = abs(position.quantity)
    direction = 1 if position.quantity > 0 else -1
    whole = closing == held
    cost = position.cost if whole else (position.cost * closing / held).quantize(CENT8)
    margin = position.margin if whole else (position.margin * closing / held).quantize(CENT8)
    position.quantity -= direction * closing
    position.cost -= cost
    position.margin -= margin
    return direction * price * closing - cost


def notional(state: State, symbol: str) -> Decimal:
    """Signed position value at mark price, USDT."""
    position = state.positions.get(symbol)
    return position.quantity * state.markets[symbol].mark if position else ZERO


def unrealised(state: State, symbol: str) -> Decimal:
    """Profit of the open position at mark price, USDT, 8 decimals."""
    position = state.positions.get(symbol)
    return (notional(state, symbol) - position.cost).quantize(CENT8) if position else ZERO


def bracket(state: State, symbol: str) -> Bracket:
    return INSTRUMENTS[symbol].bracket_for(abs(notional(state, symbol)))


def maintenance(state: State, symbol: str) -> Decimal:
    """Maintenance margin = |notional| x ratio - amount of its band, USDT."""
    band = bracket(state, symbol)
    return max(
        ZERO, abs(notional(state, symbol)) * band.maintenance_ratio - band.maintenance_amount
    ).quantize(CENT8)


def position_margin(state: State, symbol: str) -> Decimal:
    """Initial margin of the open position: |notional| / leverage, USDT."""
    return (abs(notional(state, symbol)) / state.setting(symbol).leverage).quantize(CENT8)


def order_notionals(state: State, symbol: str) -> tuple[Decimal, Decimal]:
    """Sums of price x remaining quantity of resting buys and sells that are not reduce-only, USDT."""
    bid = ask = ZERO
    for order in state.orders.values():
        if order.symbol == symbol and not order.reduce_only:
            if order.side == "BUY":
                bid += order.price * order.remaining
            else:
                ask += order.price * order.remaining
    return bid, ask


def order_margin(
    state: State, symbol: str, *, extra_bid: Decimal = ZERO, extra_ask: Decimal = ZERO
) -> Decimal:
    """Initial margin of resting orders: what the worse side would add to |notional|, over leverage."""
    bid, ask = order_notionals(state, symbol)
    held = notional(state, symbol)
    worst = max(abs(held + bid + extra_bid), abs(held - ask - extra_ask)) - abs(held)
    return (max(ZERO, worst) / state.setting(symbol).leverage).quantize(CENT8)


def isolated_symbols(state: State) -> list[str]:
    return [s for s, p in state.positions.items() if p.quantity and state.setting(s).isolated]


def crossed_symbols(state: State) -> list[str]:
    return [s for s, p in state.positions.items() if p.quantity and not state.setting(s).isolated]


def cross_wallet(state: State) -> Decimal:
    """The wallet without the margin set aside for isolated positions."""
    return state.wallet - sum((position.margin for position in state.positions.values()), ZERO)


def cross_unrealised(state: State) -> Decimal:
    return sum((unrealised(state, symbol) for symbol in crossed_symbols(state)), ZERO)


def total_order_margin(state: State) -> Decimal:
    symbols = {order.symbol for order in state.orders.values()}
    return sum((order_margin(state, symbol) for symbol in symbols), ZERO)


def available_balance(state: State) -> Decimal:
    """What new orders may use: cross wallet + cross profit - cross position margin - order margin, >= 0."""
    used = sum((position_margin(state, symbol) for symbol in crossed_symbols(state)), ZERO)
    return max(ZERO, cross_wallet(state) + cross_unrealised(state) - used - total_order_margin(state))


def liquidation_price(state: State, symbol: str) -> Decimal:
    """Mark price at which the margin equals the maintenance margin; zero if there is none.

    Long: (cost - margin - amount) / (q (1 - ratio)); short: (margin + |cost| + amount) / (q (1 + ratio)).
    """
    position = state.positions.get(symbol)
    if position is None or not position.quantity:
        return ZERO
    band, held = bracket(state, symbol), abs(position.quantity)
    margin = position.margin if state.setting(symbol).isolated else _cross_margin_without(state, symbol)
    if position.quantity > 0:
        price = (position.cost - margin - band.maintenance_amount) / (held * (1 - band.maintenance_ratio))
    else:
        price = (margin - position.cost + band.maintenance_amount) / (held * (1 + band.maintenance_ratio))
    return max(ZERO, price)


def _cross_margin_without(state: State, symbol: str) -> Decimal:
    others = [other for other in crossed_symbols(state) if other != symbol]
    profit = sum((unrealised(state, other) - maintenance(state, other) for other in others), ZERO)
    return cross_wallet(state) + profit


def entry_price(position: Position) -> Decimal:
    return position.cost / position.quantity if position.quantity else ZERO


def last(state: State, symbol: str) -> Decimal:
    return last_price(state.markets[symbol], INSTRUMENTS[symbol])
