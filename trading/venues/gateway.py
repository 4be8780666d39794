"""What the desk asks of a venue, whatever the venue; and how a venue fails."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from controlplane.errors import DomainError, Unavailable
from trading.core.margin import Bracket
from trading.core.values import (
    BalanceReport,
    Bar,
    FillReport,
    IncomeReport,
    Instrument,
    OrderReport,
    OrderRequest,
    Outcome,
    PositionReport,
    Prices,
)


class Cause(StrEnum):
    """Why a call to a venue failed, told apart for whoever must repair it."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    HTTP = "http"
    AUTH = "auth"
    CLOCK = "clock"
    THROTTLED = "throttled"
    VENUE = "venue"


class VenueError(DomainError):
    """A venue cannot be used as asked; also raised for missing keys or a missing dialect."""

    code = "venue_error"

    def __init__(self, message: str, *, cause: Cause, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.cause = cause


class VenueUnavailable(VenueError, Unavailable):
    """No usable answer: whatever was asked is unknown."""

    code = "venue_unavailable"


class VenueRejected(VenueError):
    """The venue answered with a refusal; `venue_code` is its own code."""

    code = "venue_rejected"

    def __init__(self, message: str, *, cause: Cause, venue_code: str) -> None:
        super().__init__(message, cause=cause)
        self.venue_code = venue_code


class NotPermitted(Exception):
    """Raised by a fence: the request may not start. Nothing of it was written."""


FENCED = "FENCED"
# Entered when the connection stands and left when the request is written, before the answer is waited
# for. Yields until when it holds, in seconds of time.monotonic(); raises NotPermitted.
Fence = Callable[[], AbstractContextManager[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a venue's dialect can do."""

    venue: str
    has_test_order: bool
    has_attached_protection: bool
    has_closing_stop: bool
    has_dead_man_timer: bool
    has_key_permissions: bool
    client_order_id_field: str
    client_conditional_id_field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPermissions:
    """What the venue lets our key do (RISK.md 3.14)."""

    can_trade_futures: bool
    can_withdraw: bool
    can_transfer: bool
    is_bound_to_address: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMode:
    """Account-wide switches; the desk needs one-way and single-asset."""

    is_one_way: bool
    is_single_asset: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSettings:
    """Leverage and margin mode of one symbol as the venue states them."""

    symbol: str
    leverage: int
    is_isolated: bool
    is_auto_add_margin: bool


class Gateway(Protocol):
    """One venue account. Reads raise VenueUnavailable or VenueRejected; writes return an Outcome.

    Not thread-safe: `open_gateway` gives each thread its own.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def endpoint(self) -> str:
        """The base address that requests really go to."""
        ...

    @property
    def key_fingerprint(self) -> str:
        """First 8 hex digits of the SHA-256 of the key; safe to show."""
        ...

    def load_instruments(self, market_at: datetime) -> tuple[tuple[Instrument, tuple[Bracket, ...]], ...]:
        """Every USDT-margined perpetual with its margin brackets, ascending; () where unknown.

        One that is delisted within 24 h of `market_at` is not trading (RISK.md 3.18).
        """
        ...

    def fetch_prices(self, symbols: Sequence[str]) -> dict[str, Prices]:
        """Prices of the symbols, dated by the venue; a symbol the venue does not quote is absent."""
        ...

    def fetch_bars(
        self, symbol: str, interval: str, limit: int, *, since: datetime | None = None
    ) -> tuple[Bar, ...]:
        """The latest candles, or the first that open at or after a time; ascending, at most 1,500.

        The last one may be unfinished.
        """
        ...

    def fetch_balance(self) -> BalanceReport:
        """Raises VenueUnavailable if the venue does not state a USDT balance (never zero)."""
        ...

    def fetch_positions(self) -> tuple[PositionReport, ...]:
        """Every open position; an absent symbol is flat."""
        ...

    def fetch_open_orders(self, symbol: str | None = None) -> tuple[OrderReport, ...]:
        """Every resting order, regular and conditional; of one symbol it costs a fortieth."""
        ...

    def fetch_order(self, symbol: str, client_order_id: str, conditional: bool) -> OrderReport | None:
        """The order, or None if the venue says it knows no such id.

        A triggered conditional is reported with the state and fills of the ordinary order it
        became (`executed_by`).
        """
        ...

    def fetch_client_order_id(self, symbol: str, venue_order_id: str) -> str | None:
        """The client id of an ordinary order, ours or not, by the venue's own id; None if it knows none."""
        ...

    def fetch_fills(
        self, symbol: str, *, since: datetime | None = None, from_id: str | None = None
    ) -> tuple[FillReport, ...]:
        """Fills from a time (at most seven days back) or from a fill id on, inclusive, ascending."""
        ...

    def fetch_income(self, *, since: datetime) -> tuple[IncomeReport, ...]:
        """Rows of the income ledger from a time on, ascending."""
        ...

    def submit_order(self, request: OrderRequest, *, fence: Fence | None = None) -> Outcome:
        """Submit; `fence` is held while the request is written. RETRY_SAFE with FENCED: it did not let it."""
        ...

    def cancel_order(self, symbol: str, client_order_id: str, conditional: bool) -> Outcome:
        """Cancel by our own id. REJECTED with -2011 means not open any more: look it up."""
        ...

    def ensure_account_mode(self) -> AccountMode:
        """Switch to one-way and single-asset where needed and read back."""
        ...

    def ensure_symbol_settings(self, symbol: str, leverage: int, isolated: bool) -> SymbolSettings:
        """Set leverage and margin mode where they differ and read back what the venue now has."""
        ...

    def fetch_account_mode(self) -> AccountMode: ...

    def fetch_symbol_settings(self, symbol: str) -> SymbolSettings: ...

    def fetch_server_time(self) -> datetime:
        """The venue's wall clock, the one that signatures are checked against."""
        ...

    def measure_clock_skew_ms(self) -> int:
        """Our wall clock minus the venue's, in milliseconds, at half the round trip."""
        ...

    def fetch_permissions(self) -> KeyPermissions | None:
        """None where the environment has no such endpoint ("not applicable")."""
        ...

    def test_order(self, request: OrderRequest) -> Outcome:
        """Have the venue check an order without placing it; ACCEPTED has no report."""
        ...

    def arm_dead_man_timer(self, symbol: str, milliseconds: int) -> Outcome:
        """Have the venue cancel the symbol's orders once so much wall time has passed without another call.

        0 disarms. ACCEPTED has no report. Which orders it cancels is the venue's affair (RISK.md 3.17).
        """
        ...
