"""P3: a recorded decision with a million stored orders beside one with a thousand; at most 1.1 x.

    .venv/bin/python -m benchmarks.p3_history [--rows N] [--rounds N] [--json]

Two databases with the same desk. The history (intents, decisions, orders, fills, equity samples) is
copied in bulk from one real row of each, older than today and spread over the past.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from benchmarks.database import drop, own_database, owner_connection, recreate, settle, with_database
from benchmarks.harness import Measured, Row, Sample, Variant, measure, run_alone, timed

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from trading.models import Account, OrderIntent

TARGET = 1.1
FEW, MANY = 1_000, 1_000_000
PER_ROUND = 20
# Ids of copies begin here, far from those of the desk's own rows.
OFFSET = 1_000_000_000

# Whatever columns a table has are copied; these are what must differ from row to row.
COPIES = {
    "trading_orderintent": """jsonb_build_object('id', md5('bench' || n)::uuid, 'client_ref', 'bench' || n,
        'decision_id', n, 'state', 'done', 'created_at', past, 'updated_at', past, 'market_at', past)""",
    "risk_decision": """jsonb_build_object('id', n, 'intent_id', md5('bench' || n)::uuid, 'market_at', past,
        'decided_at', past)""",
    "trading_order": """jsonb_build_object('id', n, 'intent_id', md5('bench' || n)::uuid,
        'client_order_id', 'bench' || n, 'venue_order_id', 'b' || n, 'state', 'filled',
        'filled_quantity', 3, 'market_at', past, 'sent_at', past, 'updated_at', past)""",
    "trading_fill": """jsonb_build_object('id', n, 'order_id', n, 'venue_fill_id', 'bench' || n,
        'venue_order_id', 'b' || n, 'market_at', past, 'at', past)""",
    "trading_equitysample": "jsonb_build_object('id', n, 'market_at', past, 'at', past)",
}
COPY = """
INSERT INTO {table}
SELECT made.* FROM (SELECT to_jsonb(t) AS body FROM {table} t WHERE id::text = %(row)s) original,
  generate_series({offset} + %(first)s::bigint, {offset} + %(last)s::bigint) n,
  LATERAL (SELECT date_trunc('day', now(), 'UTC') - interval '1 minute'
    - (({offset} + %(last)s - n) || ' s')::interval AS past) moment,
  LATERAL jsonb_populate_record(NULL::{table}, original.body || {changes}) made
"""


def run(options: argparse.Namespace) -> Iterator[Row]:
    with own_database("p3") as few_name:
        from django.db import connections

        from benchmarks import desk

        account = desk.make_busy_account("main")
        rows = make_originals(account)
        fill(rows, 1, FEW)
        many_name = f"{few_name}_many"
        connections.close_all()
        recreate(many_name, template=few_name)
        try:
            few = connections["default"]
            many = few.copy()
            many.settings_dict["NAME"] = many_name
            with_many(many_name, lambda: fill(rows, FEW + 1, options.rows))
            yield compare(account, few, many, options)
        finally:
            connections["default"] = few
            few.close()
            many.close()
            drop(many_name)


def make_originals(account: "Account") -> dict[str, str]:
    """One row of each table, made as the desk makes them; what is copied."""
    from benchmarks import desk
    from risk.models import Decision
    from trading import models

    intent: OrderIntent = models.OrderIntent.objects.get(account=account, symbol=desk.MORE_SYMBOLS[1])
    order = models.Order.objects.get(intent=intent, purpose="entry")
    fill_row = models.Fill.objects.create(
        venue_account=intent.venue_account,
        order=order,
        symbol=intent.symbol,
        venue_fill_id="first",
        venue_order_id=order.venue_order_id,
        side=intent.side,
        quantity=1,
        price=10,
        fee=0,
        fee_asset="USDT",
        realised_pnl=0,
        is_maker=False,
        market_at=intent.market_at,
    )
    sample = models.EquitySample.objects.filter(venue_account=intent.venue_account).latest("id")
    return {
        "trading_orderintent": str(intent.pk),
        "risk_decision": str(Decision.objects.get(intent=intent).pk),
        "trading_order": str(order.pk),
        "trading_fill": str(fill_row.pk),
        "trading_equitysample": str(sample.pk),
    }


def fill(originals: dict[str, str], first: int, last: int) -> None:
    """Copies number `first` to `last` of every original."""
    with owner_connection() as connection:
        # Bulk rows need no triggers and no look at foreign keys, which hold by construction.
        connection.execute("SET session_replication_role = replica")
        for table, changes in COPIES.items():
            statement = COPY.format(table=table, offset=OFFSET, changes=changes)
            connection.execute(statement, {"row": originals[table], "first": first, "last": last})
            done = connection.execute(f"SELECT count(*) FROM {table} WHERE id::text <> ''").fetchone()  # noqa: S608
            assert done is not None
            assert done[0] >= last
    settle()


def with_many(name: str, work: Callable[[], None]) -> None:
    """Work on the other database through the owner's address."""
    kept = os.environ["DATABASE_OWNER_URL"]
    os.environ["DATABASE_OWNER_URL"] = with_database(kept, name)
    try:
        work()
    finally:
        os.environ["DATABASE_OWNER_URL"] = kept


def compare(
    account: "Account", few: "BaseDatabaseWrapper", many: "BaseDatabaseWrapper", options: argparse.Namespace
) -> Row:
    from benchmarks import desk

    def freshen() -> None:
        for wrapper in (few, many):
            use(wrapper)
            desk.refresh_all([account])

    measured = measure(
        [
            Variant(name="few", sample=sample_on(few, account)),
            Variant(name="many", sample=sample_on(many, account)),
        ],
        rounds=options.rounds,
        per_round=PER_ROUND,
        before_round=freshen,
    )
    return make_row(measured, options.rows)


def use(wrapper: "BaseDatabaseWrapper") -> None:
    from django.db import connections

    connections["default"] = wrapper


def sample_on(wrapper: "BaseDatabaseWrapper", account: "Account") -> Sample:
    from benchmarks import desk
    from trading.selectors import get_clocks

    place = desk.place_of(account)

    def record() -> None:
        clocks = get_clocks()
        desk.judge(desk.register(place, clocks), clocks)

    def sample(count: int) -> list[float]:
        use(wrapper)
        return list(timed(record, lambda: desk.forget(account))(count))

    return sample


def make_row(measured: Measured, rows: int) -> Row:
    return Row(
        goal="P3",
        what=f"recorded decision with {rows:,} stored orders",
        ours=measured.text("many"),
        anchor=f"with {FEW:,}: {measured.text('few')}",
        ratio=measured.ratio("many"),
        target=TARGET,
        null=measured.null,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=MANY)


if __name__ == "__main__":
    run_alone(__doc__, run, add_arguments)
