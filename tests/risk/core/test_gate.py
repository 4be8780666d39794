"""The gate as a whole: plain examples, and properties that no example can hold up."""

from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.core.gate import bisect_lots, decide, max_entry_quantity
from risk.core.reasons import ReasonCode
from risk.core.rules.case import LimitedCase, smallest_legal_quantity, with_quantity
from risk.core.rules.excess import EXCESSES
from risk.core.rules.registry import BOOK_RULES, ENTRY_SIZE_RULES, SIZE_RULES
from risk.core.values import AnchorName, CorrelationFacts, Decision, Limits, ScopeState, Snapshot
from tests.risk import build
from tests.risk.build import exit_intent, intent, limits, loose_limits, position, snapshot
from trading.core.values import OrderPurpose, OrderType, Side, TradingStateName

D = Decimal


def codes(decision: Decision) -> list[str]:
    return [breach.code.value for breach in decision.breaches]


# Plain examples ------------------------------------------------------------------------------------


def test_a_plain_entry_is_allowed_and_every_rule_is_recorded():
    decision = decide(intent(), snapshot(), limits())

    assert decision.allowed
    assert decision.reason == "none"
    assert decision.breaches == ()
    assert decision.max_quantity == D("0.66")
    assert {outcome.code for outcome in decision.outcomes} == {"none"}
    assert len(decision.outcomes) > 60


def test_a_short_limit_entry_beside_another_position_is_allowed():
    doge = build.position(
        symbol="DOGEUSDT", strategy="reversion", quantity=D(100), mark=D("0.2"), stop_price=D("0.196")
    )
    asked = intent(
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        price=D(151),
        stop_loss=D("154.5"),
        take_profit=D(144),
        quantity=D("0.5"),
    )
    assert decide(asked, snapshot(positions=(doge,)), limits()).allowed


def test_an_exit_of_the_whole_position_is_allowed_without_anything_known_but_states_and_position():
    bare = snapshot(
        permit=None,
        allowed_symbols=None,
        instrument=None,
        setting=None,
        prices=None,
        balance=None,
        anchors=(),
        positions=(position(mark=None, mark_at=None),),
        entries_today=None,
        reconciliation=None,
        global_risk=None,
        messages_last_minute=None,
        conditional_orders=None,
        activity=None,
        allotments=(),
        states=build.states(all=TradingStateName.REDUCING),
    )
    decision = decide(exit_intent(), bare, None)
    assert decision.allowed
    assert decision.max_quantity == D("0.6")


def test_every_breach_is_reported_once_and_in_the_documented_order():
    decision = decide(
        intent(quantity=D("1.005"), stop_loss=None, take_profit=None),
        snapshot(permit=None, states=()),
        limits(),
    )
    assert (
        codes(decision)
        == [
            "STATE_HALTED",
            "PERMIT_MISSING",
            "TICK_SIZE",
            "LOT_SIZE",
            "STOP_LOSS_MISSING",
            "TAKE_PROFIT_MISSING",
            "ORDER_NOTIONAL",
            "POSITION_NOTIONAL",
            "RISK_PER_TRADE",
            "PORTFOLIO_RISK",
            "DAILY_LOSS_BUDGET",
            "WEEKLY_LOSS_BUDGET",
        ][:2]
        + codes(decision)[2:]
    )
    assert codes(decision) == sorted(codes(decision), key=lambda code: ReasonCode(code).rank)
    assert len(set(codes(decision))) == len(codes(decision))
    assert decision.reason == "STATE_HALTED"
    assert decision.max_quantity == 0


def test_the_smallest_applicable_limit_binds_and_sizes_the_order():
    # 5.5 USDT of loss budget / 5.37975 R a unit = 1.0223 SOL, were the position not capped.
    asked = intent(quantity=D("1.03"))
    decision = decide(asked, snapshot(), limits(max_position_notional=D(1000), max_symbol_share_ratio=D(1)))
    assert codes(decision) == ["DAILY_LOSS_BUDGET"]
    assert decision.max_quantity == D("1.02")


