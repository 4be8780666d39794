"""P2: a fully recorded decision beside one raw durable insert on the same server; at most 2 x, stretch 1.5 x.

    .venv/bin/python -m benchmarks.p2_recorded [--rounds N] [--json]

Ours: what the service does for each order: the account's facts are read, every limit is judged, headroom
is reserved under the stop fence, and the request and its decision are stored, in one statement as over
HTTP. Beside it the cycle's two commits, and each half alone.
"""

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.database import app_connection, own_database, owner_connection, settle
from benchmarks.harness import Measured, Row, Sample, Variant, measure, run_alone, timed

if TYPE_CHECKING:
    from trading.models import Account, OrderIntent

TARGET = 2.0
PER_ROUND = 20
PAUSE = 0.0015
RAW_TABLE = """
CREATE TABLE bench_raw (
  id bigserial PRIMARY KEY, account text, symbol text, side text, quantity numeric, price numeric,
  reference text, at timestamptz DEFAULT clock_timestamp()
);
GRANT INSERT, SELECT ON bench_raw TO PUBLIC;
GRANT USAGE ON SEQUENCE bench_raw_id_seq TO PUBLIC;
"""
RAW_INSERT = """
INSERT INTO bench_raw (account, symbol, side, quantity, price, reference)
VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
"""
RAW_VALUES = ("main", "SOLUSDT", "buy", "0.6", "150", "ref-1")


def make_raw_insert() -> Callable[[], None]:
    """One row, committed to disk, its id read back."""
    with owner_connection() as connection:
        connection.execute(RAW_TABLE)
    connection = app_connection()
    assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)

    def insert() -> None:
        row = connection.execute(RAW_INSERT, RAW_VALUES, prepare=True).fetchone()
        assert row is not None
        assert row[0] > 0

    return insert


def pause() -> None:
    """About as much other work as there is between two commits of ours: the disk and the caches go cold."""
    until = perf_counter() + PAUSE
    while perf_counter() < until:
        pass


def run(options: argparse.Namespace) -> Iterator[Row]:
    with own_database("p2"):
        from benchmarks import desk

        account = desk.make_busy_account("main")
        settle()
        insert = make_raw_insert()
        measured = measure(
            [
                Variant(name="insert", sample=timed(insert), weight=10),
                Variant(name="insert after a pause", sample=timed(insert, pause)),
                *make_variants(account),
            ],
            rounds=options.rounds,
            per_round=PER_ROUND,
            before_round=desk.keep_fresh([account]),
        )
        yield from rows(measured)


def make_variants(account: "Account") -> list[Variant]:
    from benchmarks import desk
    from risk.recording import judge_new_intent
    from risk.snapshot import load_intent, load_primary
    from trading.selectors import get_clocks

    place = desk.place_of(account)
    waiting = desk.register(place, get_clocks())

    def record() -> None:
        clocks = get_clocks()
        found = load_primary(account=account.name, strategy=desk.STRATEGY, symbol=desk.SYMBOL, clocks=clocks)
        assert found is not None
        intent = desk.make(found[0], clocks)
        decision = judge_new_intent(intent=intent, snapshot=found[1])
        assert decision is not None
        assert decision.pk is not None
        assert (decision.allowed, intent.state) == (True, "approved"), decision.breaches

    def record_in_two() -> None:
        clocks = get_clocks()
        desk.judge(desk.register(place, clocks), clocks)

    registered: list[OrderIntent] = []

    def register() -> None:
        registered.append(desk.register(place, get_clocks()))

    def withdraw() -> None:
        desk.withdraw(registered.pop())

    def load() -> None:
        assert load_intent(intent_id=waiting.pk, clocks=get_clocks()).state == "proposed"

    def tidy() -> None:
        desk.forget(account)

    return [
        Variant(name="record", sample=timed(record, tidy)),
        Variant(name="record in two", sample=timed(record_in_two, tidy)),
        Variant(name="judge", sample=judge_sample(account)),
        Variant(name="register", sample=timed(register, withdraw)),
        Variant(name="load", sample=timed(load)),
        Variant(name="clocks", sample=timed(get_clocks)),
    ]


def judge_sample(account: "Account") -> Sample:
    """Judging alone: the intents are registered, and their clocks read, before the time runs."""
    from benchmarks import desk
    from trading.selectors import get_clocks

    place = desk.place_of(account)

    def sample(count: int) -> list[float]:
        clocks = [get_clocks() for _ in range(count)]
        waiting = deque((desk.register(place, moment), moment) for moment in clocks)

        def judge() -> None:
            assert desk.judge(*waiting.popleft()).reason == "none"

        return list(timed(judge, lambda: desk.forget(account))(count))

    return sample


def rows(measured: Measured) -> Iterator[Row]:
    for name, what, target in (
        ("record", "register and judge in one statement (as over HTTP)", TARGET),
        ("record in two", "register, then judge (as in the cycle)", None),
        ("judge", "of this, judging alone", None),
        ("load", "of this, reading the clocks and the facts", None),
        ("register", "of this, reading the clocks and registering", None),
        ("clocks", "of this, reading the clocks", None),
        ("insert after a pause", "beside it: the same raw insert 1.5 ms after the last", None),
    ):
        yield Row(
            goal="P2",
            what=what,
            ours=measured.text(name),
            anchor=f"raw insert {measured.text('insert')}",
            ratio=measured.ratio(name),
            target=target,
            null=measured.null,
            note="stretch 1.5" if target else "",
        )


if __name__ == "__main__":
    run_alone(__doc__, run)
