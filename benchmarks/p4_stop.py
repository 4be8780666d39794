"""P4: nothing is allowed or starts after a trip's commit, in 1,000 trips; the fence costs at most 1.10.

    .venv/bin/python -m benchmarks.p4_stop [--trips N] [--rounds N] [--json]

The race is campaigns/stop_race.py, which tells how it counts: four deciding processes, four doors with
ccxt, a simulated venue, approved entries waiting in every queue. It is run again with the fences taken
out, and must then find both kinds of violation. The costs: judging an entry with and without the fence in
its statement; the way of an order through the door with the fence held around its request, and only
asked before it.
"""

import argparse
import os
import tempfile
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.database import own_database, settle
from benchmarks.harness import Measured, Row, Sample, Variant, measure, run_alone, timed

if TYPE_CHECKING:
    from trading.models import Account, OrderIntent

TRIPS = 1000
COST = 1.10
PER_ROUND = 20
SEED = 4


def run(options: argparse.Namespace) -> Iterator[Row]:
    # Every refusal at the door is a line of the log, and there are thousands.
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    with own_database("p4"):
        yield cost_of_deciding(options.rounds)
        yield cost_of_sending(options.rounds)
        yield from race(options.trips)


# What it costs ------------------------------------------------------------------------------------


def cost_of_deciding(rounds: int) -> Row:
    from benchmarks import desk
    from campaigns.stop_race_processes import without_fence
    from risk import judgement

    account = desk.make_busy_account("main")
    settle()
    fenced = judgement.RESERVE
    measured = measure(
        [
            Variant(name="without", sample=decide(account, without_fence(fenced))),
            Variant(name="fenced", sample=decide(account, fenced)),
        ],
        rounds=rounds,
        per_round=PER_ROUND,
        before_round=desk.keep_fresh([account]),
    )
    return to_row(measured, "judging an entry under the fence", "the same without it", "without")


def decide(account: "Account", statement: str) -> Sample:
    from benchmarks.p2_recorded import judge_sample
    from risk import judgement

    judge, usual = judge_sample(account), judgement.RESERVE

    def sample(count: int) -> Any:
        judgement.RESERVE = statement
        try:
            return judge(count)
        finally:
            judgement.RESERVE = usual

    return sample


def cost_of_sending(rounds: int) -> Row:
    from benchmarks import desk
    from campaigns.stop_race_processes import Group, begin_venue, send_after_asking
    from trading.dispatch.claim import may_still_leave
    from trading.dispatch.sending import send

    account = desk.make_account("door")
    settle()
    with tempfile.TemporaryDirectory(prefix="p4-") as folder, Group() as group:
        begin_venue(group, Path(folder))
        measured = measure(
            [
                Variant(name="asked", sample=carry(account, partial(send_after_asking, may_still_leave))),
                Variant(name="held", sample=carry(account, send)),
            ],
            rounds=rounds,
            per_round=PER_ROUND // 2,
        )
    return to_row(measured, "an order through the door, the fence held", "only asked before", "asked")


def carry(account: "Account", send: Any) -> Sample:
    """From the claim to the booked refusal of the venue; deciding is outside of the measured time."""
    from decimal import Decimal

    from benchmarks import desk
    from trading import dispatch
    from trading.dispatch import door
    from trading.models import Order
    from trading.selectors import get_clocks

    place, waiting, usual = desk.place_of(account), deque["OrderIntent"](), door.send

    def approve() -> None:
        intent = desk.register(place, get_clocks())
        desk.judge(intent)
        waiting.append(intent)

    def leave() -> None:
        order = dispatch.send_intent(intent_id=waiting.popleft().pk, reference_price=Decimal(150))
        assert isinstance(order, Order), order
        assert (order.state, order.venue_code) == ("rejected", "-2019")

    def sample(count: int) -> list[float]:
        door.send = send
        desk.refresh_all([account])
        try:
            approve()
            times = list(timed(leave, approve)(count))
            desk.forget(account)
            waiting.clear()
            return times
        finally:
            door.send = usual

    return sample


def to_row(measured: Measured, what: str, anchor: str, base: str) -> Row:
    (name,) = measured.rounds.keys() - {base, f"{base} again"}
    return Row(
        goal="P4",
        what=what,
        ours=measured.text(name),
        anchor=f"{anchor}: {measured.text(base)}",
        ratio=measured.ratio(name),
        target=COST,
        null=measured.null,
    )


# What it gives ------------------------------------------------------------------------------------


def race(trips: int) -> Iterator[Row]:
    from campaigns.stop_race import PLANTED_AT_MOST, run_race

    found = run_race(trips=trips, planted=False, seed=SEED)
    yield zero(found, "decisions_after", f"of {found['decisions_allowed']:,} allowed", "decisions allowed")
    yield zero(found, "requests_after", f"of {found['requests_started']:,} started", "requests started")
    yield zero(found, "recorded_after", "by the door's own record", "requests started")
    never = found["kept_back_but_arrived"] + found["arrived_but_not_written"]
    kept = f"{found['kept_back_by_the_fence']:,} kept back by the fence after their claim"
    yield Row(
        goal="P4",
        what="requests that the venue saw and that should not have been",
        ours=str(never),
        anchor=kept,
        ratio=never,
        target=0,
        note=f"{found['on_the_wire_at_a_trip']} on the wire at a trip, the last seen"
        f" {found['latest_arrival_ms']} ms after it",
    )
    times = found["trip_ms"]
    yield Row(
        goal="P4",
        what="a trip under that load",
        ours=f"{times['p50']} ms (p99 {times['p99']} ms, longest {times['max']} ms)",
        anchor="",
    )
    planted = run_race(trips=PLANTED_AT_MOST, planted=True, seed=SEED + 1)
    for name, what in (("decisions_after", "decisions"), ("requests_after_return", "requests")):
        yield Row(
            goal="P4",
            what=f"without the fences: {what} after the trip's commit that the count finds",
            ours=str(planted[name]),
            anchor=f"{planted['trips']} trips",
            ratio=planted[name],
            target=1,
            at_most=False,
        )


def zero(found: dict[str, Any], name: str, ours: str, what: str) -> Row:
    return Row(
        goal="P4",
        what=f"{what} after the trip's commit",
        ours=f"{found[name]} {ours}",
        anchor=f"{found['trips']:,} trips",
        ratio=found[name],
        target=0,
        note=f"entries waiting in every queue at {found['trips_with_every_queue_waiting']:,}",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trips", type=int, default=TRIPS, help=f"default {TRIPS}")


if __name__ == "__main__":
    run_alone(__doc__, run, add_arguments)
