"""The limits that span accounts: read, divided, and never spent twice."""

import json
from collections.abc import Mapping
from decimal import Decimal

import pytest

from controlplane.audit.models import AuditEvent
from controlplane.yaml_file import YamlError
from risk import models
from risk.allotments import divide_exposure
from risk.exposure import (
    Exposure,
    ensure_exposure,
    get_exposure,
    get_exposure_path,
    load_exposure,
    store_exposure,
)
from risk.registration import ensure_scopes_for_account
from risk.selectors import explain_decision
from tests.risk import desk
from tests.risk.test_races import SYMBOLS, WIDE, ask, at_once, judge, make_wide_desk
from trading import models as facts
from trading import services as trading

D = Decimal
HUGE = D(10**8)


def limit_exposure(limits: Mapping[str, object] | None = None) -> None:
    """Everything far away but the given scopes."""
    defaults = dict.fromkeys(("venue", "strategy", "symbol"), HUGE)
    named = {scope: D(number) for scope, number in (limits or {}).items()}
    exposure = Exposure(limits={"all": HUGE} | named, defaults=defaults)
    store_exposure(exposure=exposure, actor="system:test", reason="limits of the test")


def parts_of(scope: str) -> dict[str, Decimal]:
    rows = models.Allotment.objects.filter(scope=scope).select_related("account")
    return {row.account.name: row.max_notional for row in rows}


def codes(decision: models.Decision) -> list[str]:
    return [item["code"] for item in json.loads(decision.breaches)]


# The file ------------------------------------------------------------------------------------------


def test_the_file_leaves_room_for_every_profile():
    exposure = load_exposure()
    assert exposure.limit_of("all") >= 80_000
    assert exposure.limit_of("venue:bybit") >= 80_000
    assert exposure.limit_of("strategy:any") >= 80_000
    assert exposure.limit_of("symbol:ANYUSDT") >= 10_000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("firm_usd: 1\n", "venue_usd: missing"),
        ("firm_usd: 0\nvenue_usd: 1\nstrategy_usd: 1\nsymbol_usd: 1\n", "firm_usd: must be above 0"),
        ("firm_usd: 1\nvenue_usd: 1\nstrategy_usd: 1\nsymbol_usd: lots\n", "symbol_usd: expected a number"),
        ("firm_usd: 1\nvenue_usd: 1\nstrategy_usd: 1\nsymbol_usd: 1\nfirms: {}\n", "firms: unknown key"),
        (
            "firm_usd: 1\nvenue_usd: 1\nstrategy_usd: 1\nsymbol_usd: 1\nvenues: {okx: -1}\n",
            "venues.okx: must be above 0",
        ),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path, text, complaint):
    path = tmp_path / "exposure.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(YamlError, match=complaint):
        load_exposure(path)


def test_named_limits_go_before_the_default(tmp_path):
    path = tmp_path / "exposure.yaml"
    path.write_text(
        get_exposure_path().read_text(encoding="utf-8") + "\nvenues: {okx: 20000.5}\n", encoding="utf-8"
    )
    exposure = load_exposure(path)
    assert exposure.limit_of("venue:okx") == D("20000.5")
    assert exposure.limit_of("venue:bybit") == load_exposure().limit_of("venue:bybit")


@pytest.mark.django_db
def test_the_newest_limits_are_in_force_each_load_is_audited_and_numbers_may_come_back():
    assert get_exposure() is None
    first = ensure_exposure(actor="olga")
    assert ensure_exposure(actor="axel") == first
    limit_exposure({"all": 5})
    assert get_exposure().limit_of("all") == 5
    store_exposure(exposure=load_exposure(), actor="axel", reason="back again")
    found = get_exposure()
    assert (found.limits, found.defaults) == (load_exposure().limits, load_exposure().defaults)
    assert found.digest != first.digest
    events = AuditEvent.objects.filter(action="risk.exposure_load").order_by("seq")
    assert [event.actor for event in events] == ["olga", "test", "axel"]


# Dividing ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_account_that_is_registered_has_its_parts_and_counts_of_entries():
    account = desk.make_desk()
    scopes = set(models.Allotment.objects.filter(account=account).values_list("scope", flat=True))
    assert scopes == {
        "all",
        "venue:binanceusdm",
        "strategy:trend",
        "strategy:reversion",
        *(f"symbol:{symbol}" for symbol in desk.SYMBOLS),
    }
    assert parts_of("all") == {"main": load_exposure().limit_of("all")}
    assert models.Activity.objects.filter(account=account).count() == 2 * len(desk.SYMBOLS)


@pytest.mark.django_db
def test_a_new_assignment_is_registered_without_forgetting_what_was_counted():
    account = desk.make_desk()
    models.Activity.objects.filter(strategy="trend", symbol="SOLUSDT").update(entries=7)
    trading.assign_strategy(account=account, strategy="breakout", symbols=["XUSDT"])
    ensure_scopes_for_account(account=account, actor="system:test")
    assert parts_of("strategy:breakout").keys() == {"main"}
    assert models.Activity.objects.get(strategy="breakout").entries == 0
    assert models.Activity.objects.get(strategy="trend", symbol="SOLUSDT").entries == 7


