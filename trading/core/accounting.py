"""From fills to positions and results (pure): signed quantities, exact cost, USDT.

cost = signed quantity x average entry price. Closing a part takes its share of the cost, rounded to
8 decimals as the venue does; closing the rest takes what is left, so that over a round trip
realised = sold - bought, to the last digit.
"""

from dataclasses import dataclass
from decimal import Decimal

from trading.core.values import Side

ZERO = Decimal(0)
CENT8 = Decimal("1e-8")
PRICE_PLACES = Decimal("1e-10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A position: signed base quantity (0 is flat) and its signed cost in USDT."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal | None:
        """Average entry price > 0 in USDT per unit; None when flat."""
        return self.cost / self.quantity if self.quantity else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What of a fill matters to the book: base quantity > 0, price and fee in USDT (fee < 0 is a rebate)."""

    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fill, or one half of a fill that flips: it only opens or only closes.

    `realised` is gross of fees (USDT, signed; 0 when opening). `after` is the holding then.
    """

    is_opening: bool
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realised: Decimal
    after: Holding


def apply_execution(before: Holding, fill: Execution) -> tuple[Step, ...]:
    """Fold one fill into a holding; a fill that flips gives a closing and an opening step.

    The fee of a flipping fill is shared by quantity, the closing part rounded to 8 decimals.
    Raises ValueError for a quantity or price that is not above zero.
    """
    if fill.quantity <= 0 or fill.price <= 0:
        raise ValueError("a fill has a quantity and a price above zero")
    against = before.quantity * fill.side.sign < 0
    closing = min(fill.quantity, abs(before.quantity)) if against else ZERO
    opening = fill.quantity - closing
    closing_fee = fill.fee if not opening else _share(fill.fee, closing, fill.quantity)
    steps: list[Step] = []
    holding = before
    if closing:
        steps.append(_close(holding, fill, closing, closing_fee))
        holding = steps[-1].after
    if opening:
        steps.append(_open(holding, fill, opening, fill.fee - closing_fee))
    return tuple(steps)


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return (amount * part / whole).quantize(CENT8)


def _open(before: Holding, fill: Execution, quantity: Decimal, fee: Decimal) -> Step:
    signed = fill.side.sign * quantity
    after = Holding(quantity=before.quantity + signed, cost=before.cost + signed * fill.price)
    return Step(
        is_opening=True,
        side=fill.side,
        quantity=quantity,
        price=fill.price,
        fee=fee,
        realised=ZERO,
        after=after,
    )


def _close(before: Holding, fill: Execution, quantity: Decimal, fee: Decimal) -> Step:
    held = abs(before.quantity)
    cost = before.cost if quantity == held else _share(before.cost, quantity, held)
    signed = fill.side.sign * quantity
    return Step(
        is_opening=False,
        side=fill.side,
        quantity=quantity,
        price=fill.price,
        fee=fee,
        realised=-signed * fill.price - cost,
        after=Holding(quantity=before.quantity + signed, cost=before.cost - cost),
    )


def average(price: Decimal, quantity: Decimal, more_price: Decimal, more_quantity: Decimal) -> Decimal:
    """Quantity-weighted mean of two prices, 10 decimals; quantities >= 0, not both 0."""
    total = price * quantity + more_price * more_quantity
    return (total / (quantity + more_quantity)).quantize(PRICE_PLACES)


def risk_amount(
    *, quantity: Decimal, entry: Decimal, stop: Decimal, fee_ratio: Decimal, slippage_ratio: Decimal
) -> Decimal:
    """R = Q (|P_in - P_stop| + f (P_in + P_stop) + s P_stop) in USDT, >= 0, 10 decimals (RISK.md part 1).

    `fee_ratio` f and `slippage_ratio` s are ratios of the notional.
    """
    distance = abs(entry - stop) + fee_ratio * (entry + stop) + slippage_ratio * stop
    return (quantity * distance).quantize(PRICE_PLACES)


def unrealised_pnl(*, quantity: Decimal, entry: Decimal, mark: Decimal) -> Decimal:
    """q (mark - entry) in USDT, signed; `quantity` is signed."""
    return quantity * (mark - entry)