def test_five_million_through_a_cap_of_two_is_denied_with_its_own_codes():
    asked = intent(quantity=D(33_334))
    caps = loose_limits(max_position_notional=D(2_000_000))
    decision = decide(asked, snapshot(), caps)
    assert codes(decision) == ["ORDER_NOTIONAL", "POSITION_NOTIONAL"]
    assert decision.max_quantity == D("13333.33")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prices": None}, "PRICE_UNKNOWN"),
        ({"account_environment": None}, "ACCOUNT_UNKNOWN"),
        ({"balance": build.balance(equity=D(0))}, "NO_EQUITY"),
        ({"balance": build.balance(equity=D("NaN"))}, "FACT_INVALID"),
    ],
)
def test_what_is_missing_or_no_number_is_denied_with_its_own_code(changes, code):
    decision = decide(intent(), snapshot(**changes), loose_limits())
    assert not decision.allowed
    assert code in codes(decision)


def test_a_negative_leverage_and_an_unknown_limit_set_are_denied():
    assert codes(decide(intent(), snapshot(), limits(max_leverage=D(-2)))) == ["LIMITS_INVALID"]
    assert codes(decide(intent(), snapshot(), None)) == ["LIMITS_UNKNOWN"]
    assert codes(decide(intent(), snapshot(permit=None), None)) == ["PERMIT_MISSING", "LIMITS_UNKNOWN"]
    assert codes(decide(intent(quantity=D("NaN")), snapshot(), limits())) == ["INTENT_INVALID"]


def test_bitcoin_at_micro_has_no_legal_size():
    asked = intent(symbol="BTCUSDT", quantity=D("0.001"), stop_loss=D(97_500), take_profit=D(105_000))
    known = snapshot(
        instrument=build.bitcoin(),
        prices=build.prices(100_001),
        allowed_symbols=("BTCUSDT",),
        states=(
            *build.states(),
            ScopeState(scope="symbol:BTCUSDT", state=TradingStateName.ACTIVE, row_id=9, version=1),
        ),
    )
    decision = decide(asked, known, limits())
    assert decision.reason == "INSTRUMENT_UNTRADABLE"
    assert decision.max_quantity == 0
    assert decide(asked, known, limits(max_position_notional=D(101))).reason != "INSTRUMENT_UNTRADABLE"


def test_an_exit_survives_filters_that_are_no_numbers_but_not_a_position_that_is_none():
    broken = build.instrument(lot_size=D(0))
    known = snapshot(positions=(position(),), instrument=broken)
    assert decide(exit_intent(), known, None).allowed
    lost = snapshot(positions=(position(quantity=D("NaN")),))
    assert codes(decide(exit_intent(), lost, None)) == ["FACT_INVALID"]


def test_an_exit_that_is_not_one_has_no_quantity():
    decision = decide(exit_intent(), snapshot(), None)
    assert codes(decision) == ["NOT_REDUCING"]
    assert decision.max_quantity == 0
    halted = snapshot(positions=(position(),), states=())
    assert decide(exit_intent(), halted, None).max_quantity == 0


def test_an_exit_may_leave_less_than_a_lot_behind():
    known = snapshot(positions=(position(quantity=D("0.605")),))
    decision = decide(exit_intent(quantity=D("0.6")), known, None)
    assert decision.allowed
    assert decision.max_quantity == D("0.6")


def test_no_quantity_fits_where_even_the_smallest_is_too_much():
    tight = limits(max_daily_loss_ratio=D("0.0001"))
    decision = decide(intent(), snapshot(), tight)
    assert codes(decision) == ["DAILY_LOSS_BUDGET"]
    assert decision.max_quantity == 0


# Resizing ------------------------------------------------------------------------------------------


