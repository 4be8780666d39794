"""Many judges at once, and a trip among them: no headroom is spent twice, nothing is allowed after."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction

from controlplane.approvals.core import Actor, ActorKind
from risk import models
from risk.core.emergency_stop import PositionPolicy, StopSource
from risk.judgement import judge_intent
from risk.limits import load_profiles, with_digest
from risk.registration import ensure_scopes_for_account, store_limit_set
from risk.stops import emergency
from tests.risk import desk
from trading import models as facts
from trading import services as trading
from trading.core.values import Scope
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal
GUARD = Actor(name="watch", kind=ActorKind.GUARD)
SYMBOLS = [f"X{number}USDT" for number in range(12)]
# Nothing but the limit that a test names is to bind.
WIDE: dict[str, Any] = {
    "max_gross_exposure": D(10**6),
    "max_net_exposure": D(10**6),
    "other_gap_ratio": D("0.0001"),
    "max_orders_per_minute": 10**6,
    "max_repeats": 10**6,
    "max_trades_per_day": 10**6,
}
Item = TypeVar("Item")
Made = TypeVar("Made")


def make_wide_desk(name: str = "main", **changes: Any) -> facts.Account:
    """An account that may trade twelve symbols at 10 USDT, under changed MICRO limits."""
    account = desk.make_desk(name=name)
    limits = with_digest(replace(load_profiles()["MICRO"], **changes))
    stored = store_limit_set(limits=limits, actor="system:test", reason="limits of the test")
    facts.Permit.objects.filter(account=account).update(limit_set_digest=stored.digest)
    trading.assign_strategy(account=account, strategy="trend", symbols=SYMBOLS)
    ensure_scopes_for_account(account=account, actor="system:test")
    clocks = get_clocks()
    for symbol in SYMBOLS:
        sol = facts.Instrument.objects.get(symbol="SOLUSDT")
        sol.pk, sol.symbol = None, symbol
        if not facts.Instrument.objects.filter(symbol=symbol).exists():
            sol.save(force_insert=True)
        desk.set_price(symbol, 10, at=clocks.market_at)
        facts.VenueSetting.objects.create(
            venue_account=desk.place_of(account),
            symbol=symbol,
            leverage=2,
            margin_mode="isolated",
            max_stop_ratio=D("0.245"),
            is_one_way=True,
            is_single_asset=True,
            read_at=clocks.wall_at,
        )
    return account


def ask(account: facts.Account, symbol: str, quantity: str = "3") -> facts.OrderIntent:
    return desk.ask(account, symbol=symbol, quantity=D(quantity), stop_loss=D("9.75"), take_profit=D("10.5"))


def at_once(work: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """Every item in a thread of its own, all let go together; each with its own connection."""
    todo = list(items)
    barrier = threading.Barrier(len(todo))

    def run(item: Item) -> Made:
        try:
            barrier.wait(timeout=30)
            return work(item)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(todo)) as pool:
        return list(pool.map(run, todo))


def judge(intent: facts.OrderIntent) -> models.Decision:
    return judge_intent(intent_id=intent.pk, clocks=get_clocks())


def version_of(account: facts.Account) -> int:
    return models.AccountBook.objects.get(account=account).version


def reasons(decisions: Iterable[models.Decision]) -> Counter[str]:
    return Counter(decision.reason for decision in decisions)


def test_twelve_judges_never_open_more_positions_than_the_limit():
    account = make_wide_desk()
    version = version_of(account)
    intents = [ask(account, symbol) for symbol in SYMBOLS]

    decisions = at_once(judge, intents)

    assert reasons(decisions) == {"none": 2, "POSITION_COUNT": 10}
    assert version_of(account) == version + 2
    assert facts.OrderIntent.objects.filter(state="approved").count() == 2


def test_twelve_judges_never_spend_the_same_risk():
    # 0.88 % of 1100 is 9.68 USDT; one entry risks 30 x (3.5 % + costs) = 1.045 and a fraction: nine fit.
    account = make_wide_desk(
        max_portfolio_risk_ratio=D("0.0088"),
        max_positions=100,
        max_daily_loss_ratio=D("0.019"),
        **WIDE,
    )
    intents = [ask(account, symbol) for symbol in SYMBOLS]

    decisions = at_once(judge, intents)

    allowed = [decision for decision in decisions if decision.allowed]
    one = Decimal(3) * (D("10.05") - D("9.75") + D("0.0005") * D("19.8") + D("0.005") * D("9.75"))
    assert len(allowed) == int(D("9.68") / one)
    assert set(reasons(decisions)) == {"none", "PORTFOLIO_RISK"}


def test_judges_of_the_same_intent_all_get_the_one_decision():
    account = make_wide_desk()
    version = version_of(account)
    intent = ask(account, SYMBOLS[0])

    decisions = at_once(judge, [intent] * 8)

    assert len({decision.pk for decision in decisions}) == 1
    assert models.Decision.objects.count() == 1
    assert version_of(account) == version + 1


def test_different_accounts_do_not_wait_for_each_other():
    accounts = [make_wide_desk(name) for name in ("one", "two", "three", "four")]
    intents = [ask(account, symbol) for account in accounts for symbol in SYMBOLS[:2]]

    decisions = at_once(judge, intents)

    assert reasons(decisions) == {"none": 8}


def test_nothing_is_allowed_after_the_trips_commit():
    for number in range(8):
        account = make_endless_desk(f"desk{number}")
        intents = [ask(account, symbol, "0.5") for symbol in SYMBOLS]
        race_with_trip(account, judge, intents)


def make_endless_desk(name: str) -> facts.Account:
    """Nothing but a stop binds."""
    return make_wide_desk(
        name,
        max_positions=10_000,
        max_daily_loss_ratio=D("0.019"),
        max_portfolio_risk_ratio=D("0.5"),
        **WIDE,
    )


def race_with_trip(
    account: facts.Account, decide: Callable[[Item], models.Decision], items: list[Item]
) -> None:
    """Decide on all at once with a trip among them: nothing may be allowed after what the trip saw."""
    seen: list[int] = []

    def work(item: Item | None) -> None:
        if item is None:
            seen.append(halt_and_count(account))
        else:
            decide(item)

    at_once(work, [*items[:6], None, *items[6:]])

    decisions = models.Decision.objects.filter(account=account)
    assert decisions.count() == len(items)
    assert decisions.filter(allowed=True).count() == seen[0]
    for row in decisions.filter(allowed=False):
        assert {item["code"] for item in json.loads(row.breaches)} == {"STATE_HALTED"}
    assert not facts.OrderIntent.objects.filter(account=account, state="approved").exists()


def halt_and_count(account: facts.Account) -> int:
    """Trip, and count what was allowed at the moment from which the trip holds every fence."""
    with transaction.atomic():
        emergency.halt_scope(
            Scope(kind="account", name=account.name),
            {"source": StopSource.MANUAL.value, "evidence": {}, "positions": PositionPolicy.KEEP},
            reason="raced",
            actor=GUARD,
            clocks=get_clocks(),
        )
        return models.Decision.objects.filter(account=account, allowed=True).count()
