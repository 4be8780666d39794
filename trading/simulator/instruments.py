"""The instrument table of the simulated Binance USD-M venue.

`recorded` figures are the venue's own (its exchangeInfo); `stated` ones have tick, step and minimum
notional as published and representative bounds. Leverage brackets are representative for all, in the
venue's shape: caps rise, leverage falls, the maintenance amount makes the margin continuous.
"""

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """Notional band (USDT) with its highest leverage and maintenance margin = notional x ratio - amount."""

    number: int
    notional_floor: Decimal
    notional_cap: Decimal
    max_leverage: int
    maintenance_ratio: Decimal
    maintenance_amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One perpetual contract: filters as the venue words them, and the depth of its synthetic book."""

    symbol: str
    base: str
    source: str
    tick: Decimal
    step: Decimal
    price_precision: int
    quantity_precision: int
    min_price: Decimal
    max_price: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional: Decimal
    multiplier_up: Decimal
    multiplier_down: Decimal
    market_take_bound: Decimal
    liquidation_fee_ratio: Decimal
    onboarded_ms: int
    level_notional: Decimal
    brackets: tuple[Bracket, ...]

    def bracket_for(self, notional: Decimal) -> Bracket:
        """The band holding a notional (>= 0, USDT); the last one for anything above every cap."""
        for bracket in self.brackets:
            if notional <= bracket.notional_cap:
                return bracket
        return self.brackets[-1]

    def largest_notional(self, leverage: int) -> Decimal:
        """The cap of the widest band that still allows this leverage; zero if none does."""
        caps = [bracket.notional_cap for bracket in self.brackets if bracket.max_leverage >= leverage]
        return max(caps, default=Decimal(0))

    @property
    def max_leverage(self) -> int:
        return self.brackets[0].max_leverage


def _brackets(rows: tuple[tuple[str, int, str], ...]) -> tuple[Bracket, ...]:
    """Rows of (cap, leverage, ratio): amount(n) = amount(n-1) + floor(n) x (ratio(n) - ratio(n-1))."""
    built = [
        Bracket(
            number=1,
            notional_floor=Decimal(0),
            notional_cap=Decimal(rows[0][0]),
            max_leverage=rows[0][1],
            maintenance_ratio=Decimal(rows[0][2]),
            maintenance_amount=Decimal(0),
        )
    ]
    for (floor, _, low), (cap, leverage, ratio) in pairwise(rows):
        amount = built[-1].maintenance_amount + Decimal(floor) * (Decimal(ratio) - Decimal(low))
        built.append(
            Bracket(
                number=len(built) + 1,
                notional_floor=Decimal(floor),
                notional_cap=Decimal(cap),
                max_leverage=leverage,
                maintenance_ratio=Decimal(ratio),
                maintenance_amount=amount,
            )
        )
    return tuple(built)


_BITCOIN = _brackets(
    (
        ("50000", 125, "0.0040"),
        ("600000", 100, "0.0050"),
        ("3000000", 75, "0.0065"),
        ("12000000", 50, "0.0100"),
        ("70000000", 25, "0.0200"),
        ("100000000", 20, "0.0250"),
        ("230000000", 10, "0.0500"),
        ("480000000", 5, "0.1000"),
        ("600000000", 4, "0.1250"),
        ("800000000", 3, "0.1500"),
        ("1200000000", 2, "0.2500"),
        ("1800000000", 1, "0.5000"),
    )
)
_ETHER = _brackets(
    (
        ("50000", 125, "0.0040"),
        ("600000", 100, "0.0050"),
        ("3000000", 75, "0.0065"),
        ("12000000", 50, "0.0100"),
        ("50000000", 25, "0.0200"),
        ("65000000", 20, "0.0250"),
        ("150000000", 10, "0.0500"),
        ("320000000", 5, "0.1000"),
        ("400000000", 4, "0.1250"),
        ("800000000", 2, "0.2500"),
        ("1200000000", 1, "0.5000"),
    )
)
_OTHERS = _brackets(
    (
        ("10000", 75, "0.0050"),
        ("50000", 50, "0.0100"),
        ("500000", 25, "0.0200"),
        ("1000000", 20, "0.0250"),
        ("5000000", 10, "0.0500"),
        ("10000000", 5, "0.1000"),
        ("12500000", 4, "0.1250"),
        ("25000000", 2, "0.2500"),
        ("50000000", 1, "0.5000"),
    )
)

# symbol, source, tick, step, price and quantity precision, lowest and highest price,
# largest quantity (limit, market), minimum notional, price band, USDT per book level
_ROWS = """
BTCUSDT  recorded 0.10    0.001 2 3 556.80  4529764 1000     120     100 0.05 400000
ETHUSDT  recorded 0.01    0.001 2 3 39.86   306177  10000    2000    20  0.05 250000
BNBUSDT  recorded 0.010   0.01  3 2 6.600   100000  100000   2000    5   0.05 80000
SOLUSDT  stated   0.01    0.01  2 2 0.42    6857    1000000  80000   5   0.05 80000
XRPUSDT  recorded 0.0001  0.1   4 1 0.0143  100000  10000000 2000000 5   0.05 80000
DOGEUSDT stated   0.00001 1     5 0 0.00244 30      50000000 30000000 5  0.05 60000
SUIUSDT  stated   0.0001  0.1   4 1 0.0002  1000    1000000  300000  5   0.05 40000
LINKUSDT recorded 0.001   0.01  3 2 0.464   100000  200000   20000   20  0.10 40000
BCHUSDT  recorded 0.01    0.001 2 3 13.93   100000  10000    850     20  0.05 40000
TRXUSDT  recorded 0.00001 1     5 0 0.00132 20000   10000000 5000000 5   0.05 40000
"""


def _instrument(row: str) -> Instrument:
    (
        symbol,
        source,
        tick,
        step,
        price_places,
        quantity_places,
        low,
        high,
        most,
        market,
        notional,
        band,
        depth,
    ) = row.split()
    return Instrument(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        source=source,
        tick=Decimal(tick),
        step=Decimal(step),
        price_precision=int(price_places),
        quantity_precision=int(quantity_places),
        min_price=Decimal(low),
        max_price=Decimal(high),
        min_quantity=Decimal(step),
        max_quantity=Decimal(most),
        max_market_quantity=Decimal(market),
        min_notional=Decimal(notional),
        multiplier_up=1 + Decimal(band),
        multiplier_down=1 - Decimal(band),
        market_take_bound=Decimal(band),
        liquidation_fee_ratio=Decimal("0.012500"),
        onboarded_ms=1569398400000,
        level_notional=Decimal(depth),
        brackets={"BTCUSDT": _BITCOIN, "ETHUSDT": _ETHER}.get(symbol, _OTHERS),
    )


INSTRUMENTS: dict[str, Instrument] = {
    instrument.symbol: instrument for instrument in map(_instrument, _ROWS.strip().splitlines())
}
