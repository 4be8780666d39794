"""Loads config/venues.yaml; what is doubtful there is one line naming file, line and key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

from django.conf import settings

from controlplane.yaml_file import YamlMap, load_yaml

VENUES_WITH_DIALECT = frozenset({"binanceusdm"})
VENUES_WITH_DEAD_MAN_TIMER = frozenset({"binanceusdm"})
# It is renewed every third of its length, by a cycle that runs once a second.
SHORTEST_TIMER_SECONDS, LONGEST_TIMER_SECONDS = 10, 600
CAPABILITIES = frozenset(
    {"test_order", "closing_stop", "attached_protection", "dead_man_timer", "key_permissions"}
)
TIMER_KEY = "dead_man_timer_seconds"
MAX_PERCENT = Decimal(5)
MAX_REBATE_PERCENT = Decimal("0.1")
_SYMBOL = re.compile(r"[A-Z0-9]{2,16}USDT")


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueTerms:
    """Fees and slippage allowances of one venue, as ratios of the notional; a rebate is negative.

    `dead_man_timer` (wall time) is after how long without us the venue cancels our entries; 0 is never.
    """

    taker_fee_ratio: Decimal
    maker_fee_ratio: Decimal
    default_slippage_ratio: Decimal
    slippage_ratios: Mapping[str, Decimal]
    dead_man_timer: timedelta = timedelta(0)

    def slippage_ratio(self, symbol: str) -> Decimal:
        return self.slippage_ratios.get(symbol, self.default_slippage_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueConfig:
    """The primary venue, its failover candidates, what is traded and on what terms."""

    primary: str
    candidates: tuple[str, ...]
    symbols: tuple[str, ...]
    required_capabilities: tuple[str, ...]
    terms: Mapping[str, VenueTerms]

    @property
    def venues(self) -> tuple[str, ...]:
        return (self.primary, *self.candidates)


def load_venue_config(path: Path | None = None) -> VenueConfig:
    """Read and check the file; raises YamlError."""
    root = load_yaml(path or settings.CONFIG_DIR / "venues.yaml")
    root.require_keys(("primary", "candidates", "symbols", "required_capabilities", "venues"))
    primary, candidates = root.text("primary"), root.texts("candidates")
    if primary in candidates:
        raise root.error("candidates", f"{primary} is the primary already")
    for key, venue in [("primary", primary), *(("candidates", name) for name in candidates)]:
        _check_venue(root, key, venue)
    sections = root.section("venues")
    sections.require_keys((primary, *candidates))
    return VenueConfig(
        primary=primary,
        candidates=candidates,
        symbols=_read_symbols(root),
        required_capabilities=_read_capabilities(root),
        terms=MappingProxyType({name: _read_terms(sections.section(name), name) for name in sections}),
    )


def _check_venue(root: YamlMap, key: str, venue: str) -> None:
    if venue not in VENUES_WITH_DIALECT:
        known = ", ".join(sorted(VENUES_WITH_DIALECT))
        raise root.error(key, f"no dialect for {venue!r}; known: {known}")


def _read_symbols(root: YamlMap) -> tuple[str, ...]:
    symbols = root.texts("symbols")
    if not symbols:
        raise root.error("symbols", "names no symbol")
    for symbol in symbols:
        _check_symbol(root, "symbols", symbol)
    return symbols


def _check_symbol(where: YamlMap, key: str, symbol: str) -> None:
    if not _SYMBOL.fullmatch(symbol):
        raise where.error(key, f"expected a symbol like BTCUSDT, found {symbol!r}")


def _read_capabilities(root: YamlMap) -> tuple[str, ...]:
    names = root.texts("required_capabilities")
    for name in names:
        if name not in CAPABILITIES:
            known = ", ".join(sorted(CAPABILITIES))
            raise root.error("required_capabilities", f"no capability {name!r}; known: {known}")
    return names


def _read_terms(section: YamlMap, venue: str) -> VenueTerms:
    section.require_keys(
        ("taker_fee_percent", "maker_fee_percent", "slippage_allowance_percent"), optional=(TIMER_KEY,)
    )
    allowances = section.section("slippage_allowance_percent")
    for symbol in allowances:
        if symbol != "default":
            _check_symbol(allowances, symbol, symbol)
    return VenueTerms(
        taker_fee_ratio=_read_ratio(section, "taker_fee_percent", lowest=Decimal(0)),
        maker_fee_ratio=_read_ratio(section, "maker_fee_percent", lowest=-MAX_REBATE_PERCENT),
        default_slippage_ratio=_read_ratio(allowances, "default", lowest=Decimal(0)),
        slippage_ratios=MappingProxyType(
            {
                symbol: _read_ratio(allowances, symbol, lowest=Decimal(0))
                for symbol in allowances
                if symbol != "default"
            }
        ),
        dead_man_timer=_read_timer(section, venue),
    )


def _read_timer(section: YamlMap, venue: str) -> timedelta:
    """Off unless named; whether it may be armed a probe decides when it is due."""
    seconds = section.whole(TIMER_KEY) if TIMER_KEY in section else 0
    if seconds and venue not in VENUES_WITH_DEAD_MAN_TIMER:
        raise section.error(TIMER_KEY, f"{venue} has no dead-man timer; only 0 is allowed")
    if seconds and not SHORTEST_TIMER_SECONDS <= seconds <= LONGEST_TIMER_SECONDS:
        span = f"{SHORTEST_TIMER_SECONDS} to {LONGEST_TIMER_SECONDS}"
        raise section.error(TIMER_KEY, f"expected 0 (off) or {span}, found {seconds}")
    return timedelta(seconds=seconds)


def _read_ratio(section: YamlMap, key: str, *, lowest: Decimal) -> Decimal:
    percent = section.number(key)
    if not lowest <= percent <= MAX_PERCENT:
        raise section.error(key, f"expected {lowest} to {MAX_PERCENT} percent, found {percent}")
    return percent / 100