def test_an_order_that_is_only_too_large_is_resized_where_it_may_be_and_says_so():
    asked = intent(quantity=D("5.007"), may_resize=True)
    decision = decide(asked, snapshot(), limits())
    assert decision.allowed
    assert decision.breaches == ()
    assert decision.quantity == decision.max_quantity == D("0.66")
    refused = decide(replace(asked, may_resize=False), snapshot(), limits())
    assert not refused.allowed
    assert refused.quantity == D("5.007")
    assert decision.resized_for == refused.breaches != ()


def test_a_quantity_between_lots_is_rounded_down_and_never_up():
    assert decide(intent(quantity=D("0.605"), may_resize=True), snapshot(), limits()).quantity == D("0.6")
    assert not decide(intent(quantity=D("0.005"), may_resize=True), snapshot(), limits()).allowed


@pytest.mark.parametrize(
    "changes",
    [{"permit": None}, {"prices": None}, {"states": ()}, {"activity": None}, {"reconciliation": None}],
)
def test_nothing_but_size_is_mended_by_resizing(changes):
    decision = decide(intent(quantity=D(5), may_resize=True), snapshot(**changes), limits())
    assert not decision.allowed
    assert decision.quantity == 5
    assert decision.resized_for == ()


# Properties ----------------------------------------------------------------------------------------

MONEY = st.decimals(min_value=1, max_value=5000, places=2)
SMALL = st.decimals(min_value="0.01", max_value=2, places=2)


ALLOTTED = st.sampled_from([D(10**9), D(250), D(60)])
SYMBOLS = ("DOGEUSDT", "SOLUSDT", "XRPUSDT")


def correlations() -> Any:
    """Some pairs known, some not."""
    pairs = [(first, second) for first in SYMBOLS for second in SYMBOLS if first < second]
    known = st.sampled_from([None, D("0.2"), D("-0.9"), D("0.69"), D("0.95")])
    return st.tuples(*(known for _ in pairs)).map(
        lambda values: tuple(
            CorrelationFacts(first=first, second=second, value=value)
            for (first, second), value in zip(pairs, values, strict=True)
            if value is not None
        )
    )


@st.composite
def books(draw: Any) -> Snapshot:
    """Plausible books: some allow, some do not."""
    held = draw(
        st.lists(
            st.builds(
                position,
                symbol=st.sampled_from(["SOLUSDT", "DOGEUSDT", "XRPUSDT"]),
                quantity=SMALL,
                stop_price=st.sampled_from([None, D("146.25"), D(149)]),
                mark=st.sampled_from([D(150), D("150.5")]),
            ),
            max_size=2,
            unique_by=lambda item: item.symbol,
        )
    )
    waiting = draw(
        st.lists(
            st.builds(
                build.pending,
                symbol=st.sampled_from(["DOGEUSDT", "XRPUSDT"]),
                side=st.sampled_from(Side),
                quantity=st.decimals(min_value=1, max_value=400, places=0),
            ),
            max_size=1,
        )
    )
    equity = draw(st.decimals(min_value=200, max_value=3000, places=2))
    lost = draw(st.decimals(min_value=0, max_value=8, places=2))
    return snapshot(
        positions=tuple(held),
        pending=tuple(waiting),
        balance=build.balance(wallet=equity, equity=equity, initial_margin=draw(st.integers(0, 150).map(D))),
        anchors=build.anchors(**{name.value: equity + lost for name in AnchorName}),
        entries_today=draw(st.integers(0, 20)),
        correlations=draw(correlations()),
        allotments=build.allotments(all=draw(ALLOTTED), strategy=draw(ALLOTTED)),
        prices=build.prices(
            ask_quantity=draw(st.sampled_from([D(1000), D("0.1")])),
            funding_at=build.MARKET_AT + timedelta(minutes=draw(st.integers(1, 60))),
        ),
    )


