"""Counts what happened after a trip's commit; how is told in stop_race.py.

Everything is compared with the windows that the campaign's trigger wrote: the moments and snapshots of
trip, reactivation, trip, reactivation, and so on.
"""

import statistics
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from trading import models
from trading.venues.gateway import FENCED


@dataclass(slots=True, kw_only=True)
class Race:
    """What was measured while it ran; a trip is full where entries were waiting in every queue."""

    trips: int = 0
    full: int = 0
    seconds: list[float] = field(default_factory=list)
    committed_us: list[int] = field(default_factory=list)
    first_decision: int
    first_order: int
    accounts: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """As PostgreSQL writes it: every transaction below `low` had ended, none from `high` on had begun."""

    low: int
    high: int
    running: frozenset[int]

    def sees(self, transaction: int) -> bool:
        return transaction < self.low or (transaction < self.high and transaction not in self.running)


def read_snapshot(text: str) -> Snapshot:
    low, high, running = text.split(":")
    return Snapshot(int(low), int(high), frozenset(int(one) for one in running.split(",") if one))


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """In turn those of a trip and of the reactivation after it."""

    at_us: list[int]
    snapshots: list[Snapshot]
    claimed: list[int]

    def covers(self, at_us: int) -> bool:
        return bisect_right(self.at_us, at_us - 1) % 2 == 1

    def ended_within(self, transaction: int) -> bool:
        """Whether the first that sees its end is a reactivation; who sees once, sees always."""
        place = bisect_right(self.snapshots, False, key=lambda snapshot: snapshot.sees(transaction))
        return place < len(self.snapshots) and place % 2 == 1


def read_windows() -> Windows:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT state, (extract(epoch FROM at) * 1000000)::bigint, snapshot, claimed"
            " FROM race_state ORDER BY id"
        )
        rows = cursor.fetchall()
    assert [row[0] for row in rows] == ["HALTED", "ACTIVE"] * (len(rows) // 2), "trips in a row"
    return Windows(
        at_us=[row[1] for row in rows],
        snapshots=[read_snapshot(row[2]) for row in rows],
        claimed=[row[3] for row in rows[::2]],
    )


def read_log(path: Path) -> list[tuple[int, str]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(at), name) for at, _, name in (line.partition(" ") for line in lines)]


def list_allowed(after: int) -> list[int]:
    """Transactions of the decisions that allowed an entry."""
    with connection.cursor() as cursor:
        # Transaction ids wrap at 2^32; a database made for this is far from that.
        cursor.execute("SELECT xmin::text::bigint FROM risk_decision WHERE allowed AND id > %s", [after])
        return [row[0] for row in cursor.fetchall()]


def judge(race: Race, folder: Path) -> dict[str, Any]:
    windows = read_windows()
    written, arrived = read_log(folder / "written"), read_log(folder / "arrived")
    orders = models.Order.objects.filter(pk__gt=race.first_order)
    allowed = list_allowed(race.first_decision)
    fenced = set(orders.filter(venue_code=FENCED).values_list("client_order_id", flat=True))
    sent_us = [int(at.timestamp() * 1_000_000) for at in orders.values_list("sent_at", flat=True)]
    late = [at - start_before(windows, at) for at, _ in arrived if windows.covers(at)]
    times = sorted(race.seconds)
    names_written, names_arrived = {name for _, name in written}, {name for _, name in arrived}
    return {
        "trips": race.trips,
        "decisions_allowed": len(allowed),
        "decisions_after": sum(windows.ended_within(transaction) for transaction in allowed),
        "requests_started": len(written),
        "requests_after": sum(windows.covers(at) for at, _ in written),
        "requests_after_return": sum(
            windows.covers(at) and at > race.committed_us[bisect_right(windows.at_us, at) // 2]
            for at, _ in written
        ),
        "recorded_after": sum(windows.covers(at) for at in sent_us),
        "kept_back_by_the_fence": len(fenced),
        "kept_back_but_arrived": len(fenced & names_arrived),
        "arrived_but_not_written": len(names_arrived - names_written),
        "on_the_wire_at_a_trip": len(late),
        "latest_arrival_ms": round(max(late, default=0) / 1000, 1),
        "trips_with_every_queue_waiting": race.full,
        "claimed_at_a_trip": round(statistics.fmean(windows.claimed), 2),
        "trip_ms": {
            "p50": round(statistics.median(times) * 1000, 1),
            "p99": round(times[int(len(times) * 0.99)] * 1000, 1),
            "max": round(times[-1] * 1000, 1),
        },
        "orders": dict(Counter(orders.values_list("state", flat=True))),
    }


def start_before(windows: Windows, at_us: int) -> int:
    return windows.at_us[bisect_right(windows.at_us, at_us) - 1]


MUST_BE_ZERO = (
    "decisions_after",
    "requests_after",
    "recorded_after",
    "kept_back_but_arrived",
    "arrived_but_not_written",
)


def find_faults(result: dict[str, Any]) -> list[str]:
    """What is wrong with a race under the fences; one that raced nothing is wrong too."""
    faults = [f"{name}: {result[name]}" for name in MUST_BE_ZERO if result[name]]
    for name in ("decisions_allowed", "requests_started", "kept_back_by_the_fence"):
        if not result[name]:
            faults.append(f"{name}: nothing was raced")
    return faults
