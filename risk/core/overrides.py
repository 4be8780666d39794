"""Overrides: a limit of one account that people raised for a while (RTS 6 art. 15(6))."""

from dataclasses import replace
from decimal import Decimal

from risk.core.values import Limits, OverrideFacts

# Numbers only, never a switch, and none that a loss is measured against.
OVERRIDABLE_LIMITS = (
    "max_position_notional",
    "max_symbol_share_ratio",
    "max_trades_per_day",
    "max_positions",
    "max_orders_per_minute",
    "collar_ratio",
    "passive_collar_ratio",
    "max_portfolio_risk_ratio",
    "max_trade_risk_ratio",
    "max_gross_exposure",
    "max_net_exposure",
    "max_bet_risk_ratio",
)
# Of the account's active limit: an override is an exception, not another profile.
MAX_RAISE = Decimal(2)


def find_fault(limits: Limits, limit: str, value: Decimal) -> str | None:
    """What is wrong with raising this limit to this value, in words; None if nothing is."""
    if limit not in OVERRIDABLE_LIMITS:
        return f"limit: expected one of {', '.join(OVERRIDABLE_LIMITS)}, found {limit!r}"
    if not value.is_finite():
        return "value: expected a number"
    present = getattr(limits, limit)
    if isinstance(present, int) and value != value.to_integral_value():
        return f"value: {limit} is a whole number"
    if value <= present:
        return f"value: must be above the present limit {present}"
    if value > MAX_RAISE * present:
        return f"value: at most {MAX_RAISE * present}, which is {MAX_RAISE} times the present limit"
    return None


def apply_overrides(limits: Limits, overrides: tuple[OverrideFacts, ...]) -> Limits:
    """The limits with every raised one at its higher value; the digest still names the set they came from.

    Never lowers, never raises to more than MAX_RAISE times the set's own value (the set may have become
    smaller since), and knows no limit outside OVERRIDABLE_LIMITS.
    """
    raised: dict[str, object] = {}
    for item in overrides:
        if item.limit not in OVERRIDABLE_LIMITS:
            continue
        own = getattr(limits, item.limit)
        wanted = max(Decimal(raised.get(item.limit, own)), min(item.value, MAX_RAISE * own))  # type: ignore[arg-type]
        raised[item.limit] = type(own)(wanted)
    return replace(limits, **raised)  # type: ignore[arg-type]
