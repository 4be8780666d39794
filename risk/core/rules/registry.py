"""Which rules apply to what. Every rule of a list runs; the order is how a decision lists them.

An entry (not reduce-only) must satisfy ENTRY_RULES, and with its limits LIMIT_RULES and
SIZE_RULES. A reduce-only order must satisfy EXIT_RULES and EXIT_SIZE_RULES and nothing of the book:
removing risk is never blocked by what the book carries. The *size* rules depend on the
quantity and, once they permit one, permit every smaller legal one.
"""

from collections.abc import Callable

from risk.core.rules import book, facts, market, ownership, permission, protection, request
from risk.core.rules.case import Case, LimitedCase
from risk.core.values import Breach

Rule = Callable[[Case], Breach | None]
LimitRule = Callable[[LimitedCase], Breach | None]

ENTRY_RULES: tuple[Rule, ...] = (
    permission.permits_known_accounts,
    request.permits_matching_purpose,
    request.permits_plain_entries,
    permission.permits_active_scopes,
    permission.permits_living_permits,
    permission.permits_assigned_strategies,
    request.permits_known_instruments,
    request.permits_prices_in_range,
    request.permits_prices_on_the_tick,
    ownership.permits_the_owner,
    ownership.permits_entries_with_the_position,
    ownership.permits_one_entry_at_a_time,
    ownership.permits_clean_symbols,
    ownership.permits_protected_positions,
    protection.permits_the_protection_in_force,
)

LIMIT_RULES: tuple[LimitRule, ...] = (
    permission.permits_the_permitted_profile,
    permission.permits_calm_global_risk,
    permission.permits_message_rate,
    permission.permits_unthrottled_strategies,
    permission.permits_new_signals,
    request.permits_tradable_instruments,
    market.permits_lasting_instruments,
    market.permits_room_for_protection,
    facts.permits_fresh_prices,
    facts.permits_prices_inside_the_collar,
    market.permits_prices_near_the_average,
    market.permits_agreeing_prices,
    market.permits_narrow_spreads,
    market.permits_bearable_funding,
    facts.permits_fresh_signals,
    facts.permits_reconciled_books,
    facts.permits_fresh_balances,
    facts.permits_a_priced_book,
    facts.permits_known_venue_settings,
    facts.permits_plain_account_modes,
    protection.permits_stops_before_liquidation,
    protection.permits_stops_in_the_band,
    protection.permits_targets_in_the_band,
    book.permits_trades_per_day,
    book.permits_position_count,
    book.permits_daily_loss,
    book.permits_weekly_loss,
    book.permits_maintenance_margin,
)

# These look at the instrument alone and are also asked of a quantity that is not yet limited.
ENTRY_SIZE_RULES: tuple[Rule, ...] = (
    request.permits_whole_lots,
    request.permits_enough_quantity,
    request.permits_venue_quantity,
    request.permits_enough_notional,
)

SIZE_RULES: tuple[LimitRule, ...] = (
    book.permits_order_notional,
    book.permits_position_notional,
    book.permits_symbol_share,
    book.permits_leverage,
    book.permits_gross_exposure,
    book.permits_net_exposure,
    book.permits_firm_exposure,
    book.permits_venue_exposure,
    book.permits_strategy_exposure,
    book.permits_symbol_exposure,
    book.permits_margin_use,
    market.permits_deep_books,
    book.permits_trade_risk,
    book.permits_portfolio_risk,
    book.permits_correlated_bets,
    book.permits_stressed_loss,
    book.permits_daily_loss_budget,
    book.permits_weekly_loss_budget,
)

BOOK_RULES: tuple[LimitRule, ...] = (
    book.permits_trades_per_day,
    book.permits_position_count,
    book.permits_daily_loss,
    book.permits_weekly_loss,
    book.permits_maintenance_margin,
    *SIZE_RULES,
)

EXIT_RULES: tuple[Rule, ...] = (
    permission.permits_known_accounts,
    request.permits_matching_purpose,
    permission.permits_exits_unless_halted,
    ownership.permits_owned_exits,
    request.permits_prices_on_the_tick,
)

EXIT_SIZE_RULES: tuple[Rule, ...] = (
    ownership.permits_only_what_reduces,
    request.permits_whole_lots,
)
