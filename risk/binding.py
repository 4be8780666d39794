"""Which limits can bind at a profile's reference capital (shown when a profile is loaded)."""

from dataclasses import dataclass
from decimal import Decimal

from risk.core.values import Limits

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """How much notional (USDT) one limit leaves to one position, and to all of them together."""

    name: str
    one_position: Decimal
    all_positions: Decimal


def list_caps(limits: Limits) -> list[Cap]:
    """Every limit on size as notional at the reference capital, the tightest first.

    With the narrowest stop and the gap and slippage of a major: a position of notional N with stop
    distance d risks N x (d + 2 f + s), about, and loses N x gap in a cascade (RISK.md parts 1 and 3.6).
    Net exposure, correlated bet and stressed loss are of one side: hedged positions may be more.
    """
    capital = limits.reference_capital
    cost = limits.min_stop_ratio + 2 * limits.taker_fee_ratio + limits.major_slippage_ratio
    count = limits.max_positions
    caps = [
        ("max position", limits.max_position_notional, limits.max_position_notional * count),
        ("gross exposure", limits.max_gross_exposure, None),
        ("net exposure", limits.max_net_exposure, None),
        ("single-symbol share", limits.max_symbol_share_ratio * capital, None),
        ("risk per trade", limits.max_trade_risk_ratio * capital / cost, None),
        ("portfolio risk", limits.max_portfolio_risk_ratio * capital / cost, None),
        ("correlated bet", limits.max_bet_risk_ratio * capital / cost, None),
        ("stressed loss", limits.capital_loss_stop_ratio * capital / limits.major_gap_ratio, None),
        ("daily loss budget", limits.max_daily_loss_ratio * capital / cost, None),
        ("weekly loss budget", limits.max_weekly_loss_ratio * capital / cost, None),
        ("leverage", limits.max_leverage * capital, None),
        ("margin use", limits.max_margin_ratio * limits.max_leverage * capital, None),
    ]
    single = {"single-symbol share", "risk per trade"}
    made = [
        Cap(
            name=name,
            one_position=one.quantize(CENT),
            all_positions=(every or (one * count if name in single else one)).quantize(CENT),
        )
        for name, one, every in caps
    ]
    return sorted(made, key=lambda cap: (cap.all_positions, cap.one_position))


def list_binding(limits: Limits) -> list[str]:
    """The limits that leave no more than the largest positions, all of one side, take together."""
    caps = list_caps(limits)
    wanted = next(cap for cap in caps if cap.name == "max position")
    return [cap.name for cap in caps if cap.all_positions <= wanted.all_positions]
