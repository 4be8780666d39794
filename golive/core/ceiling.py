"""The desk-wide ceiling over every profile (RISK.md 3.13). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from risk.core.values import Limits, RiskLevel
from trading.core.values import Environment

ALLOWED_PROFILES = "allowed_profiles"
ONE, HUNDRED = Decimal(1), Decimal(100)


class Ceiling(Protocol):
    """What go_live.yaml says of limits: the loaded row has it, and the file's values. Ratios are of 1."""

    @property
    def allowed_profiles(self) -> Sequence[str]: ...
    @property
    def max_position_notional(self) -> Decimal: ...
    @property
    def max_leverage(self) -> Decimal: ...
    @property
    def max_portfolio_risk_ratio(self) -> Decimal: ...
    @property
    def max_trade_risk_ratio(self) -> Decimal: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GoLiveValues:
    """config/go_live.yaml as values; money in USDT, ratios are parts of one.

    `max_leverage` is gross exposure by risk equity; `require_risk_state` the worst global risk at which
    an account may be activated.
    """

    environment: Environment
    activation_enabled: bool
    required_preflight: bool
    allowed_profiles: tuple[str, ...]
    default_profile: str
    require_testnet_history: bool
    min_testnet_trades: int
    require_risk_state: RiskLevel
    require_ess_inactive: bool
    max_position_notional: Decimal
    max_leverage: Decimal
    max_portfolio_risk_ratio: Decimal
    max_trade_risk_ratio: Decimal


class Above(NamedTuple):
    """A limit above the ceiling, as the file writes it: the key, what was asked, what the file allows."""

    key: str
    value: str
    ceiling: str

    def __str__(self) -> str:
        return f"{self.key}: {self.value} is above the desk's ceiling {self.ceiling} (go_live.yaml)"


# Key of the file -> field of Limits and of the ceiling, and the file's units in one of the field's.
BOUNDS = {
    "max_position_size_usd": ("max_position_notional", ONE),
    "max_leverage": ("max_leverage", ONE),
    "max_portfolio_risk_percent": ("max_portfolio_risk_ratio", HUNDRED),
    "max_account_risk_percent": ("max_trade_risk_ratio", HUNDRED),
}


def apply_ceiling(limits: Limits, config: Ceiling) -> Limits:
    """The effective limits: of each the smaller of the profile's and the ceiling's.

    Limits that are within come back as they are; changed ones have an empty digest, which the caller
    computes. Never raises a limit.
    """
    lowered: dict[str, Any] = {
        field: getattr(config, field)
        for field, _ in BOUNDS.values()
        if getattr(limits, field) > getattr(config, field)
    }
    return replace(limits, digest="", **lowered) if lowered else limits


def find_above(limits: Limits, config: Ceiling) -> list[Above]:
    """Every key that the limits are above, in the order of the file; also a profile that is not allowed."""
    found = []
    if limits.profile not in config.allowed_profiles:
        found.append(Above(ALLOWED_PROFILES, limits.profile, ", ".join(config.allowed_profiles)))
    return found + find_numbers_above(limits, config)


def find_numbers_above(limits: Limits, config: Ceiling) -> list[Above]:
    """The same, of the numbers alone: what an override raises stays under the profile that is allowed."""
    return [
        Above(key, _plain(getattr(limits, field) * unit), _plain(getattr(config, field) * unit))
        for key, (field, unit) in BOUNDS.items()
        if getattr(limits, field) > getattr(config, field)
    ]


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
