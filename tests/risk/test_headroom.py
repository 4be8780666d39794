"""Headroom by the gate's own measures: closed names, and what is not known is said to be."""

from decimal import Decimal

import pytest

from risk import headroom, models
from risk.allotments import divide_exposure
from risk.headroom import NAMES, HeadroomRow, measure_headroom
from tests.risk import desk
from tests.risk.test_judgement import judge, stop_of
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal


def rows_of(account: facts.Account) -> dict[str, HeadroomRow]:
    return {row.name: row for row in measure_headroom(account, get_clocks())}


def test_every_row_is_of_the_closed_set_and_an_empty_book_uses_nothing():
    rows = rows_of(desk.make_desk())
    assert tuple(rows) == NAMES
    assert {row.measured for row in rows.values()} == {D(0)}


def test_what_is_held_and_what_may_still_fill_count_together():
    account = desk.make_desk()
    stop_of(desk.hold(account))
    assert judge(desk.ask_doge(account)).allowed
    divide_exposure()
    rows = rows_of(account)
    assert rows["gross_exposure"].measured == rows["net_exposure"].measured == 45 + 20
    assert rows["firm_exposure"].measured == rows["venue_exposure"].measured == 65
    assert rows["symbol_exposure"].measured == rows["strategy_exposure"].measured == 45
    assert rows["symbol_exposure"].title == "Part of a symbol (SOLUSDT)"
    assert rows["leverage"].measured == D(65) / 1100
    assert rows["stressed_loss"].measured == D(65) * D("0.25") / 1100
    assert rows["positions"].measured == 2
    # The stop of SOL is 3 below mark with 0.55 % of costs; DOGE's is 3 % below the collar's edge.
    held = D("0.3") * (3 + D(147) * D("0.0055"))
    asked = 100 * (D("0.201") - D("0.195") + D("0.0005") * D("0.396") + D("0.005") * D("0.195"))
    assert rows["portfolio_risk"].measured == (held + asked) / 1100
    # Nothing is known of their correlation: they are one bet.
    assert rows["bet_risk"].measured == rows["portfolio_risk"].measured


def test_symbols_that_do_not_move_together_are_bets_of_their_own():
    account = desk.make_desk()
    stop_of(desk.hold(account))
    assert judge(desk.ask_doge(account)).allowed
    models.Correlation.objects.create(
        first="DOGEUSDT", second="SOLUSDT", value=D("0.2"), samples=700, computed_at=get_clocks().market_at
    )
    rows = rows_of(account)
    assert rows["bet_risk"].measured == D("0.3") * (3 + D(147) * D("0.0055")) / 1100


def test_a_book_without_a_price_is_not_known_and_no_part_allows_nothing():
    account = desk.make_desk()
    desk.hold(account)
    facts.MarketPrice.objects.filter(symbol="SOLUSDT").delete()
    rows = rows_of(account)
    for name in (
        "largest_position",
        "gross_exposure",
        "net_exposure",
        "leverage",
        "bet_risk",
        "firm_exposure",
    ):
        assert rows[name].measured is None
        assert rows[name].tone == "bad"
    models.Allotment.objects.filter(scope="all").delete()
    assert rows_of(account)["firm_exposure"].limit == 0


def test_without_a_permit_there_is_nothing_to_use():
    account = desk.make_desk()
    facts.Permit.objects.update(active=False)
    assert headroom.measure_headroom(account, get_clocks()) == []