ENTRIES = st.builds(
    lambda quantity, side: intent(
        quantity=quantity,
        side=side,
        stop_loss=D("146.25") if side is Side.BUY else D("153.75"),
        take_profit=D("157.5") if side is Side.BUY else D("142.5"),
    ),
    quantity=SMALL,
    side=st.sampled_from([Side.BUY, Side.BUY, Side.SELL]),
)

# How each limit is made tighter. Costs tighten upwards.
TIGHTEN_DOWN = [
    field.name
    for field in fields(Limits)
    if field.name.startswith("max_")
    or field.name in {"reference_capital", "collar_ratio", "passive_collar_ratio", "bet_correlation"}
]
TIGHTEN_UP = [
    "min_stop_ratio",
    "min_target_ratio",
    "taker_fee_ratio",
    "other_slippage_ratio",
    "other_gap_ratio",
    "funding_window",
    "delisting_window",
]


def tighten(name: str, base: Limits, share: Decimal) -> Limits:
    value = getattr(base, name)
    if name in TIGHTEN_UP and isinstance(value, timedelta):
        return replace(base, **{name: value * float(1 + share)})
    if name in TIGHTEN_UP:
        return replace(base, **{name: value * (1 + share)})
    if isinstance(value, int):
        return replace(base, **{name: max(1, int(value * (1 - share)))})
    if isinstance(value, timedelta):
        return replace(base, **{name: value * float(1 - share)})
    return replace(base, **{name: value * (1 - share)})


@given(
    asked=ENTRIES,
    known=books(),
    name=st.sampled_from([*TIGHTEN_DOWN, *TIGHTEN_UP]),
    share=st.decimals(min_value="0.01", max_value="0.95", places=2),
)
def test_tightening_any_limit_never_turns_a_denial_into_an_approval(asked, known, name, share):
    # A tighter collar also moves the far edge at which market orders are assumed to fill (RISK.md,
    # P_in) towards mark. Only orders with a price of their own see it as a limit and nothing else.
    base = limits()
    if name == "collar_ratio":
        asked = replace(asked, order_type=OrderType.LIMIT, price=D(150))
        known = replace(known, pending=())
    before, after = decide(asked, known, base), decide(asked, known, tighten(name, base, share))
    assert before.allowed or not after.allowed
    assert after.max_quantity <= before.max_quantity


@given(
    asked=ENTRIES,
    known=books(),
    kind=st.sampled_from(["all", "venue", "account", "strategy", "symbol"]),
    state=st.sampled_from([TradingStateName.HALTED, TradingStateName.REDUCING]),
)
def test_halted_and_reducing_deny_whatever_adds_on_every_scope(asked, known, kind, state):
    stopped = replace(known, states=build.states(**{kind: state}))
    decision = decide(asked, stopped, loose_limits())
    assert not decision.allowed
    assert decision.max_quantity == 0


FACTS = {
    "account_environment": None,
    "permit": None,
    "allowed_symbols": None,
    "instrument": None,
    "setting": None,
    "prices": None,
    "balance": None,
    "anchors": (),
    "entries_today": None,
    "messages_last_minute": None,
    "conditional_orders": None,
    "activity": None,
    "allotments": (),
    "reconciliation": None,
    "global_risk": None,
    "states": (),
}


@given(asked=ENTRIES, known=books(), name=st.sampled_from(sorted(FACTS)))
def test_any_single_missing_fact_denies_what_adds_risk(asked, known, name):
    assert not decide(asked, replace(known, **{name: FACTS[name]}), loose_limits()).allowed


def test_each_missing_fact_alone_is_what_denies():
    """So that the property above is not satisfied by something else."""
    assert decide(intent(), snapshot(), loose_limits()).allowed
    for name, nothing in FACTS.items():
        assert not decide(intent(), snapshot(**{name: nothing}), loose_limits()).allowed, name
    for anchor in AnchorName:
        others = tuple(item for item in build.anchors() if item.name is not anchor)
        assert not decide(intent(), snapshot(anchors=others), loose_limits()).allowed
    for scope in build.states():
        others = tuple(item for item in build.states() if item != scope)
        assert not decide(intent(), snapshot(states=others), loose_limits()).allowed
    for held in (
        position(symbol="XRPUSDT", mark=None),
        position(symbol="XRPUSDT", mark_at=None),
    ):
        assert not decide(intent(), snapshot(positions=(held,)), loose_limits()).allowed


