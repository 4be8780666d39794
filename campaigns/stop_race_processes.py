"""The processes of stop_race.py: a venue, deciders and doors, each forked and with no end of its own."""

import importlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import connection
from urllib3.util import connection as urllib3_connection

from benchmarks import desk
from campaigns.kill_worker import fork
from risk import judgement
from trading import dispatch, models
from trading.dispatch import door, sending
from trading.dispatch.claim import may_still_leave
from trading.selectors import get_clocks
from trading.simulator.clock import system_ms
from trading.simulator.generator import GeneratedFeed
from trading.simulator.server import VenueServer
from trading.simulator.venue import Credentials, open_venue
from trading.venues import close_gateways

KEY, SECRET = "key-of-the-campaign", "secret-of-the-campaign"
NAMES = ("race0", "race1", "race2", "race3")
ORDER = "/fapi/v1/order"
# Entries that wait for each door; what is approved beyond them lapses.
WAITING = 4
READY_WITHIN = 30.0
# How long the planted door is on its way to the venue after it has asked, at most.
DISTANCE_SECONDS = 0.3


NEXT = """
SELECT id FROM trading_orderintent WHERE account_id = %s AND state = 'approved' ORDER BY updated_at LIMIT 1
"""
LAPSE = """
UPDATE trading_orderintent SET state = 'lapsed' WHERE id IN (
  SELECT id FROM trading_orderintent WHERE account_id = %s AND state = 'approved'
  ORDER BY updated_at DESC OFFSET %s FOR UPDATE SKIP LOCKED)
"""


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class WallClock:
    """Market time is wall time."""

    speed: int = 1

    def market_ms(self) -> int:
        return system_ms()

    def wall_ms(self) -> int:
        return system_ms()


@contextmanager
def append(path: Path) -> Iterator[Callable[[str], None]]:
    """Lines that another process sees as soon as they are written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        yield lambda line: os.write(descriptor, f"{line}\n".encode()) and None
    finally:
        os.close(descriptor)


def serve(folder: Path) -> None:
    """The venue: notes every order that arrives and refuses it."""
    venue = open_venue(
        feed=GeneratedFeed(7),
        clock=WallClock(),
        credentials=Credentials(key=KEY, secret=SECRET),
        balance=Decimal(1100),
    )
    venue.faults.add(
        {"kind": "error_before", "method": "POST", "path": ORDER, "status": 400, "code": -2019}
        | {"times": 10**6}
    )
    with append(folder / "arrived") as note:

        def record(entry: dict[str, Any]) -> None:
            if entry["path"] == ORDER:
                note(f"{now_us()} {entry['params'].get('newClientOrderId', '')}")

        venue.record_request = record  # type: ignore[method-assign]
        with VenueServer(venue) as server:
            (folder / "address.new").write_text(server.address)
            (folder / "address.new").rename(folder / "address")
            while True:
                signal.pause()


def decide(name: str, seed: int) -> None:
    """Register and judge entries for ever; whether the desk is halted is for the gate to see."""
    pick = random.Random(seed)
    account = models.Account.objects.get(name=name)
    place = desk.place_of(account)
    while True:
        intent = desk.register(place, get_clocks(), symbol=pick.choice(desk.SHARED_SYMBOLS))
        try:
            judgement.judge_intent(intent_id=intent.pk, clocks=get_clocks())
        except judgement.GateContended:
            continue
        with connection.cursor() as cursor:
            cursor.execute(LAPSE, [account.pk, WAITING])


def carry(name: str, folder: Path) -> None:
    """Send what is approved, oldest first, for ever."""
    account = models.Account.objects.get(name=name)
    with append(folder / "written") as note:
        watch_sockets(note)
        while True:
            with connection.cursor() as cursor:
                cursor.execute(NEXT, [account.pk])
                row = cursor.fetchone()
            if row is None:
                time.sleep(0.001)
            else:
                dispatch.send_intent(intent_id=row[0], reference_price=Decimal(desk.SHARED_PRICE))


def watch_sockets(note: Callable[[str], None]) -> None:
    """Note when the last byte of each order went to the operating system."""
    real = urllib3_connection.create_connection

    class Watched(socket.socket):
        def sendall(self, data: bytes, *flags: int) -> None:  # type: ignore[override]
            super().sendall(data, *flags)
            at = now_us()
            if data.startswith(f"POST {ORDER}".encode()):
                name = data.partition(b"newClientOrderId=")[2].partition(b"&")[0].decode()
                note(f"{at} {name}")

    def connect(*arguments: Any, **options: Any) -> socket.socket:
        made = real(*arguments, **options)
        timeout, watched = made.gettimeout(), Watched(fileno=made.detach())
        watched.settimeout(timeout)
        return watched

    urllib3_connection.create_connection = connect


def ask_from_afar(intent: models.OrderIntent) -> bool:
    """Ask, and only then make the way to the venue."""
    may_leave = may_still_leave(intent)
    time.sleep(random.uniform(0, DISTANCE_SECONDS))
    return may_leave


def without_fence(statement: str) -> str:
    """The approving statement with nothing locked and nothing compared."""
    clear = "\nWITH is_clear AS MATERIALIZED (SELECT true AS ok),\n"
    assert judgement.FENCE in statement
    return statement.replace(judgement.FENCE, clear)


def send_after_asking(
    ask: Callable[[models.OrderIntent], bool], order: models.Order, gateway: Any, **options: Any
) -> Any:
    """In the place of dispatch's own: asked before the request, and not held while it starts."""
    if options.pop("fence") is not None:
        options["may_leave"] = partial(ask, order.intent)
    return sending.send(order, gateway, **options)


def take_out_fences() -> None:
    """What the count must find: deciding on states that are not locked, asking before sending."""
    judgement.RESERVE = without_fence(judgement.RESERVE)
    door.send = partial(send_after_asking, ask_from_afar)


class Group:
    """Forked processes that are killed in the end."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def begin(self, work: Callable[[], None]) -> None:
        self.pids.append(fork(work))

    def find_dead(self) -> list[int]:
        """Who ended by itself."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return [pid for pid in self.pids if os.waitid(os.P_PID, pid, how)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def begin_venue(group: Group, folder: Path) -> None:
    """Start the venue and point this process, and those forked from now on, to it."""
    os.environ |= {"BINANCE_API_KEY": KEY, "BINANCE_API_SECRET": SECRET}
    group.begin(partial(serve, folder))
    wait_until((folder / "address").exists, "the venue")
    settings.SIMULATED_VENUES = {"binanceusdm": (folder / "address").read_text()}
    close_gateways()
    # It costs a second: once for everyone who is forked from now on.
    importlib.import_module("ccxt")


def begin_racers(group: Group, folder: Path, *, planted: bool, seed: int) -> None:
    for number, name in enumerate(NAMES):
        for work in (partial(decide, name, seed * 100 + number), partial(carry, name, folder)):
            group.begin(partial(run_without_fences, work) if planted else work)


def run_without_fences(work: Callable[[], None]) -> None:
    take_out_fences()
    work()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + READY_WITHIN
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"{what}: not within {READY_WITHIN:.0f} s")
        time.sleep(0.002)
