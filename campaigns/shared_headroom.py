"""Many processes ask for more than there is, and nobody ever gets more than that.

Processes register and judge random intents on a few accounts at once, and play the venue's part for
what is allowed: some of it fills, some lapses, positions are closed. Meanwhile and at the end the
book is added up by other means than the gate's and must be inside every limit; every decision must
come out of its own evidence again; what the approving statement counted must be what was approved.

    INTENTS=2000 python3 manage.py test tests/campaigns/test_shared_headroom.py

runs it on a database of its own. Run directly it needs an empty migrated DATABASE_URL; it prints one
JSON line and exits 1 if anything is wrong.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django  # noqa: E402

django.setup()

from django.db import OperationalError, connection, transaction  # noqa: E402
from django.db.models import Count, Q, Sum  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from risk import models  # noqa: E402
from risk.allotments import divide_exposure  # noqa: E402
from risk.core.gate import decide  # noqa: E402
from risk.core.values import Intent, Snapshot  # noqa: E402
from risk.evidence import build, parse_text  # noqa: E402
from risk.exposure import Exposure, store_exposure  # noqa: E402
from risk.judgement import GateContended, judge_intent  # noqa: E402
from risk.limits import get_limits, load_profiles, with_digest  # noqa: E402
from risk.registration import ensure_scopes_for_account, store_limit_set  # noqa: E402
from tests.risk import desk  # noqa: E402
from trading import models as facts  # noqa: E402
from trading.core.values import OrderType, Side  # noqa: E402
from trading.selectors import get_clocks  # noqa: E402

D = Decimal
NAMES = ("one", "two", "three")
STRATEGIES = ("trend", "reversion")
MARKS = {"SOLUSDT": D(150), "DOGEUSDT": D("0.2")}
# Roomy where time passes, tight where headroom is shared.
LIMITS = {
    "max_positions": 2,
    "max_position_notional": D(150),
    "max_gross_exposure": D(240),
    "max_net_exposure": D(230),
    "max_trades_per_day": 10**6,
    "max_orders_per_minute": 10**6,
    "max_repeats": 10**6,
    "max_daily_loss_ratio": D("0.0099"),
    "max_portfolio_risk_ratio": D("0.0098"),
    "max_balance_age": timedelta(minutes=10),
    "max_reconciliation_age": timedelta(minutes=10),
    "max_price_age": timedelta(minutes=10),
    "max_global_risk_age": timedelta(minutes=10),
}
# Two accounts' worth for three, so that the parts of what spans them bind too.
FIRM = D(480)
EXPOSURE = Exposure(limits={"all": FIRM}, defaults={"venue": D(470), "strategy": D(400), "symbol": D(350)})
CENT = D("0.01")


def prepare() -> None:
    """Three accounts under the campaign's limits, and the first division of what spans them."""
    limits = with_digest(replace(load_profiles()["MICRO"], **LIMITS))
    stored = store_limit_set(limits=limits, actor="system:campaign", reason="limits of the campaign")
    store_exposure(exposure=EXPOSURE, actor="system:campaign", reason="limits of the campaign")
    for name in NAMES:
        account = desk.make_desk(name=name)
        facts.Permit.objects.filter(account=account).update(
            limit_set_digest=stored.digest, lease_expires_at=Now() + timedelta(hours=1)
        )
        ensure_scopes_for_account(account=account, actor="system:campaign")
    divide_exposure()


# One asker -----------------------------------------------------------------------------------------