@given(
    quantity=SMALL,
    position_quantity=SMALL,
    is_short=st.booleans(),
    purpose=st.sampled_from([OrderPurpose.EXIT, OrderPurpose.FLATTEN, OrderPurpose.SAFETY_CLOSE]),
    known=books(),
    state=st.sampled_from([TradingStateName.ACTIVE, TradingStateName.REDUCING]),
    missing=st.sets(st.sampled_from(sorted(set(FACTS) - {"account_environment", "states"}))),
)
def test_a_strictly_reducing_order_is_never_denied_by_the_book(
    quantity, position_quantity, is_short, purpose, known, state, missing
):
    size = max(quantity, position_quantity)
    held = position(quantity=-size if is_short else size)
    others = tuple(item for item in known.positions if item.symbol != "SOLUSDT")
    known = replace(
        known,
        positions=(held, *others),
        states=build.states(account=state),
        **{name: FACTS[name] for name in missing},
    )
    asked = exit_intent(
        quantity=min(quantity, position_quantity), side=Side.BUY if is_short else Side.SELL, purpose=purpose
    )
    decision = decide(asked, known, limits(max_daily_loss_ratio=D("0.0000001")))
    assert decision.allowed
    assert decision.max_quantity == size


def test_no_exit_is_ever_asked_a_rule_of_the_book():
    outcomes = decide(exit_intent(), snapshot(positions=(position(),)), limits()).outcomes
    assert {outcome.rule for outcome in outcomes}.isdisjoint({rule.__name__ for rule in BOOK_RULES})


@given(asked=ENTRIES, known=books())
def test_the_same_inputs_give_the_same_answer(asked, known):
    assert decide(asked, known, limits()) == decide(asked, known, limits())


LADDER = st.sampled_from(
    [
        limits(),
        limits(max_position_notional=D(500), reference_capital=D(3500), max_leverage=D(5)),
        loose_limits(max_trade_risk_ratio=D("0.003")),
        loose_limits(max_margin_ratio=D("0.1")),
        loose_limits(max_weekly_loss_ratio=D("0.009"), max_position_notional=D(777)),
    ]
)


@given(asked=ENTRIES, known=books(), caps=LADDER)
def test_the_largest_quantity_is_allowed_and_one_lot_more_is_denied(asked, known, caps):
    decision = decide(asked, known, caps)
    most = decision.max_quantity
    lot = D("0.01")
    assert most % lot == 0
    if decision.allowed:
        assert most >= asked.quantity
    if most > 0:
        assert decide(replace(asked, quantity=most), known, caps).allowed
    assert not decide(replace(asked, quantity=most + lot), known, caps).allowed


# What may bind, alone or together with others.
CAPS = {
    "max_position_notional": st.integers(5, 2000).map(D),
    "max_symbol_share_ratio": st.decimals("0.01", "1", places=3),
    "max_leverage": st.decimals("0.02", "2", places=2),
    "max_gross_exposure": st.integers(5, 3000).map(D),
    "max_net_exposure": st.integers(5, 3000).map(D),
    "max_margin_ratio": st.decimals("0.01", "0.9", places=3),
    "max_depth_share_ratio": st.decimals("0.1", "5", places=1),
    "max_trade_risk_ratio": st.decimals("0.0002", "0.03", places=4),
    "max_portfolio_risk_ratio": st.decimals("0.0002", "0.1", places=4),
    "max_bet_risk_ratio": st.decimals("0.0002", "0.03", places=4),
    "max_capital_loss_ratio": st.decimals("0.005", "0.5", places=3),
    "max_daily_loss_ratio": st.decimals("0.0005", "0.05", places=4),
    "max_weekly_loss_ratio": st.decimals("0.0005", "0.05", places=4),
}
DESKS = st.lists(st.sampled_from(sorted(CAPS)), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: CAPS[name] for name in names})
)
LOTS = st.sampled_from([D("0.01"), D("0.03"), D("0.001"), D(1)])
BOUNDS = st.sampled_from([D(1_000_000), D("1.37"), D(40)])


