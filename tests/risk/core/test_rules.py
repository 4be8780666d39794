"""Every rule inside, outside and unknown."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from risk.core.reasons import DESCRIPTIONS, ReasonCode
from risk.core.rules import book, facts, market, ownership, permission, protection, request
from risk.core.rules.case import open_case, plain, ratio, smallest_legal_quantity
from risk.core.rules.registry import (
    BOOK_RULES,
    ENTRY_RULES,
    ENTRY_SIZE_RULES,
    EXIT_RULES,
    EXIT_SIZE_RULES,
    LIMIT_RULES,
    SIZE_RULES,
)
from risk.core.rules.validity import permits_real_facts, permits_real_limits
from risk.core.values import (
    CorrelationFacts,
    GlobalRiskFacts,
    PendingStage,
    ReconciliationFacts,
    RiskLevel,
    ScopeState,
)
from tests.risk import build
from tests.risk.build import MARKET_AT, WALL_AT, case, intent, limits, loose_limits, snapshot
from trading.core.values import Environment, OrderPurpose, OrderType, Side, TradingStateName

D = Decimal
SECOND = timedelta(seconds=1)
HALTED, REDUCING = TradingStateName.HALTED, TradingStateName.REDUCING
LOOSE = loose_limits(max_position_notional=D(10**9))
DOGE_LONG = build.position(symbol="DOGEUSDT", quantity=D(500), mark=D("0.2"), stop_price=D("0.196"))
DOGE_SHORT = build.position(symbol="DOGEUSDT", quantity=D(-500), mark=D("0.2"), stop_price=D("0.204"))
APART = CorrelationFacts(first="DOGEUSDT", second="SOLUSDT", value=D("0.7"))
PENDING_HERE = build.pending(symbol="SOLUSDT", quantity=D("0.4"), mark=D(150))
SHORT = intent(side=Side.SELL, stop_loss=D("153.75"), take_profit=D("142.5"))
PASSIVE = intent(order_type=OrderType.LIMIT, price=D(149))
UNPRICED = build.position(symbol="DOGEUSDT", mark=None, mark_at=None)


def known(**changes: Any) -> Any:
    return case(known=snapshot(**changes))


def asked(**changes: Any) -> Any:
    return case(asked=intent(**changes))


def limited(**changes: Any) -> Any:
    return case(limited=limits(**changes))


def loosely(known: Any = None, ask: Any = None, **changes: Any) -> Any:
    return case(asked=ask, known=known, limited=loose_limits(**changes))


# (rule, inside, outside with its code, unknown with its code)
TRIPLES = [
    (
        request.permits_real_numbers,
        case(),
        (open_case(intent(quantity=D("NaN")), snapshot()), "INTENT_INVALID"),
        None,
    ),
    (
        request.permits_real_numbers,
        asked(order_type=OrderType.LIMIT, price=D(150)),
        (asked(order_type=OrderType.LIMIT), "INTENT_INVALID"),
        None,
    ),
    (request.permits_real_numbers, case(), (asked(stop_loss=D(-1)), "INTENT_INVALID"), None),
    (request.permits_matching_purpose, case(), (asked(reduce_only=True), "PURPOSE_MISMATCH"), None),
    (
        request.permits_matching_purpose,
        case(asked=build.exit_intent()),
        (asked(purpose=OrderPurpose.EXIT), "PURPOSE_MISMATCH"),
        None,
    ),
    (
        request.permits_plain_entries,
        case(),
        (asked(order_type=OrderType.STOP_MARKET), "ORDER_TYPE_NOT_ALLOWED"),
        None,
    ),
    (
        request.permits_known_instruments,
        case(),
        (known(instrument=build.instrument(is_trading=False)), "INSTRUMENT_NOT_TRADING"),
        (known(instrument=None), "INSTRUMENT_UNKNOWN"),
    ),
    (request.permits_whole_lots, asked(quantity=D("0.01")), (asked(quantity=D("0.015")), "LOT_SIZE"), None),
    (request.permits_prices_on_the_tick, case(), (asked(stop_loss=D("146.255")), "TICK_SIZE"), None),
    (
        request.permits_prices_in_range,
        case(),
        (asked(take_profit=D(100_000) + 1), "PRICE_OUT_OF_RANGE"),
        (known(instrument=None), "INSTRUMENT_UNKNOWN"),
    ),
    (
        request.permits_enough_quantity,
        asked(quantity=D("0.01")),
        (asked(quantity=D("0.009")), "QUANTITY_BELOW_MINIMUM"),
        (known(instrument=None), "INSTRUMENT_UNKNOWN"),
    ),
    (
        request.permits_venue_quantity,
        asked(quantity=D(80_000)),
        (asked(quantity=D(80_001)), "QUANTITY_ABOVE_MAXIMUM"),
        (known(instrument=None), "INSTRUMENT_UNKNOWN"),
    ),
    (
        request.permits_venue_quantity,
        asked(quantity=D(80_001), order_type=OrderType.LIMIT, price=D(150)),
        (asked(quantity=D(1_000_001), order_type=OrderType.LIMIT, price=D(150)), "QUANTITY_ABOVE_MAXIMUM"),
        None,
    ),
    (
        request.permits_enough_notional,
        asked(quantity=D("0.04")),
        (asked(quantity=D("0.03")), "NOTIONAL_BELOW_MINIMUM"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        request.permits_enough_notional,
        case(),
        (asked(quantity=D("0.03")), "NOTIONAL_BELOW_MINIMUM"),
        (known(instrument=None), "INSTRUMENT_UNKNOWN"),
    ),
    (
        request.permits_tradable_instruments,
        case(),
        (known(prices=build.prices(105_000), instrument=build.bitcoin()), "INSTRUMENT_UNTRADABLE"),
        (known(instrument=None), "INSTRUMENT_UNKNOWN"),
    ),
    (
        request.permits_tradable_instruments,
        known(balance=None),
        (known(balance=build.balance(equity=D(10))), "INSTRUMENT_UNTRADABLE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        permission.permits_known_accounts,
        case(),
        (known(account_environment=Environment.LIVE), "ENVIRONMENT_MISMATCH"),
        (known(account_environment=None), "ACCOUNT_UNKNOWN"),
    ),
    (
        permission.permits_active_scopes,
        case(),
        (known(states=build.states(symbol=REDUCING)), "STATE_REDUCING"),
        (known(states=build.states()[1:]), "STATE_HALTED"),
    ),
    (
        permission.permits_active_scopes,
        case(),
        (known(states=build.states(all=HALTED, symbol=REDUCING)), "STATE_HALTED"),
        None,
    ),
    (
        permission.permits_exits_unless_halted,
        known(states=build.states(venue=REDUCING)),
        (known(states=build.states(strategy=HALTED)), "STATE_HALTED"),
        (known(states=()), "STATE_HALTED"),
    ),
    (
        permission.permits_exits_unless_halted,
        case(asked=build.exit_intent(source="operator"), known=snapshot(states=())),
        (case(asked=build.exit_intent(), known=snapshot(states=())), "STATE_HALTED"),
        None,
    ),
    (
        permission.permits_exits_unless_halted,
        case(asked=build.exit_intent(purpose=OrderPurpose.FLATTEN), known=snapshot(states=())),
        (case(asked=build.exit_intent(source="strategy"), known=snapshot(states=())), "STATE_HALTED"),
        None,
    ),
    (
        permission.permits_living_permits,
        case(),
        (known(permit=build.permit(lease_expires_at=WALL_AT)), "PERMIT_EXPIRED"),
        (known(permit=None), "PERMIT_MISSING"),
    ),
    (
        permission.permits_living_permits,
        case(),
        (known(permit=build.permit(environment=Environment.LIVE)), "PERMIT_MISMATCH"),
        None,
    ),
    (
        permission.permits_assigned_strategies,
        case(),
        (known(allowed_symbols=("DOGEUSDT",)), "STRATEGY_NOT_ALLOWED"),
        (known(allowed_symbols=None), "STRATEGY_NOT_ALLOWED"),
    ),
    (
        permission.permits_the_permitted_profile,
        case(),
        (known(permit=build.permit(profile="SMALL")), "PERMIT_MISMATCH"),
        (known(permit=None), "PERMIT_MISSING"),
    ),
    (
        permission.permits_the_permitted_profile,
        case(),
        (known(permit=build.permit(limit_set_digest="e" * 64)), "PERMIT_MISMATCH"),
        None,
    ),
    (
        permission.permits_calm_global_risk,
        known(global_risk=GlobalRiskFacts(level=RiskLevel.WARNING, checked_at=WALL_AT - 30 * SECOND)),
        (
            known(global_risk=GlobalRiskFacts(level=RiskLevel.CRITICAL, checked_at=WALL_AT)),
            "GLOBAL_RISK_CRITICAL",
        ),
        (known(global_risk=None), "GLOBAL_RISK_UNKNOWN"),
    ),
    (
        permission.permits_calm_global_risk,
        case(),
        (
            known(global_risk=GlobalRiskFacts(level=RiskLevel.OK, checked_at=WALL_AT - 31 * SECOND)),
            "GLOBAL_RISK_STALE",
        ),
        None,
    ),
    (
        permission.permits_message_rate,
        known(messages_last_minute=57),
        (known(messages_last_minute=58), "MESSAGE_RATE"),
        (known(messages_last_minute=None), "MESSAGE_RATE_UNKNOWN"),
    ),
    (
        # What is approved and not yet sent will be an order, a stop and a target too.
        permission.permits_message_rate,
        known(messages_last_minute=54, pending=(build.pending(),)),
        (known(messages_last_minute=55, pending=(build.pending(),)), "MESSAGE_RATE"),
        None,
    ),
    (
        permission.permits_message_rate,
        known(messages_last_minute=57, pending=(build.pending(stage=PendingStage.OPEN),)),
        (known(messages_last_minute=58, pending=(build.pending(stage=PendingStage.OPEN),)), "MESSAGE_RATE"),
        None,
    ),
    (
        permission.permits_unthrottled_strategies,
        known(activity=build.activity(entries=10)),
        (known(activity=build.activity(entries=10, throttled_at=WALL_AT)), "STRATEGY_THROTTLED"),
        (known(activity=None), "ACTIVITY_UNKNOWN"),
    ),
    (
        permission.permits_new_signals,
        known(activity=build.activity(last_signal_at=MARKET_AT - 2 * SECOND, last_side="buy")),
        (
            known(activity=build.activity(last_signal_at=MARKET_AT - SECOND, last_side="buy")),
            "DUPLICATE_INTENT",
        ),
        None,
    ),
    (
        permission.permits_new_signals,
        known(activity=build.activity(last_signal_at=MARKET_AT, last_side="sell")),
        (known(activity=build.activity(last_signal_at=MARKET_AT, last_side="buy")), "DUPLICATE_INTENT"),
        None,
    ),
    (
        market.permits_lasting_instruments,
        known(instrument=build.instrument(delists_at=MARKET_AT + timedelta(hours=24) + SECOND)),
        (
            known(instrument=build.instrument(delists_at=MARKET_AT + timedelta(hours=24))),
            "INSTRUMENT_DELISTING",
        ),
        (known(instrument=build.instrument(delists_at=None)), "DELISTING_UNKNOWN"),
    ),
    (
        market.permits_lasting_instruments,
        case(),
        (known(instrument=build.instrument(delists_at=MARKET_AT - SECOND)), "INSTRUMENT_DELISTING"),
        (known(instrument=None), "INSTRUMENT_UNKNOWN"),
    ),
    (
        market.permits_room_for_protection,
        known(conditional_orders=8),
        (known(conditional_orders=9), "CONDITIONAL_ORDER_LIMIT"),
        (known(conditional_orders=None), "CONDITIONAL_ORDERS_UNKNOWN"),
    ),
    (
        market.permits_room_for_protection,
        case(),
        (known(instrument=build.instrument(max_conditional_orders=1)), "CONDITIONAL_ORDER_LIMIT"),
        (known(instrument=build.instrument(max_conditional_orders=None)), "CONDITIONAL_ORDERS_UNKNOWN"),
    ),
    (
        market.permits_prices_near_the_average,
        known(prices=build.prices(reference=D("154.63"))),
        (known(prices=build.prices(reference=D("154.64"))), "ROLLING_COLLAR"),
        (known(prices=build.prices(reference=None)), "REFERENCE_UNKNOWN"),
    ),
    (
        # A limit worse than mark is measured itself, a better one is not.
        market.permits_prices_near_the_average,
        case(
            asked=intent(order_type=OrderType.LIMIT, price=D(140)),
            known=snapshot(prices=build.prices(reference=D("145.64"))),
        ),
        (
            case(
                asked=intent(order_type=OrderType.LIMIT, price=D("150.1")),
                known=snapshot(prices=build.prices(reference=D("145.64"))),
            ),
            "ROLLING_COLLAR",
        ),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        market.permits_agreeing_prices,
        known(prices=build.prices(index=D("148.52"), last=D("151.5"))),
        (known(prices=build.prices(index=D("148.51"))), "PRICE_DIVERGENCE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        market.permits_agreeing_prices,
        case(),
        (known(prices=build.prices(last=D("151.51"))), "PRICE_DIVERGENCE"),
        None,
    ),
    (
        market.permits_narrow_spreads,
        known(prices=build.prices(bid=D("149.55"))),
        (known(prices=build.prices(bid=D("149.54"))), "SPREAD_TOO_WIDE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        market.permits_narrow_spreads,
        case(),
        (known(prices=build.prices(bid=D("150.01"))), "SPREAD_TOO_WIDE"),
        None,
    ),
    (
        market.permits_deep_books,
        known(prices=build.prices(ask_quantity=D("0.12"), bid_quantity=D(0))),
        (known(prices=build.prices(ask_quantity=D("0.11"))), "DEPTH_TOO_THIN"),
        (known(prices=build.prices(ask_quantity=None)), "DEPTH_UNKNOWN"),
    ),
    (
        # A limit below the ask rests and takes nothing; one at the ask takes.
        market.permits_deep_books,
        case(asked=PASSIVE, known=snapshot(prices=build.prices(ask_quantity=D(0)))),
        (
            case(
                asked=intent(order_type=OrderType.LIMIT, price=D(150)),
                known=snapshot(prices=build.prices(ask_quantity=D(0))),
            ),
            "DEPTH_TOO_THIN",
        ),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        market.permits_deep_books,
        case(asked=SHORT, known=snapshot(prices=build.prices(ask_quantity=D(0)))),
        (case(asked=SHORT, known=snapshot(prices=build.prices(bid_quantity=D(0)))), "DEPTH_TOO_THIN"),
        (case(asked=SHORT, known=snapshot(prices=build.prices(bid_quantity=None))), "DEPTH_UNKNOWN"),
    ),
    (
        market.permits_bearable_funding,
        known(prices=build.prices(funding_at=MARKET_AT + timedelta(minutes=30), funding_rate=D("0.001"))),
        (
            known(
                prices=build.prices(funding_at=MARKET_AT + timedelta(minutes=30), funding_rate=D("0.0011"))
            ),
            "FUNDING_ADVERSE",
        ),
        (known(prices=build.prices(funding_rate=None)), "FUNDING_UNKNOWN"),
    ),
    (
        market.permits_bearable_funding,
        known(prices=build.prices(funding_at=MARKET_AT + timedelta(minutes=31), funding_rate=D("0.0011"))),
        (
            case(
                asked=SHORT,
                known=snapshot(prices=build.prices(funding_at=MARKET_AT + SECOND, funding_rate=D("-0.0011"))),
            ),
            "FUNDING_ADVERSE",
        ),
        (known(prices=build.prices(funding_at=MARKET_AT)), "FUNDING_UNKNOWN"),
    ),
    (
        market.permits_bearable_funding,
        case(asked=SHORT, known=snapshot(prices=build.prices(funding_rate=D("0.05")))),
        (
            known(prices=build.prices(funding_at=MARKET_AT + SECOND, funding_rate=D("0.05"))),
            "FUNDING_ADVERSE",
        ),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        facts.permits_plain_account_modes,
        case(),
        (known(setting=build.setting(is_one_way=False)), "ACCOUNT_MODE"),
        (known(setting=build.setting(is_one_way=None)), "ACCOUNT_MODE_UNKNOWN"),
    ),
    (
        facts.permits_plain_account_modes,
        case(),
        (known(setting=build.setting(is_single_asset=False)), "ACCOUNT_MODE"),
        (known(setting=None), "ACCOUNT_MODE_UNKNOWN"),
    ),
    (
        book.permits_maintenance_margin,
        known(balance=build.balance(maintenance_margin=D(275))),
        (known(balance=build.balance(maintenance_margin=D("275.01"))), "MAINTENANCE_MARGIN"),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (
        book.permits_gross_exposure,
        loosely(snapshot(positions=(DOGE_LONG,)), max_gross_exposure=D(190)),
        (loosely(snapshot(positions=(DOGE_LONG,)), max_gross_exposure=D("189.99")), "GROSS_EXPOSURE"),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        # 90 long against 100 short: 10 net if all fill, but 100 if only what is held counts.
        book.permits_net_exposure,
        loosely(snapshot(positions=(DOGE_SHORT,)), max_net_exposure=D(100)),
        (loosely(snapshot(positions=(DOGE_SHORT,)), max_net_exposure=D("99.99")), "NET_EXPOSURE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        book.permits_net_exposure,
        loosely(snapshot(positions=(DOGE_LONG,)), max_net_exposure=D(190)),
        (loosely(snapshot(positions=(DOGE_LONG,)), max_net_exposure=D("189.99")), "NET_EXPOSURE"),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        book.permits_firm_exposure,
        known(positions=(DOGE_LONG,), allotments=build.allotments(all=190)),
        (known(positions=(DOGE_LONG,), allotments=build.allotments(all="189.99")), "FIRM_EXPOSURE"),
        (known(allotments=build.allotments(all=None)), "ALLOTMENT_UNKNOWN"),
    ),
    (
        # What is held at another venue does not use this venue's allotment.
        book.permits_venue_exposure,
        known(
            positions=(DOGE_LONG, replace(DOGE_LONG, venue="bybit")), allotments=build.allotments(venue=190)
        ),
        (known(positions=(DOGE_LONG,), allotments=build.allotments(venue="189.99")), "VENUE_EXPOSURE"),
        (known(allotments=build.allotments(venue=None)), "ALLOTMENT_UNKNOWN"),
    ),
    (
        book.permits_strategy_exposure,
        known(
            positions=(replace(DOGE_LONG, strategy="reversion"),), allotments=build.allotments(strategy=90)
        ),
        (known(positions=(DOGE_LONG,), allotments=build.allotments(strategy="189.99")), "STRATEGY_EXPOSURE"),
        (known(allotments=build.allotments(strategy=None)), "ALLOTMENT_UNKNOWN"),
    ),
    (
        book.permits_symbol_exposure,
        known(positions=(DOGE_LONG,), allotments=build.allotments(symbol=90)),
        (
            known(positions=(build.position(venue="bybit"),), allotments=build.allotments(symbol="179.99")),
            "SYMBOL_EXPOSURE",
        ),
        (known(allotments=build.allotments(symbol=None)), "ALLOTMENT_UNKNOWN"),
    ),
    (
        book.permits_symbol_exposure,
        case(),
        (known(allotments=build.allotments(symbol="89.99")), "SYMBOL_EXPOSURE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        # R of the order is 3.23 of 3.3 allowed; apart, that of DOGE does not come on top.
        book.permits_correlated_bets,
        loosely(snapshot(positions=(DOGE_LONG,), correlations=(APART,)), max_bet_risk_ratio=D("0.003")),
        (loosely(snapshot(positions=(DOGE_LONG,)), max_bet_risk_ratio=D("0.003")), "CORRELATED_BET"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        # Long and short of one bet are not added up: the larger side counts.
        book.permits_correlated_bets,
        loosely(snapshot(positions=(DOGE_SHORT,)), max_bet_risk_ratio=D("0.003")),
        (
            loosely(
                snapshot(positions=(DOGE_LONG,), correlations=(replace(APART, value=D("0.71")),)),
                max_bet_risk_ratio=D("0.003"),
            ),
            "CORRELATED_BET",
        ),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (
        # 25 % of 90 and of 100, against 4 % of 1,100 = 44.
        book.permits_stressed_loss,
        case(limited=limits(max_weekly_loss_ratio=D("0.0103"))),
        (known(positions=(DOGE_LONG,)), "STRESSED_LOSS"),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        book.permits_stressed_loss,
        known(positions=(DOGE_SHORT,)),
        (case(limited=limits(max_weekly_loss_ratio=D("0.0102"))), "STRESSED_LOSS"),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (
        facts.permits_fresh_prices,
        known(prices=build.prices(at=MARKET_AT - 60 * SECOND)),
        (known(prices=build.prices(at=MARKET_AT - 61 * SECOND)), "PRICE_STALE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        facts.permits_prices_inside_the_collar,
        asked(order_type=OrderType.LIMIT, price=D("150.75")),
        (asked(order_type=OrderType.LIMIT, price=D("150.76")), "PRICE_COLLAR"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        facts.permits_prices_inside_the_collar,
        asked(order_type=OrderType.LIMIT, price=D("142.5")),
        (asked(order_type=OrderType.LIMIT, price=D("142.49")), "PRICE_COLLAR"),
        None,
    ),
    (
        facts.permits_prices_inside_the_collar,
        known(prices=build.prices(ask=D("150.75"))),
        (known(prices=build.prices(ask=D("150.76"))), "PRICE_COLLAR"),
        None,
    ),
    (
        facts.permits_prices_inside_the_collar,
        case(asked=intent(side=Side.SELL), known=snapshot(prices=build.prices(ask=D(200)))),
        (
            case(asked=intent(side=Side.SELL), known=snapshot(prices=build.prices(bid=D("149.24")))),
            "PRICE_COLLAR",
        ),
        None,
    ),
    (
        facts.permits_prices_inside_the_collar,
        case(),
        (known(prices=build.prices(ask=D("149.24"))), "PRICE_COLLAR"),
        None,
    ),
    (
        facts.permits_fresh_signals,
        asked(signal_at=MARKET_AT - 120 * SECOND),
        (asked(signal_at=MARKET_AT - 121 * SECOND), "SIGNAL_STALE"),
        None,
    ),
    (
        facts.permits_fresh_signals,
        asked(signal_at=MARKET_AT + 5 * SECOND),
        (asked(signal_at=MARKET_AT + 6 * SECOND), "SIGNAL_IN_FUTURE"),
        None,
    ),
    (
        facts.permits_fresh_balances,
        known(balance=build.balance(read_at=WALL_AT - 60 * SECOND)),
        (known(balance=build.balance(read_at=WALL_AT - 61 * SECOND)), "BALANCE_STALE"),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (facts.permits_fresh_balances, case(), (known(balance=build.balance(wallet=D(0))), "NO_EQUITY"), None),
    (
        facts.permits_reconciled_books,
        known(reconciliation=ReconciliationFacts(symbols=("DOGEUSDT",), finished_at=WALL_AT - 60 * SECOND)),
        (
            known(reconciliation=ReconciliationFacts(symbols=("SOLUSDT",), finished_at=WALL_AT)),
            "RECONCILIATION_MISMATCH",
        ),
        (known(reconciliation=None), "RECONCILIATION_UNKNOWN"),
    ),
    (
        facts.permits_reconciled_books,
        case(),
        (
            known(reconciliation=ReconciliationFacts(symbols=("",), finished_at=WALL_AT)),
            "RECONCILIATION_MISMATCH",
        ),
        None,
    ),
    (
        facts.permits_reconciled_books,
        case(),
        (
            known(reconciliation=ReconciliationFacts(symbols=(), finished_at=WALL_AT - 61 * SECOND)),
            "RECONCILIATION_STALE",
        ),
        None,
    ),
    (
        facts.permits_known_venue_settings,
        known(setting=build.setting(read_at=WALL_AT - timedelta(hours=1))),
        (known(setting=build.setting(leverage=3)), "VENUE_LEVERAGE_TOO_HIGH"),
        (known(setting=None), "VENUE_SETTING_UNKNOWN"),
    ),
    (
        facts.permits_known_venue_settings,
        case(),
        (known(setting=build.setting(margin_mode="cross")), "MARGIN_MODE_NOT_ISOLATED"),
        (
            known(setting=build.setting(read_at=WALL_AT - timedelta(hours=1, seconds=1))),
            "VENUE_SETTING_UNKNOWN",
        ),
    ),
    (
        # The far edge of the collar, 150.75, is farther from the stop at 146.25 than mark: 2.9851 %.
        protection.permits_stops_before_liquidation,
        known(setting=build.setting(max_stop_ratio=D("0.02985075"))),
        (known(setting=build.setting(max_stop_ratio=D("0.02985074"))), "LIQUIDATION_TOO_NEAR"),
        (known(setting=build.setting(max_stop_ratio=None)), "VENUE_SETTING_UNKNOWN"),
    ),
    (
        # A short at the near edge, 149.25, is liquidated the sooner: 4.5 / 149.25 = 3.0151 %.
        protection.permits_stops_before_liquidation,
        case(asked=SHORT, known=snapshot(setting=build.setting(max_stop_ratio=D("0.03015076")))),
        (
            case(asked=SHORT, known=snapshot(setting=build.setting(max_stop_ratio=D("0.03015075")))),
            "LIQUIDATION_TOO_NEAR",
        ),
        (known(setting=None), "VENUE_SETTING_UNKNOWN"),
    ),
    (
        # A limit below mark: mark is the worse of the two, 3.75 / 150 = 2.5 %.
        protection.permits_stops_before_liquidation,
        case(asked=PASSIVE, known=snapshot(setting=build.setting(max_stop_ratio=D("0.025")))),
        (
            case(asked=PASSIVE, known=snapshot(setting=build.setting(max_stop_ratio=D("0.02499999")))),
            "LIQUIDATION_TOO_NEAR",
        ),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        protection.permits_stops_before_liquidation,
        case(),
        (known(setting=build.setting(max_stop_ratio=D(-1))), "LIQUIDATION_TOO_NEAR"),
        (asked(stop_loss=None), "STOP_LOSS_MISSING"),
    ),
    (
        facts.permits_a_priced_book,
        known(positions=(DOGE_LONG,), pending=(build.pending(),)),
        (known(positions=(replace(DOGE_LONG, mark_at=MARKET_AT - 601 * SECOND),)), "BOOK_PRICE_UNKNOWN"),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        ownership.permits_the_owner,
        known(positions=(build.position(), replace(DOGE_LONG, strategy="reversion"))),
        (known(positions=(build.position(strategy="reversion"),)), "SYMBOL_OWNED"),
        (known(positions=(build.position(strategy=""),)), "SYMBOL_OWNED"),
    ),
    (
        ownership.permits_the_owner,
        known(pending=(build.pending(intent_id=intent().intent_id, symbol="SOLUSDT"),)),
        (known(pending=(build.pending(symbol="SOLUSDT"),)), "SYMBOL_OWNED"),
        None,
    ),
    (
        ownership.permits_owned_exits,
        case(asked=build.exit_intent(), known=snapshot(positions=(build.position(),))),
        (
            case(
                asked=build.exit_intent(), known=snapshot(positions=(build.position(strategy="reversion"),))
            ),
            "SYMBOL_OWNED",
        ),
        None,
    ),
    (
        ownership.permits_owned_exits,
        case(
            asked=build.exit_intent(source="operator"),
            known=snapshot(positions=(build.position(strategy="x"),)),
        ),
        (
            case(asked=build.exit_intent(), known=snapshot(positions=(build.position(strategy=""),))),
            "SYMBOL_OWNED",
        ),
        None,
    ),
    (
        ownership.permits_entries_with_the_position,
        known(positions=(build.position(),)),
        (known(positions=(build.position(quantity=D("-0.1")),)), "WOULD_FLIP"),
        None,
    ),
    (
        ownership.permits_only_what_reduces,
        case(asked=build.exit_intent(), known=snapshot(positions=(build.position(),))),
        (
            case(asked=build.exit_intent(quantity=D("0.61")), known=snapshot(positions=(build.position(),))),
            "NOT_REDUCING",
        ),
        (case(asked=build.exit_intent()), "NOT_REDUCING"),
    ),
    (
        ownership.permits_only_what_reduces,
        case(
            asked=build.exit_intent(side=Side.BUY),
            known=snapshot(positions=(build.position(quantity=D("-0.6")),)),
        ),
        (
            case(asked=build.exit_intent(side=Side.BUY), known=snapshot(positions=(build.position(),))),
            "NOT_REDUCING",
        ),
        None,
    ),
    (
        ownership.permits_one_entry_at_a_time,
        known(pending=(build.pending(strategy="trend", symbol="SOLUSDT", side=Side.SELL),)),
        (known(pending=(build.pending(strategy="trend", symbol="SOLUSDT"),)), "DUPLICATE_INTENT"),
        None,
    ),
    (ownership.permits_clean_symbols, case(), (known(orphan_protections=1), "ORPHAN_PROTECTION"), None),
    (
        ownership.permits_protected_positions,
        known(positions=(build.position(), replace(DOGE_LONG, stop_price=None))),
        (known(positions=(build.position(stop_price=None),)), "POSITION_UNPROTECTED"),
        None,
    ),
    (
        protection.permits_the_protection_in_force,
        known(positions=(build.position(), replace(DOGE_LONG, stop_price=D("0.19")))),
        (known(positions=(build.position(stop_price=D("146.24")),)), "PROTECTION_DIFFERS"),
        (known(positions=(build.position(target_price=None),)), "PROTECTION_DIFFERS"),
    ),
    (
        protection.permits_the_protection_in_force,
        known(positions=(build.position(venue="bybit", stop_price=D(146)),)),
        (known(positions=(build.position(target_price=D("157.51")),)), "PROTECTION_DIFFERS"),
        (known(positions=(build.position(stop_price=None),)), "POSITION_UNPROTECTED"),
    ),
    (
        protection.permits_the_protection_in_force,
        case(),
        (
            case(asked=intent(stop_loss=None), known=snapshot(positions=(build.position(),))),
            "PROTECTION_DIFFERS",
        ),
        None,
    ),
    (
        protection.permits_stops_in_the_band,
        asked(stop_loss=D("142.5")),
        (asked(stop_loss=D("142.49")), "STOP_LOSS_OUTSIDE_BAND"),
        (asked(stop_loss=None), "STOP_LOSS_MISSING"),
    ),
    (
        protection.permits_stops_in_the_band,
        asked(stop_loss=D(147)),
        (asked(stop_loss=D("147.01")), "STOP_LOSS_OUTSIDE_BAND"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        protection.permits_stops_in_the_band,
        asked(side=Side.SELL, stop_loss=D(153)),
        (asked(side=Side.SELL, stop_loss=D(147)), "STOP_LOSS_WRONG_SIDE"),
        None,
    ),
    (
        protection.permits_targets_in_the_band,
        asked(take_profit=D(156)),
        (asked(take_profit=D("155.99")), "TAKE_PROFIT_OUTSIDE_BAND"),
        (asked(take_profit=None), "TAKE_PROFIT_MISSING"),
    ),
    (
        protection.permits_targets_in_the_band,
        asked(take_profit=D("172.5")),
        (asked(take_profit=D("172.51")), "TAKE_PROFIT_OUTSIDE_BAND"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        protection.permits_targets_in_the_band,
        asked(side=Side.SELL, take_profit=D(140)),
        (asked(side=Side.SELL, take_profit=D(157)), "TAKE_PROFIT_WRONG_SIDE"),
        None,
    ),
    (
        book.permits_order_notional,
        loosely(max_position_notional=D(90)),
        (loosely(max_position_notional=D("89.99")), "ORDER_NOTIONAL"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        book.permits_order_notional,
        loosely(ask=intent(order_type=OrderType.LIMIT, price=D(140)), max_position_notional=D(90)),
        (
            loosely(ask=intent(order_type=OrderType.LIMIT, price=D("150.5")), max_position_notional=D(90)),
            "ORDER_NOTIONAL",
        ),
        None,
    ),
    (
        book.permits_position_notional,
        loosely(snapshot(positions=(build.position(),)), max_position_notional=D(180)),
        (
            loosely(snapshot(positions=(build.position(),)), max_position_notional=D("179.99")),
            "POSITION_NOTIONAL",
        ),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        # The other side of the pending book is the worse one: 1.6 short against 0.6 long.
        book.permits_position_notional,
        loosely(
            snapshot(
                pending=(build.pending(symbol="SOLUSDT", side=Side.SELL, quantity=D("1.6"), mark=D(150)),)
            ),
            max_position_notional=D(240),
        ),
        (
            loosely(
                snapshot(
                    pending=(build.pending(symbol="SOLUSDT", side=Side.SELL, quantity=D("1.6"), mark=D(150)),)
                ),
                max_position_notional=D(239),
            ),
            "POSITION_NOTIONAL",
        ),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        # The same underlying at another venue counts in full.
        book.permits_position_notional,
        loosely(snapshot(positions=(build.position(venue="bybit"),)), max_position_notional=D(180)),
        (
            loosely(
                snapshot(positions=(build.position(venue="bybit", quantity=D("-0.6"), mark=D(151)),)),
                max_position_notional=D(180),
            ),
            "POSITION_NOTIONAL",
        ),
        None,
    ),
    (
        # A pending entry above mark is counted at its own price.
        book.permits_position_notional,
        loosely(
            snapshot(pending=(build.pending(symbol="SOLUSDT", quantity=D(1), price=D(160), mark=D(150)),)),
            max_position_notional=D(256),
        ),
        (
            loosely(
                snapshot(
                    pending=(build.pending(symbol="SOLUSDT", quantity=D(1), price=D(160), mark=D(150)),)
                ),
                max_position_notional=D(255),
            ),
            "POSITION_NOTIONAL",
        ),
        None,
    ),
    (
        book.permits_symbol_share,
        loosely(max_symbol_share_ratio=D(90) / 1100 + D("1e-20")),
        (loosely(max_symbol_share_ratio=D("0.0818")), "SYMBOL_SHARE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        book.permits_symbol_share,
        case(),
        (loosely(snapshot(balance=build.balance(equity=D(0)))), "NO_EQUITY"),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (
        book.permits_leverage,
        loosely(snapshot(positions=(DOGE_LONG,), balance=build.balance(equity=D(95))), max_leverage=D(2)),
        (
            loosely(
                snapshot(positions=(DOGE_LONG,), balance=build.balance(equity=D("94.99"))), max_leverage=D(2)
            ),
            "LEVERAGE",
        ),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        book.permits_leverage,
        case(),
        (loosely(snapshot(balance=build.balance(wallet=D(1))), max_leverage=D(2)), "LEVERAGE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        book.permits_margin_use,
        loosely(snapshot(balance=build.balance(initial_margin=D("834.505"))), max_margin_ratio=D("0.8")),
        (
            loosely(snapshot(balance=build.balance(initial_margin=D("834.6"))), max_margin_ratio=D("0.8")),
            "MARGIN_USE",
        ),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (
        # 775 + 90 / 2 + 60: the leverage of a pending entry's symbol is not known, so its notional counts.
        book.permits_margin_use,
        loosely(
            snapshot(balance=build.balance(initial_margin=D("774.505")), pending=(build.pending(),)),
            max_margin_ratio=D("0.8"),
        ),
        (
            loosely(
                snapshot(balance=build.balance(initial_margin=D("774.6")), pending=(build.pending(),)),
                max_margin_ratio=D("0.8"),
            ),
            "MARGIN_USE",
        ),
        (known(setting=None), "VENUE_SETTING_UNKNOWN"),
    ),
    (
        # 805 + (90 + 60) / 2: what is pending in the symbol itself counts at its leverage.
        book.permits_margin_use,
        loosely(
            snapshot(balance=build.balance(initial_margin=D("804.505")), pending=(PENDING_HERE,)),
            max_margin_ratio=D("0.8"),
        ),
        (
            loosely(
                snapshot(
                    balance=build.balance(initial_margin=D("804.505")),
                    pending=(replace(PENDING_HERE, venue="bybit"),),
                ),
                max_margin_ratio=D("0.8"),
            ),
            "MARGIN_USE",
        ),
        None,
    ),
    (book.permits_margin_use, case(), None, (known(prices=None), "PRICE_UNKNOWN")),
    (book.permits_margin_use, case(), None, (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN")),
    (
        # R = 0.6 x (150.75 - 146.25 + 0.0005 x 297 + 0.005 x 146.25) = 3.22785
        book.permits_trade_risk,
        loosely(max_trade_risk_ratio=D("3.22786") / 1100),
        (loosely(max_trade_risk_ratio=D("3.22784") / 1100), "RISK_PER_TRADE"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        # The position adds 0.6 x (150 - 146.25 + 0.0055 x 146.25) = 2.732625
        book.permits_trade_risk,
        loosely(snapshot(positions=(build.position(),)), max_trade_risk_ratio=D("5.960476") / 1100),
        (
            loosely(snapshot(positions=(build.position(),)), max_trade_risk_ratio=D("5.960474") / 1100),
            "RISK_PER_TRADE",
        ),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        # A short position below its stop: 0.6 x (153 - 150 + 0.0055 x 153) = 2.3049
        book.permits_portfolio_risk,
        loosely(
            snapshot(positions=(build.position(symbol="XRPUSDT", quantity=D("-0.6"), stop_price=D(153)),)),
            max_portfolio_risk_ratio=D("5.53276") / 1100,
        ),
        (
            loosely(
                snapshot(
                    positions=(build.position(symbol="XRPUSDT", quantity=D("-0.6"), stop_price=D(153)),)
                ),
                max_portfolio_risk_ratio=D("5.53274") / 1100,
            ),
            "PORTFOLIO_RISK",
        ),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        # Without a verified stop the notional is the risk: 90 + 3.22785.
        book.permits_portfolio_risk,
        loosely(
            snapshot(positions=(build.position(stop_price=None),)), max_portfolio_risk_ratio=D("93.23") / 1100
        ),
        (
            loosely(
                snapshot(positions=(build.position(stop_price=None),)),
                max_portfolio_risk_ratio=D("93.22") / 1100,
            ),
            "PORTFOLIO_RISK",
        ),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        # A pending entry without a stop counts its notional at the far edge of the collar: 300 x 0.201.
        book.permits_portfolio_risk,
        loosely(
            snapshot(pending=(build.pending(stop_loss=None),)), max_portfolio_risk_ratio=D("63.53") / 1100
        ),
        (
            loosely(
                snapshot(pending=(build.pending(stop_loss=None),)), max_portfolio_risk_ratio=D("63.52") / 1100
            ),
            "PORTFOLIO_RISK",
        ),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (
        book.permits_daily_loss,
        known(anchors=build.anchors(day=D("1105.52"))),
        (known(anchors=build.anchors(day=D("1105.53"))), "DAILY_LOSS"),
        (known(anchors=build.anchors()[1:]), "EQUITY_ANCHOR_UNKNOWN"),
    ),
    (
        book.permits_daily_loss,
        known(anchors=build.anchors(week=D(1200))),
        (known(anchors=build.anchors(rolling_day=D(1106))), "DAILY_LOSS"),
        (known(anchors=build.anchors(day=D(0))), "EQUITY_ANCHOR_UNKNOWN"),
    ),
    (
        book.permits_weekly_loss,
        known(anchors=build.anchors(day=D(1200))),
        (known(anchors=build.anchors(week=D("1122.45"))), "WEEKLY_LOSS"),
        (known(balance=None), "BALANCE_UNKNOWN"),
    ),
    (
        # Loss 2.27 + R 3.22785 <= 0.5 % of 1102.27 = 5.51135
        book.permits_daily_loss_budget,
        known(anchors=build.anchors(day=D("1102.27"))),
        (known(anchors=build.anchors(day=D("1102.30"))), "DAILY_LOSS_BUDGET"),
        (known(anchors=()), "EQUITY_ANCHOR_UNKNOWN"),
    ),
    (
        book.permits_daily_loss_budget,
        case(),
        (known(positions=(build.position(stop_price=None),)), "DAILY_LOSS_BUDGET"),
        (known(prices=None), "PRICE_UNKNOWN"),
    ),
    (
        book.permits_weekly_loss_budget,
        known(anchors=build.anchors(rolling_week=D(1119))),
        (known(anchors=build.anchors(rolling_week=D(1120))), "WEEKLY_LOSS_BUDGET"),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        book.permits_position_count,
        known(positions=(DOGE_LONG, build.position())),
        (known(positions=(DOGE_LONG,), pending=(build.pending(symbol="XRPUSDT"),)), "POSITION_COUNT"),
        (known(positions=(UNPRICED,)), "BOOK_PRICE_UNKNOWN"),
    ),
    (
        book.permits_trades_per_day,
        known(entries_today=19, pending=(build.pending(intent_id=intent().intent_id),)),
        (known(entries_today=19, pending=(build.pending(),)), "TRADES_PER_DAY"),
        (known(entries_today=None), "TRADE_COUNT_UNKNOWN"),
    ),
    (
        # A partly filled entry is one of today's entries already.
        book.permits_trades_per_day,
        known(entries_today=19, pending=(build.pending(has_fills=True, stage=build.PendingStage.OPEN),)),
        (known(entries_today=20), "TRADES_PER_DAY"),
        None,
    ),
]


@pytest.mark.parametrize(
    ("rule", "inside", "outside", "unknown"),
    TRIPLES,
    ids=[f"{number}-{triple[0].__name__}" for number, triple in enumerate(TRIPLES)],
)
def test_a_rule_permits_inside_and_denies_outside_and_unknown(rule, inside, outside, unknown):
    assert rule(inside) is None
    for denied in (outside, unknown):
        if denied is not None:
            breach = rule(denied[0])
            assert breach is not None
            assert breach.code == ReasonCode(denied[1])
            assert breach.text


def test_every_rule_is_in_the_table():
    applied = {*ENTRY_RULES, *ENTRY_SIZE_RULES, *EXIT_RULES, *EXIT_SIZE_RULES, *LIMIT_RULES, *SIZE_RULES}
    tested = {triple[0] for triple in TRIPLES}
    assert applied <= tested
    assert set(BOOK_RULES).isdisjoint({*EXIT_RULES, *EXIT_SIZE_RULES})


def test_rules_about_the_grid_leave_an_unknown_instrument_to_its_own_rule():
    unknown = known(instrument=None)
    assert request.permits_whole_lots(unknown) is None
    assert request.permits_prices_on_the_tick(unknown) is None
    assert smallest_legal_quantity(unknown) is None


def test_a_rule_says_what_it_does():
    for rule in {triple[0] for triple in TRIPLES}:
        assert rule.__name__.startswith("permits_")
        assert rule.__doc__


def test_every_code_is_described_once_and_in_the_documented_order():
    assert list(DESCRIPTIONS) == list(ReasonCode)
    assert [code.rank for code in ReasonCode] == list(range(len(ReasonCode)))


BAD = [D("NaN"), D("Infinity"), D(-1), D(0)]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    "damaged",
    [
        lambda bad: snapshot(prices=build.prices(bid=bad)),
        lambda bad: snapshot(instrument=build.instrument(lot_size=bad)),
        lambda bad: snapshot(positions=(build.position(mark=bad),)),
        lambda bad: snapshot(positions=(build.position(stop_price=bad),)),
        lambda bad: snapshot(positions=(build.position(target_price=bad),)),
        lambda bad: snapshot(pending=(build.pending(quantity=bad),)),
        lambda bad: snapshot(pending=(build.pending(price=bad),)),
        lambda bad: snapshot(pending=(build.pending(stop_loss=bad),)),
    ],
)
def test_a_fact_that_is_no_positive_number_is_invalid(damaged, bad):
    breach = permits_real_facts(damaged(bad))
    assert breach is not None
    assert breach.code is ReasonCode.FACT_INVALID


@pytest.mark.parametrize("bad", BAD[:2])
@pytest.mark.parametrize(
    "damaged",
    [
        lambda bad: snapshot(balance=build.balance(equity=bad)),
        lambda bad: snapshot(anchors=build.anchors(day=bad)),
        lambda bad: snapshot(positions=(build.position(quantity=bad),)),
        lambda bad: snapshot(instrument=build.instrument(min_price=bad)),
        lambda bad: snapshot(setting=build.setting(max_stop_ratio=bad)),
    ],
)
def test_a_signed_fact_that_is_not_finite_is_invalid(damaged, bad):
    breach = permits_real_facts(damaged(bad))
    assert breach is not None
    assert breach.code is ReasonCode.FACT_INVALID


def test_facts_that_are_not_known_are_not_invalid():
    nothing = snapshot(instrument=None, prices=None, balance=None, anchors=(), positions=(UNPRICED,))
    assert permits_real_facts(nothing) is None
    assert permits_real_facts(snapshot(balance=build.balance(equity=D(-5)))) is None


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("field", ["max_leverage", "max_position_notional", "min_stop_ratio"])
def test_a_limit_that_is_no_positive_number_is_invalid(field, bad):
    breach = permits_real_limits(limits(**{field: bad}))
    assert breach is not None
    assert breach.code is ReasonCode.LIMITS_INVALID


def test_fees_may_be_zero_and_ages_and_counts_may_not():
    assert permits_real_limits(limits(taker_fee_ratio=D(0), major_slippage_ratio=D(0))) is None
    assert permits_real_limits(limits(max_price_age=timedelta(0))) is not None
    assert permits_real_limits(limits(max_positions=0)) is not None


def test_bitcoin_and_ether_have_the_smaller_slippage_allowance():
    asked_for = intent(symbol="BTCUSDT", quantity=D(1), stop_loss=D(147))
    risk = book.permits_trade_risk(case(asked=asked_for, limited=limits(max_trade_risk_ratio=D("1e-9"))))
    # 150.75 - 147 + 0.0005 x 297.75 + 0.002 x 147 = 4.192875, over 1100
    assert risk is not None
    assert risk.measured == "0.003812"


def test_numbers_are_shown_plainly():
    assert plain(D("100.500")) == "100.5"
    assert plain(D("1E+3")) == "1000"
    assert plain(D("NaN")) == "NaN"
    assert plain(timedelta(seconds=61.5)) == "61.500 s"
    assert ratio(D(1), D(0)) == 0


def test_whole_numbers_that_are_no_decimals_are_numbers():
    assert permits_real_facts(snapshot(balance=build.balance(equity=1100))) is None


def test_a_state_of_a_scope_that_does_not_bind_the_order_is_no_matter():
    foreign = ScopeState(scope="symbol:XRPUSDT", state=HALTED, row_id=9, version=1)
    assert permission.permits_active_scopes(known(states=(*build.states(), foreign))) is None
    assert permission.permits_active_scopes(known(states=(foreign, *build.states()[1:]))) is not None


def test_limits_are_proven_once_and_a_changed_copy_is_not():
    proven = limits()
    assert not proven.is_proven
    assert permits_real_limits(proven) is None
    assert proven.is_proven
    assert proven == limits()
    changed = replace(proven, max_leverage=D("NaN"))
    assert not changed.is_proven
    assert permits_real_limits(changed) is not None
    assert not changed.is_proven