class Asker:
    """One process: asks at random, and plays the venue for what it was allowed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.accounts = {row.name: row for row in facts.Account.objects.filter(name__in=NAMES)}
        self.done: Counter[str] = Counter()
        self.mine: list[uuid.UUID] = []

    def run(self, intents: int) -> None:
        for number in range(intents):
            self.ask(number)
            self.play()
            if self.random.random() < 0.02:
                divide_exposure()
                self.done["divided"] += 1

    def ask(self, number: int) -> None:
        pick = self.random
        symbol, side = pick.choice(list(MARKS)), pick.choice([Side.BUY, Side.BUY, Side.SELL])
        mark = MARKS[symbol]
        step = CENT if symbol == "SOLUSDT" else D(1)
        quantity = (D(pick.randint(4, 180)) / mark // step) * step
        is_market = pick.random() < 0.5
        intent = desk.ask(
            self.accounts[pick.choice(NAMES)],
            strategy=pick.choice(STRATEGIES),
            symbol=symbol,
            side=side,
            order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            price=None if is_market else mark,
            quantity=max(quantity, step),
            stop_loss=mark * (1 - side.sign * D("0.025")),
            take_profit=mark * (1 + side.sign * D("0.05")),
            may_resize=pick.random() < 0.5,
            client_ref=f"{os.getpid()}-{number}",
            **({} if pick.random() < 0.95 else {"execute": False}),
        )
        try:
            decision = judge_intent(intent_id=intent.pk, clocks=get_clocks())
        except GateContended:
            self.done["contended"] += 1
            return
        self.done[decision.reason] += 1
        if decision.allowed and intent.execute:
            self.mine.append(intent.pk)

    def play(self) -> None:
        """Fill, lapse, or leave waiting; and now and then close a position."""
        if self.mine and self.random.random() < 0.7:
            intent_id = self.mine.pop(self.random.randrange(len(self.mine)))
            if self.random.random() < 0.5:
                fill(intent_id)
                self.done["filled"] += 1
            else:
                facts.OrderIntent.objects.filter(pk=intent_id, state="approved").update(state="lapsed")
                self.done["lapsed"] += 1
        if self.random.random() < 0.1:
            self.done["closed"] += close_one(self.random)


@transaction.atomic
def fill(intent_id: uuid.UUID) -> None:
    """The entry becomes (a part of) a position with a stop at the venue, at once for whoever looks."""
    intent = facts.OrderIntent.objects.select_for_update().get(pk=intent_id)
    if intent.state != "approved":
        return
    position, _ = facts.Position.objects.select_for_update().get_or_create(
        venue_account_id=intent.venue_account_id, symbol=intent.symbol
    )
    signed = intent.quantity if intent.side == Side.BUY else -intent.quantity
    intent.state = "done"
    intent.save(update_fields=["state"])
    is_new = position.quantity == 0
    position.quantity += signed
    if position.quantity == 0:
        _flatten(position)
        return
    position.strategy, position.entry_price = intent.strategy, MARKS[intent.symbol]
    if is_new:
        position.entry_intent = intent
        _protect(position, intent)
    position.save()


def _protect(position: facts.Position, intent: facts.OrderIntent) -> None:
    facts.Order.objects.create(
        intent=intent,
        venue_account_id=position.venue_account_id,
        symbol=position.symbol,
        client_order_id=uuid.uuid4().hex,
        purpose="stop_loss",
        side=Side(intent.side).opposite,
        order_type="stop_market",
        trigger_price=intent.stop_loss,
        reduce_only=True,
        close_position=True,
        state="open",
        market_at=intent.market_at,
        verified_at=Now(),
    )


def _flatten(position: facts.Position) -> None:
    facts.Order.objects.filter(
        venue_account_id=position.venue_account_id, symbol=position.symbol, state="open"
    ).update(state="cancelled")
    position.quantity, position.entry_price, position.entry_intent = D(0), None, None
    position.save()


@transaction.atomic
def close_one(pick: random.Random) -> int:
    held = list(facts.Position.objects.exclude(quantity=0).values_list("pk", flat=True))
    if not held:
        return 0
    position = facts.Position.objects.select_for_update().get(pk=pick.choice(held))
    if position.quantity == 0:
        return 0
    _flatten(position)
    return 1


# What must hold ------------------------------------------------------------------------------------

BOOK = """
SELECT a.name, w.symbol, w.strategy, sum(w.held), sum(w.buys), sum(w.sells) FROM (
  SELECT v.account_id, p.symbol, p.strategy, p.quantity AS held, 0 AS buys, 0 AS sells
  FROM trading_position p JOIN trading_venueaccount v ON v.id = p.venue_account_id WHERE p.quantity <> 0
  UNION ALL
  SELECT i.account_id, i.symbol, i.strategy, 0,
    CASE WHEN i.side = 'buy' THEN i.quantity ELSE 0 END, CASE WHEN i.side = 'sell' THEN i.quantity ELSE 0 END
  FROM trading_orderintent i WHERE i.state = 'approved' AND i.execute AND i.purpose = 'entry'
) w JOIN trading_account a ON a.id = w.account_id GROUP BY a.name, w.symbol, w.strategy
"""


def find_excess() -> list[str]:
    """Every limit that the book, added up in one statement at constant prices, is outside of."""
    with connection.cursor() as cursor:
        cursor.execute(BOOK)
        rows = cursor.fetchall()
    worst: dict[tuple[str, str, str], Decimal] = {}
    net: dict[str, list[Decimal]] = {}
    for account, symbol, strategy, held, buys, sells in rows:
        high, low = (held + buys) * MARKS[symbol], (held - sells) * MARKS[symbol]
        worst[account, symbol, strategy] = max(abs(high), abs(low))
        upper, lower = net.get(account, [D(0), D(0)])
        net[account] = [upper + high, lower + low]
    return [
        *_over("firm", sum(worst.values(), D(0)), FIRM),
        *(e for name in STRATEGIES for e in _over(name, _sum(worst, 2, name), EXPOSURE.defaults["strategy"])),
        *(e for name in MARKS for e in _over(name, _sum(worst, 1, name), EXPOSURE.defaults["symbol"])),
        *(e for name in NAMES for e in _over(name, _sum(worst, 0, name), LIMITS["max_gross_exposure"])),
        *(
            e
            for name, reach in net.items()
            for e in _over(f"net {name}", max(map(abs, reach)), LIMITS["max_net_exposure"])
        ),
        *(
            e
            for (account, symbol, _), size in worst.items()
            for e in _over(f"{account} {symbol}", size, LIMITS["max_position_notional"])
        ),
    ]


def _sum(worst: dict[tuple[str, str, str], Decimal], place: int, name: str) -> Decimal:
    return sum((size for key, size in worst.items() if key[place] == name), D(0))


def _over(name: str, used: Decimal, limit: Any) -> Iterable[str]:
    if used > limit:
        yield f"{name}: {used} of {limit}"


def explain_all() -> tuple[int, list[str]]:
    """Decide every stored decision again from its own evidence."""
    wrong, seen = [], 0
    for row in models.Decision.objects.order_by("id").iterator(chunk_size=500):
        inputs = parse_text(row.inputs)
        intent, snapshot = build(Intent, inputs["intent"]), build(Snapshot, inputs["snapshot"])
        answer = decide(intent, snapshot, get_limits(row.limit_set_digest))
        seen += 1
        if (answer.allowed, answer.reason, answer.quantity) != (row.allowed, row.reason, row.quantity):
            wrong.append(f"decision {row.pk}: stored {row.reason}, again {answer.reason}")
    return seen, wrong


def count_reserved() -> list[str]:
    """What the approving statement counted, against the intents it approved."""
    approved = models.Decision.objects.filter(allowed=True, intent__execute=True, intent__purpose="entry")
    counted = models.Activity.objects.aggregate(total=Sum("entries"))["total"] or 0
    states = Counter(approved.values_list("intent__state", flat=True))
    open_now = facts.OrderIntent.objects.filter(state="approved", execute=True, purpose="entry")
    differences = []
    if counted != approved.count():
        differences.append(f"{counted} entries counted, {approved.count()} approved")
    if states["approved"] != open_now.count():
        differences.append(f"{states['approved']} reservations, {open_now.count()} open intents")
    twice = models.Decision.objects.values("intent").annotate(n=Count("id")).filter(Q(n__gt=1)).count()
    return [*differences, *([f"{twice} intents decided twice"] if twice else [])]


# The campaign --------------------------------------------------------------------------------------


def run_askers(processes: int, intents: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Start the askers, watch the book while they ask, and add up what they did."""
    command = [sys.executable, str(Path(__file__).resolve()), "--intents", str(intents), "--ask"]
    askers = [
        subprocess.Popen([*command, str(seed + n)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for n in range(processes)
    ]
    outputs: list[str] = []
    readers = [
        threading.Thread(target=lambda a=asker: outputs.append(a.communicate()[0])) for asker in askers
    ]
    for reader in readers:
        reader.start()
    excess: list[str] = []
    while any(asker.poll() is None for asker in askers):
        excess += find_excess()
        time.sleep(0.05)
    for reader in readers:
        reader.join()
    done: Counter[str] = Counter()
    for output in outputs:
        done.update(json.loads(output.splitlines()[-1]) if output.strip() else {"died": 1})
    return done, excess


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--intents", type=int, default=2000, help="of each process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ask", type=int, help="be the asker of that seed")
    options = parser.parse_args()
    if options.ask is not None:
        asker = Asker(options.ask)
        try:
            asker.run(options.intents)
        except OperationalError as error:
            # A deadlock is what this would be.
            asker.done[f"database: {error}".splitlines()[0]] += 1
        print(json.dumps(asker.done))
        return 0
    prepare()
    started = time.monotonic()
    done, excess = run_askers(options.processes, options.intents, options.seed)
    seconds = time.monotonic() - started
    explained, wrong = explain_all()
    excess += find_excess()
    faults = [*excess, *wrong, *count_reserved(), *(name for name in done if name.startswith("database"))]
    asked = options.processes * options.intents
    result = {
        "asked": asked,
        "explained": explained,
        "seconds": round(seconds, 1),
        "done": dict(done.most_common()),
        "faults": faults[:20],
    }
    print(json.dumps(result))
    complete = explained + done["contended"] == asked and not done["died"]
    return 0 if complete and not faults else 1


if __name__ == "__main__":
    sys.exit(main())
