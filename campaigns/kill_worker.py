"""Kill workers at random moments and see that no order is lost, none is sent twice, none is left bare.

A simulated venue (a process of its own, speed 1), the configured database, a recovering process as the
guard runs it, and workers that enter and leave positions through the door one after the other. A
worker is killed with SIGKILL a random moment after it starts to send; the next one starts at once.

    KILLS=100 python3 manage.py test tests/campaigns/test_kill_worker.py

runs it on a database of its own. Run directly it needs an empty migrated DATABASE_URL; it prints
one JSON line and exits 1 if anything is wrong.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SYMBOLS = ("ETHUSDT", "SOLUSDT")
QUANTITIES = {"ETHUSDT": Decimal("0.04"), "SOLUSDT": Decimal("0.6")}
VENUE, ACCOUNT, STRATEGY = "binanceusdm", "paper-main", "trend"
KEY, SECRET = "key-of-the-campaign", "secret-of-the-campaign"
# A look-up is final after 12 s and three tries.
SETTLED_WITHIN = 40.0
LONGEST_BARE = 10.0
# Between two orders of a worker, so that the venue's limit on requests is not what is tried here.
PAUSE = 0.3
BEGUN, ENDED = b".", b"!"
BETWEEN = "between two sends"


def prepare_django(address: str) -> None:
    """Configure and import everything a worker needs, so that a fork has it; opens no connection."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "SIMULATED_VENUES": f"{VENUE}={address}",
        "BINANCE_API_KEY": KEY,
        "BINANCE_API_SECRET": SECRET,
        "TRADING_ENVIRONMENT": "paper",
        "LOG_LEVEL": "ERROR",
    }
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    import ccxt  # noqa: F401 - costs a second, once

    from trading import dispatch, reconcile, recovery  # noqa: F401