def halve(case: LimitedCase) -> Decimal:
    """The largest quantity by every size rule and nothing but halving."""
    instrument, price, least = case.snapshot.instrument, case.count_price, smallest_legal_quantity(case)
    lot, rules = instrument.lot_size, (*ENTRY_SIZE_RULES, *SIZE_RULES)
    low = int(least / lot)
    high = int(min(instrument.max_quantity, case.limits.max_position_notional / price) / lot)
    allows = [not any(rule(with_quantity(case, lots * lot)) for rule in rules) for lots in (low, high)]
    if high < low or allows == [False, False]:
        return D(0)
    return (high if allows[1] else bisect_lots(case, rules, low, high)) * lot


@given(asked=ENTRIES, known=books(), caps=DESKS, lot=LOTS, bound=BOUNDS)
def test_the_straight_line_finds_what_halving_finds(asked, known, caps, lot, bound):
    instrument = build.instrument(lot_size=lot, max_market_quantity=bound)
    case = build.case(asked, replace(known, instrument=instrument), loose_limits(**caps))
    assert max_entry_quantity(case) == halve(case)


def test_an_order_of_the_largest_position_has_no_line_and_is_halved():
    caps = loose_limits(max_position_notional=D(150), max_portfolio_risk_ratio=D("0.003"))
    case = build.case(intent(quantity=D(1)), snapshot(), caps)
    assert max_entry_quantity(case) == halve(case) == D("0.61")


def test_no_quantity_lies_between_a_large_minimum_and_a_small_position():
    assert max_entry_quantity(build.case(limited=limits(max_position_notional=D(1)))) == 0


def test_an_order_far_above_every_limit_finds_the_largest_one_too():
    caps = loose_limits(max_position_notional=D(9000), max_portfolio_risk_ratio=D("0.003"))
    case = build.case(intent(quantity=D(5000)), snapshot(), caps)
    assert max_entry_quantity(case) == halve(case) == D("0.61")


def test_every_limit_of_size_has_its_straight_line():
    """Else the answer stays right, but is slow to come."""
    assert set(SIZE_RULES) <= EXCESSES.keys()


def test_the_kink_between_two_sides_does_not_mislead_the_straight_line():
    # Shorts of 30 wait; the asked 0.1 adds nothing to the worst side until it overtakes them.
    waiting = build.pending(symbol="SOLUSDT", side=Side.SELL, quantity=D(30), price=D(150), mark=D(150))
    case = build.case(
        intent(quantity=D("0.1")),
        snapshot(pending=(replace(waiting, strategy="trend"),)),
        loose_limits(max_gross_exposure=D(7000), max_position_notional=D(90_000)),
    )
    assert max_entry_quantity(case) == halve(case) == D("46.66")


@given(known=books(), caps=LADDER)
def test_a_smaller_legal_quantity_than_the_largest_is_allowed_too(known, caps):
    most = decide(intent(), known, caps).max_quantity
    smallest = D("0.04")
    if most > smallest:
        middle = ((most + smallest) / 2 // D("0.01")) * D("0.01")
        assert decide(intent(quantity=middle), known, caps).allowed


def test_the_largest_quantity_of_what_is_not_known_is_none():
    assert max_entry_quantity(build.case(known=snapshot(instrument=None))) == 0
    assert max_entry_quantity(build.case(known=snapshot(prices=None))) == 0