@pytest.mark.django_db
def test_nothing_is_written_and_no_book_moves_where_nothing_changed():
    account = desk.make_desk()
    before = models.AccountBook.objects.get(account=account).version
    assert divide_exposure() == 0
    limit_exposure({"all": 300})
    assert divide_exposure() == 1
    assert parts_of("all") == {"main": D(300)}
    assert models.AccountBook.objects.get(account=account).version == before + 1


@pytest.mark.django_db
def test_two_accounts_share_what_is_free_and_one_without_a_permit_keeps_what_it_uses():
    one, two = desk.make_desk(name="one"), desk.make_desk(name="two")
    limit_exposure({"all": 300, "symbol:SOLUSDT": 100})
    assert judge(desk.ask(one)).allowed
    divide_exposure()
    assert parts_of("all") == {"one": D(195), "two": D(105)}
    assert parts_of("symbol:SOLUSDT") == {"one": D(95), "two": D(5)}
    facts.Permit.objects.filter(account=one).update(active=False)
    divide_exposure()
    assert parts_of("all") == {"one": D(90), "two": D(210)}
    refused = judge(desk.ask(two))
    assert "SYMBOL_EXPOSURE" in codes(refused)
    assert explain_decision(refused.pk).agrees


@pytest.mark.django_db
def test_another_environments_accounts_take_no_part():
    desk.make_desk(name="one")
    other = desk.make_desk(name="two")
    facts.Account.objects.filter(pk=other.pk).update(environment="demo")
    models.Allotment.objects.all().delete()
    divide_exposure()
    assert parts_of("all") == {"one": load_exposure().limit_of("all")}


@pytest.mark.django_db
def test_a_book_that_cannot_be_measured_keeps_its_part_and_shares_nothing():
    one, two = desk.make_desk(name="one"), desk.make_desk(name="two")
    limit_exposure({"all": 300})
    divide_exposure()
    desk.hold(one)
    facts.MarketPrice.objects.filter(symbol="SOLUSDT").delete()
    assert two is not None
    divide_exposure()
    assert parts_of("all") == {"one": D(150), "two": D(150)}


@pytest.mark.django_db
def test_a_scope_that_is_no_longer_used_or_assigned_is_taken_away():
    account = desk.make_desk()
    facts.StrategyAssignment.objects.filter(strategy="reversion").delete()
    assert divide_exposure() == 1
    assert not models.Allotment.objects.filter(scope="strategy:reversion").exists()
    assert codes(judge(desk.ask_doge(account))) == ["STRATEGY_NOT_ALLOWED", "ALLOTMENT_UNKNOWN"]


@pytest.mark.django_db
def test_without_limits_in_force_nothing_is_allotted_and_that_denies():
    account = desk.make_desk()
    models.Allotment.objects.all().delete()
    denied = judge(desk.ask(account))
    assert codes(denied) == ["ALLOTMENT_UNKNOWN"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("all", "FIRM_EXPOSURE"),
        ("venue:binanceusdm", "VENUE_EXPOSURE"),
        ("strategy:trend", "STRATEGY_EXPOSURE"),
        ("symbol:SOLUSDT", "SYMBOL_EXPOSURE"),
    ],
)
def test_each_part_binds(scope, code):
    account = desk.make_desk()
    limit_exposure({scope: 80})
    divide_exposure()
    refused = judge(desk.ask(account))
    assert (codes(refused), refused.max_quantity) == ([code], D("0.53"))
    assert judge(desk.ask(account, quantity=D("0.53"))).allowed


# Races ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", ["all", "venue:binanceusdm", "strategy:trend", "symbol:X0USDT"])
def test_accounts_together_never_spend_more_than_the_limit(scope):
    changes = {"max_positions": 100, "max_daily_loss_ratio": D("0.019"), **WIDE}
    accounts = [make_wide_desk(name, **changes) for name in ("one", "two", "three")]
    limit_exposure({scope: 150})
    divide_exposure()
    symbols = SYMBOLS[:1] if scope.startswith("symbol") else SYMBOLS[:4]
    intents = [ask(account, symbol, "3.1") for account in accounts for symbol in symbols]

    def work(item: facts.OrderIntent | None) -> models.Decision | int:
        return divide_exposure() if item is None else judge(item)

    for _ in range(3):
        at_once(work, [None, *intents, None])
        reserved = facts.OrderIntent.objects.filter(state="approved")
        assert sum((row.quantity * 10 for row in reserved), D(0)) <= 150
        assert sum(parts_of(scope).values(), D(0)) <= 150
        intents = [
            ask(row.account, row.symbol, "3.1") for row in facts.OrderIntent.objects.filter(state="denied")
        ]

    # Whoever was first may have taken two; a part is never too small for everybody.
    assert sum((row.quantity * 10 for row in reserved), D(0)) >= 62