@contextmanager
def run_venue(folder: str) -> Iterator[str]:
    """A simulated venue of its own process whose market time is wall time."""
    command = [sys.executable, str(ROOT / "manage.py"), "simulated_venue", "--state-dir", folder]
    command += ["--api-key", KEY, "--api-secret", SECRET, "--anchor", datetime.now(UTC).isoformat()]
    environment = os.environ | {"CONTROLPLANE_NO_BOOTSTRAP": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("READY "):
            raise SystemExit(f"the simulated venue did not start: {line!r}")
        yield line.split()[1]
    finally:
        process.terminate()
        process.wait(20)


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The simulator's own controls."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/_sim/{path}", data=data)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def seed_desk() -> None:
    from trading import models, services

    account = services.open_account(name=ACCOUNT, environment="paper", venues=[VENUE])
    services.assign_strategy(account=account, strategy=STRATEGY, symbols=SYMBOLS)
    models.Permit.objects.create(
        account=account,
        kind="PAPER",
        environment="paper",
        profile="MICRO",
        limit_set_digest="0" * 64,
        fencing_token=1,
        active=True,
        lease_expires_at=datetime.now(UTC) + timedelta(hours=6),
    )
    scopes = ["all", f"venue:{VENUE}", f"account:{ACCOUNT}", f"strategy:{STRATEGY}"]
    for scope in [*scopes, *(f"symbol:{symbol}" for symbol in SYMBOLS)]:
        models.TradingState.objects.create(scope=scope, state="ACTIVE", reason="campaign", source="campaign")


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a forked process with connections of its own; returns its pid."""
    from django.db import connections

    connections.close_all()
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:  # noqa: BLE001 - the child must end here, and say why
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def trade(pipe: int, seed: int) -> None:
    """A worker: enter where flat, leave where held, for ever; bytes tell when a send begins and ends."""
    from trading import dispatch, market, models, selectors
    from trading.venues.gateway import VenueError

    rng = random.Random(seed)
    place = models.VenueAccount.objects.select_related("account").get()
    while True:
        symbol = rng.choice(SYMBOLS)
        try:
            prices = market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[symbol])[symbol]
        except VenueError:
            # Asked too often: the venue counts requests by the minute.
            time.sleep(1)
            continue
        position = selectors.get_position(place, symbol)
        held = Decimal(0) if position is None else position.quantity
        intent = approve(place, symbol, held, prices.mark)
        os.write(pipe, BEGUN)
        dispatch.send_intent(intent_id=intent.pk, reference_price=prices.mark)
        os.write(pipe, ENDED)
        time.sleep(PAUSE)


def approve(place: Any, symbol: str, held: Decimal, mark: Decimal) -> Any:
    """What the gate leaves behind when it allows an order."""
    from risk.models import Decision
    from trading import models

    now, is_entry = datetime.now(UTC), held == 0
    tick = Decimal("0.01")
    intent = models.OrderIntent.objects.create(
        account=place.account,
        venue_account=place,
        strategy=STRATEGY,
        symbol=symbol,
        side="buy" if held <= 0 else "sell",
        order_type="market",
        purpose="entry" if is_entry else "exit",
        quantity=QUANTITIES[symbol] if is_entry else abs(held),
        stop_loss=(mark * Decimal("0.97")).quantize(tick) if is_entry else None,
        take_profit=(mark * Decimal("1.05")).quantize(tick) if is_entry else None,
        reduce_only=not is_entry,
        signal_at=now,
        market_at=now,
        client_ref=uuid.uuid4().hex,
        body_digest="0" * 64,
        source="campaign",
        state="approved",
        decision_id=uuid.uuid4().int >> 66,
        fencing_token=1,
        limit_set_digest="0" * 64,
        valid_until=now + timedelta(seconds=5),
    )
    Decision.objects.create(
        id=intent.decision_id,
        intent=intent,
        account=place.account,
        allowed=True,
        reason="none",
        breaches="[]",
        outcomes="[]",
        inputs="{}",
        max_quantity=intent.quantity,
        requested_quantity=intent.quantity,
        quantity=intent.quantity,
        account_version=1,
        limit_set_digest=intent.limit_set_digest,
        code_version="0" * 64,
        market_at=now,
    )
    return intent


def guard() -> None:
    """Recovery once a second, as the guard runs it."""
    from trading import models, recovery, selectors

    place = models.VenueAccount.objects.select_related("account").get()
    while True:
        recovery.recover_venue_account(venue_account=place, wall_at=selectors.get_clocks().wall_at)
        time.sleep(1)


class Watch:
    """What an outsider sees at the venue: which ids were sent how often, and how long nothing protected."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sent: Counter[str] = Counter()
        self.longest_bare = 0.0
        self._seen = 0
        self._bare_since: dict[str, float] = {}

    def look(self) -> None:
        for entry in ask(self.address, f"requests?after={self._seen}"):
            self._seen = entry["number"]
            if entry["method"] == "POST" and entry["path"] in ("/fapi/v1/order", "/fapi/v1/algoOrder"):
                params = entry["params"]
                # A request that was cut off by the kill carries no id, and the venue refuses it.
                if name := params.get("newClientOrderId") or params.get("clientAlgoId"):
                    self.sent[name] += 1
        state = ask(self.address, "state")
        stopped = {algo["symbol"] for algo in state["algos"] if algo["type"] == "STOP_MARKET"}
        held = {position["symbol"] for position in state["positions"]}
        now = time.monotonic()
        for symbol in SYMBOLS:
            if symbol not in held - stopped:
                self._bare_since.pop(symbol, None)
                continue
            since = self._bare_since.setdefault(symbol, now)
            self.longest_bare = max(self.longest_bare, now - since)

    def look_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.look()
            time.sleep(min(0.05, left))


def run(kills: int, seed: int, address: str) -> dict[str, Any]:
    from trading import models

    rng, watch = random.Random(seed), Watch(address)
    seed_desk()
    place = models.VenueAccount.objects.select_related("account").get()
    reconcile_once(place)
    # The venue is slow at times, so that a worker is often killed while it waits.
    ask(
        address,
        "faults",
        {"kind": "delay", "method": "POST", "seconds": 0.25, "times": 10**6, "probability": 0.5},
    )
    guard_pid = fork(guard)
    landed: Counter[str] = Counter()
    try:
        # Kills between two sends are part of the world and do not count.
        while sum(landed.values()) - landed[BETWEEN] < kills:
            landed[kill_one(rng, watch, rng.getrandbits(32))] += 1
        settled_in = wait_until_settled(watch)
    finally:
        os.kill(guard_pid, signal.SIGKILL)
        os.waitpid(guard_pid, 0)
    return judge(place, watch, landed, settled_in)


def kill_one(rng: random.Random, watch: Watch, seed: int) -> str:
    """Start a worker, kill it a moment after one of its sends began; returns where that found it."""
    from trading import models

    reading, writing = os.pipe()
    pid = fork(lambda: trade(writing, seed))
    os.close(writing)
    wait_for_a_send(reading, which=rng.randint(1, 3))
    before = time.monotonic() + rng.uniform(0, 0.4)
    watch.look()
    while time.monotonic() < before:
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    is_sending = (os.read(reading, 1000) or BEGUN)[-1:] == BEGUN
    os.close(reading)
    newest = models.Order.objects.order_by("-id").first()
    watch.look()
    if not is_sending:
        return BETWEEN
    return f"sending, last order: {newest.purpose} {newest.state}" if newest else "sending, no order yet"


def wait_for_a_send(reading: int, *, which: int) -> None:
    begun = 0
    while begun < which:
        byte = os.read(reading, 1)
        if not byte:
            raise SystemExit("a worker ended by itself")
        begun += byte == BEGUN


def wait_until_settled(watch: Watch) -> float:
    """Until nothing is sending or unknown and everything held is protected; how long that took."""
    from trading import models

    started = time.monotonic()
    for _ in count():
        watch.look_for(0.5)
        unsettled = models.Order.objects.filter(state__in=["sending", "unknown"]).exists()
        bare = models.Position.objects.filter(unprotected_since__isnull=False).exists()
        if not unsettled and not bare:
            break
        if time.monotonic() - started > SETTLED_WITHIN:
            break
    return time.monotonic() - started


def reconcile_once(place: Any) -> Any:
    from trading import reconcile, selectors

    return reconcile.reconcile_venue_account(venue_account=place, market_at=selectors.get_clocks().market_at)


def judge(place: Any, watch: Watch, landed: Counter[str], settled_in: float) -> dict[str, Any]:
    """Compare the venue's own book with ours, order by order."""
    from trading import models

    last = reconcile_once(place)
    watch.look()
    ours = {order.client_order_id: order for order in models.Order.objects.all()}
    unsettled = [o.client_order_id for o in ours.values() if o.state in ("sending", "unknown")]
    lost = [name for name in watch.sent if name not in ours]
    twice = [name for name, times in watch.sent.items() if times > 1]
    # What the venue was never asked for cannot be anything but never placed.
    unasked = [
        o.client_order_id
        for o in ours.values()
        if o.client_order_id not in watch.sent and o.state != "never_placed"
    ]
    wrong = list(last.differences)
    result = {
        "kills": sum(landed.values()) - landed[BETWEEN],
        "landed": dict(sorted(landed.items())),
        "orders": dict(sorted(Counter(f"{o.purpose} {o.state}" for o in ours.values()).items())),
        "trades": models.Trade.objects.filter(closed_at__isnull=False).count(),
        "longest_without_stop_seconds": round(watch.longest_bare, 2),
        "settled_in_seconds": round(settled_in, 1),
        "unsettled": unsettled,
        "lost": lost,
        "sent_twice": twice,
        "not_at_the_venue": unasked,
        "differences": wrong,
    }
    bad = unsettled or lost or twice or unasked or wrong
    return result | {"ok": not bad and watch.longest_bare <= LONGEST_BARE}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-worker-") as folder, run_venue(folder) as address:
        prepare_django(address)
        result = run(options.kills, options.seed, address)
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
