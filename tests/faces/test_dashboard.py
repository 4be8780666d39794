"""What the first page says: the verdict, the size, and everything that is wrong."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from controlplane.alerts.services import raise_alert
from controlplane.audit.sealing import seal_streams
from controlplane.dashboard.page import gather_page
from controlplane.dashboard.words import age_text
from golive.models import PreflightRun
from risk.models import GlobalRisk, StopEvent
from tests import factories
from trading.models import CycleRun, Heartbeat, MarketPrice, Order, ReconciliationRun, TradingState


@pytest.fixture
def good_desk(desk):
    """A desk with nothing wrong at all."""
    PreflightRun.objects.create(
        purpose="golive",
        actor="system:test",
        environment="paper",
        code_version="x",
        is_complete=True,
        finished_at=timezone.now(),
        is_passed=True,
        passed_count=6,
    )
    seal_streams(now=timezone.now())
    # The sealer's settings last for its transaction, which here is the whole test's.
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL intervalstyle = 'postgres'")
    return desk


def texts(page):
    return [trouble.text for trouble in page.troubles]


def test_a_desk_in_order_has_nothing_wrong(good_desk):
    page = gather_page()
    assert texts(page) == []
    assert (page.verdict.tone, page.verdict.headline) == ("good", "Trading on paper")
    (account,) = page.accounts
    assert (account.facts.permit.profile, account.facts.equity) == ("MICRO", Decimal(1100))
    assert (account.facts.exposure, account.facts.protected_count) == (Decimal(75), 1)


def halt(desk):
    TradingState.objects.filter(scope="all").update(state="HALTED", reason="stopped by hand", version=2)


def reduce_account(desk):
    TradingState.objects.filter(scope="account:paper-main").update(state="REDUCING", reason="x", version=2)


def lose_state(desk):
    TradingState.objects.filter(scope="all").delete()


def halt_symbol(desk):
    TradingState.objects.filter(scope="symbol:ETHUSDT").update(state="HALTED", version=2)


def end_permit(desk):
    desk.account.permits.update(active=False)


def end_lease(desk):
    desk.account.permits.update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def unprotect(desk):
    Order.objects.filter(purpose="stop_loss").update(state="cancelled")


def unverify(desk):
    Order.objects.filter(purpose="stop_loss").update(verified_at=None)


def silence_worker(desk):
    Heartbeat.objects.filter(name="worker").update(beat_at=timezone.now() - timedelta(minutes=2))


def lose_guard(desk):
    Heartbeat.objects.filter(name="guard:sweep").delete()


def old_book(desk):
    ReconciliationRun.objects.update(finished_at=timezone.now() - timedelta(minutes=5))


def no_book(desk):
    ReconciliationRun.objects.all().delete()


def different_book(desk):
    ReconciliationRun.objects.update(is_clean=False, differences=[{"kind": "position", "symbol": "ETHUSDT"}])


def old_price(desk):
    MarketPrice.objects.filter(symbol="BTCUSDT").update(read_at=timezone.now() - timedelta(minutes=5))


def frozen_price(desk):
    MarketPrice.objects.filter(symbol="BTCUSDT").update(at=timezone.now() - timedelta(minutes=5))


def no_price(desk):
    MarketPrice.objects.filter(symbol="BTCUSDT").delete()


def critical_risk(desk):
    GlobalRisk.objects.update(level="CRITICAL", reasons=["drawdown"])


def warned_risk(desk):
    GlobalRisk.objects.update(level="WARNING", reasons=["drawdown"])


def old_risk(desk):
    GlobalRisk.objects.update(checked_at=timezone.now() - timedelta(minutes=5))


def no_risk(desk):
    GlobalRisk.objects.all().delete()


def unknown_order(desk):
    Order.objects.filter(purpose="take_profit").update(
        state="unknown", sent_at=timezone.now() - timedelta(minutes=1)
    )


def failed_cycle(desk):
    CycleRun.objects.create(
        account=desk.account, bar_at=timezone.now(), state="failed", detail={"error": "venue away"}
    )


def failed_preflight(desk):
    PreflightRun.objects.create(
        purpose="golive",
        actor="system:test",
        environment="paper",
        code_version="x",
        is_complete=True,
        finished_at=timezone.now(),
        is_passed=False,
        failed_count=1,
    )


def unheard_alert(desk):
    with transaction.atomic():
        raise_alert(code="x", severity="critical", scope="all", text="hear me", wall_at=timezone.now())


def unfinished_stop(desk):
    StopEvent.objects.create(
        scope="venue:binanceusdm", source="manual", actor="ann", reason="x", market_at=timezone.now()
    )


@pytest.mark.parametrize(
    ("spoil", "text", "tone"),
    [
        (halt, "all is HALTED", "bad"),
        (lose_state, "all is HALTED", "bad"),
        (reduce_account, "account:paper-main is REDUCING", "warn"),
        (halt_symbol, "symbol:ETHUSDT is HALTED", "bad"),
        (end_permit, "paper-main has no permit", "bad"),
        (end_lease, "The lease of paper-main has run out", "bad"),
        (unprotect, "ETHUSDT has no verified stop-loss", "bad"),
        (unverify, "ETHUSDT has no verified stop-loss", "bad"),
        (silence_worker, "worker is silent for 2 m 00 s", "bad"),
        (lose_guard, "guard:sweep has never shown life", "bad"),
        (old_book, "paper-main@binanceusdm was last compared with the venue 5 m 00 s ago", "bad"),
        (no_book, "paper-main@binanceusdm was never compared with the venue", "bad"),
        (
            different_book,
            "paper-main@binanceusdm: 1 difference between our book and the venue's",
            "bad",
        ),
        (old_price, "No fresh price of BTCUSDT at binanceusdm", "bad"),
        (frozen_price, "No fresh price of BTCUSDT at binanceusdm", "bad"),
        (no_price, "No fresh price of BTCUSDT at binanceusdm", "bad"),
        (critical_risk, "Global risk is CRITICAL", "bad"),
        (warned_risk, "Global risk is WARNING", "warn"),
        (old_risk, "Global risk was last assessed 5 m 00 s ago", "bad"),
        (no_risk, "Global risk was never assessed", "bad"),
        (unknown_order, "1 order of unknown outcome", "warn"),
        (failed_cycle, "The last cycle of paper-main failed", "warn"),
        (failed_preflight, "Preflight fails", "warn"),
        (unheard_alert, "1 open alert reached nobody", "warn"),
        (unfinished_stop, "The stop of venue:binanceusdm is not finished", "bad"),
    ],
)
def test_whatever_is_wrong_is_said_and_colours_the_verdict(good_desk, spoil, text, tone):
    spoil(good_desk)
    page = gather_page()
    assert text in texts(page)
    assert page.verdict.tone == tone


def test_what_is_worst_comes_first(good_desk):
    failed_preflight(good_desk)
    unprotect(good_desk)
    weights = [trouble.weight for trouble in gather_page().troubles]
    assert weights == sorted(weights)
    assert gather_page().troubles[0].text == "ETHUSDT has no verified stop-loss"


def test_a_halted_desk_does_not_trade_whatever_else_is_well(good_desk):
    halt(good_desk)
    verdict = gather_page().verdict
    assert (verdict.headline, verdict.text) == ("Not trading", "all: stopped by hand")


def test_an_equity_that_one_venue_does_not_say_is_not_known(good_desk):
    factories.VenueAccountFactory(account=good_desk.account, venue="bybit", priority=1)
    (account,) = gather_page().accounts
    assert account.facts.equity is None
    assert account.facts.day_ratio is None


def test_the_curve_keeps_the_last_sample_of_each_span(good_desk):
    now = timezone.now()
    for second in range(30):
        factories.EquityFactory(
            venue_account=good_desk,
            equity=Decimal(1000 + second),
            market_at=now - timedelta(hours=1) + timedelta(seconds=second),
        )
    (series,) = gather_page().equity["series"]
    assert 2 <= len(series["values"]) <= 3
    assert 1029.0 in series["values"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (9, "9 s"), (65, "1 m 05 s"), (3700, "1 h 01 m"), (90000, "1 d 1 h")],
)
def test_an_age_is_told_in_its_two_largest_units(seconds, text):
    assert age_text(timedelta(seconds=seconds)) == text
