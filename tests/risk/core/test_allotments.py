"""Dividing a limit: never more than there is, never less than is in use where that fits."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from risk.core.allotments import GRAIN, divide, measure_usage
from tests.risk import build
from trading.core.values import Side

D = Decimal
names = st.sampled_from([f"a{number}" for number in range(8)])
amounts = st.decimals(min_value=0, max_value=10**7, places=8, allow_nan=False)
usages = st.dictionaries(names, amounts, max_size=8)
limits = st.decimals(min_value=D("0.01"), max_value=10**7, places=2, allow_nan=False)


@given(limits, usages, st.sets(names))
def test_the_parts_together_never_exceed_the_limit_and_none_is_negative(limit, usage, sharing):
    parts = divide(limit, usage, sharing)
    assert parts.keys() == usage.keys()
    assert sum(parts.values(), D(0)) <= limit
    assert all(part >= 0 for part in parts.values())


@given(limits, usages, st.sets(names))
def test_what_is_in_use_stays_where_it_fits_and_shrinks_for_all_where_it_does_not(limit, usage, sharing):
    parts, used = divide(limit, usage, sharing), sum(usage.values(), D(0))
    for name, part in parts.items():
        if used <= limit:
            assert part >= usage[name]
            assert name in sharing or part == usage[name]
        else:
            assert part <= usage[name]


@given(limits, usages)
def test_what_is_free_is_divided_equally_and_nothing_but_grains_is_lost(limit, usage):
    parts = divide(limit, usage, usage.keys())
    if usage and sum(usage.values(), D(0)) <= limit:
        assert len({parts[name] - usage[name] for name in usage}) == 1
        assert limit - sum(parts.values(), D(0)) < GRAIN * (len(usage) + 1)


def test_one_account_gets_the_whole():
    assert divide(D(200), {"a": D(0)}, {"a"}) == {"a": D(200)}
    assert divide(D(200), {"a": D(150)}, {"a"}) == {"a": D(200)}


def test_an_account_that_may_not_add_keeps_what_it_uses_and_takes_it_from_the_others():
    assert divide(D(100), {"a": D(10), "b": D(40), "c": D(0)}, {"a", "c"}) == {
        "a": D(35),
        "b": D(40),
        "c": D(25),
    }


def test_too_much_in_use_shrinks_in_proportion():
    assert divide(D(50), {"a": D(25), "b": D(75)}, {"a", "b"}) == {"a": D("12.5"), "b": D("37.5")}


def test_usage_is_the_worst_notional_by_scope():
    sold = build.pending(symbol="SOLUSDT", side=Side.SELL, quantity=D(2), price=D(160), mark=D(150))
    usage = measure_usage([build.position(), build.pending(), sold])
    # SOL: 0.6 held and 2 for sale count as the larger side, at the higher price.
    assert usage == {
        "all": D(60) + D("1.4") * 160,
        "venue:binanceusdm": D(60) + D("1.4") * 160,
        "symbol:SOLUSDT": D("1.4") * 160,
        "symbol:DOGEUSDT": D(60),
        "strategy:trend": D("1.4") * 160,
        "strategy:reversion": D(60) + D("1.4") * 160,
    }


def test_without_a_mark_usage_is_not_known_and_an_empty_book_uses_nothing():
    assert measure_usage([build.position(mark=None)]) is None
    assert measure_usage([]) == {"all": D(0)}
