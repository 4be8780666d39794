"""Race the emergency stop: nothing that adds risk is allowed, and no request starts, after its commit.

Four processes register and judge entries without a pause, four more carry what was approved through the
door and ccxt to a simulated venue (a process of its own, which refuses every order after it noted it).
The stop is tripped again and again while every queue has approved entries waiting; each time all that
was under way is let end, and the owner of the database makes the desk active again (a campaign's doing
only: the product has no such way).

Every trip opens a window, from the moment its statement holds the state's row (before its commit) to
the moment at which the state is made active again. Both are written by a trigger of this campaign, with
the snapshot of transactions at that moment. So what happened after the trip's commit lies in its window:

decisions: allowed, and their transaction ended after the first snapshot and before the second;
requests: their last byte was handed to the operating system within the window, by the wall clock of the
  door, read at the socket after each write (one host, one clock);
records: what the door itself recorded as the time of sending lies within the window.

Two more witnesses: what the venue saw must be what was written at the sockets, and nothing that was
kept back by the fence may have been seen there. That the count can find anything is shown by a second
race with the fences taken out (decisions that do not lock what they read, a door that asks, makes its
way to the venue and then sends): it goes on until both kinds of violation were seen.

    TRIPS=1000 python3 manage.py test tests/campaigns/test_stop_race.py

runs it on a database of its own. Run directly it needs an empty migrated DATABASE_URL and its
DATABASE_OWNER_URL; it prints one JSON line and exits 1 if anything is wrong.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
# Every refusal at the door is a line of the log, and there are thousands.
os.environ.setdefault("LOG_LEVEL", "ERROR")

import django  # noqa: E402

django.setup()

import psycopg  # noqa: E402
from django.db import connections  # noqa: E402
from django.db.models import Count  # noqa: E402

from benchmarks import desk  # noqa: E402
from benchmarks.database import owner_connection  # noqa: E402
from campaigns.stop_race_count import Race, find_faults, judge  # noqa: E402
from campaigns.stop_race_processes import (  # noqa: E402
    NAMES,
    Group,
    begin_racers,
    begin_venue,
    now_us,
    wait_until,
)
from controlplane.approvals.core import Actor, ActorKind  # noqa: E402
from risk.models import Decision  # noqa: E402
from risk.services import trip_emergency_stop  # noqa: E402
from trading import models  # noqa: E402
from trading.selectors import get_clocks  # noqa: E402

# Approved entries of each account right before a trip, of which its door takes one or two meanwhile.
READY = 3
SCOPES = ("all", "venue:binanceusdm", "strategy:trend")
REFRESH_EVERY = 1.5
PLANTED_AT_MOST = 300
LOOK_EVERY = 5

WATCH = """
CREATE TABLE race_state (
  id bigserial PRIMARY KEY, scope text, state text, at timestamptz, snapshot text, queues int, claimed int
);
CREATE FUNCTION race_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO race_state (scope, state, at, snapshot, queues, claimed)
  SELECT NEW.scope, NEW.state, clock_timestamp(), pg_current_snapshot()::text,
    (SELECT count(DISTINCT account_id) FROM trading_orderintent WHERE state = 'approved'),
    (SELECT count(*) FROM trading_order WHERE state = 'sending');
  RETURN NULL;
END $$;
CREATE TRIGGER race_note AFTER UPDATE ON trading_tradingstate
  FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION race_note();
GRANT SELECT, INSERT ON race_state TO PUBLIC;
GRANT USAGE ON SEQUENCE race_state_id_seq TO PUBLIC;
"""
UNWATCH = """
DROP TRIGGER IF EXISTS race_note ON trading_tradingstate;
DROP FUNCTION IF EXISTS race_note;
DROP TABLE IF EXISTS race_state;
"""
TRIGGERS = """
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'risk_stopevent'::regclass AND NOT tgisinternal
"""
MODES = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}
END = """
UPDATE risk_stopevent SET progress = 'STOPPED', stopped_at = clock_timestamp(), ended_at = clock_timestamp(),
  ended_by = 'campaign', root_cause = 'the next race' WHERE ended_at IS NULL
"""
LAST_TRIP = "SELECT queues FROM race_state WHERE state = 'HALTED' ORDER BY id DESC LIMIT 1"
REACTIVATE = "UPDATE trading_tradingstate SET state = 'ACTIVE', version = version + 1 WHERE state = 'HALTED'"


# The race -----------------------------------------------------------------------------------------


def prepare() -> None:
    """Accounts whose limits are not what is tried here, each with symbols of its strategy."""
    if models.Account.objects.filter(name=NAMES[0]).exists():
        return
    for name in NAMES:
        desk.add_shared_symbols(desk.make_account(name, max_positions=100))


@contextmanager
def watched() -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """The campaign's trigger, and stops that may end without a request, while the race lasts."""
    with owner_connection() as owner:
        modes = owner.execute(TRIGGERS).fetchall()
        owner.execute(UNWATCH + WATCH)  # type: ignore[call-overload]
        owner.execute("ALTER TABLE risk_stopevent DISABLE TRIGGER USER")
        try:
            yield owner
        finally:
            for name, mode in modes:
                owner.execute(f'ALTER TABLE risk_stopevent {MODES[str(mode)]} TRIGGER "{name}"')  # type: ignore[call-overload]
            owner.execute(UNWATCH)  # type: ignore[call-overload]


class Tripper:
    """Trips, lets end what was under way, and makes active again."""

    def __init__(self, owner: "psycopg.Connection[tuple[object, ...]]", seed: int) -> None:
        self.owner = owner
        self.random = random.Random(seed)
        self.accounts = list(models.Account.objects.filter(name__in=NAMES))
        self.refreshed = 0.0
        self.race = Race(
            accounts=len(self.accounts), first_decision=newest(Decision), first_order=newest(models.Order)
        )

    def trip_once(self) -> None:
        self.refresh()
        wait_until(self.is_ready, "approved entries in every queue")
        time.sleep(self.random.uniform(0, 0.04))
        started = time.perf_counter()
        trip_emergency_stop(
            scope=self.random.choice(SCOPES),
            reason="a trip of the race",
            actor=Actor(name="race", kind=ActorKind.GUARD),
            clocks=get_clocks(),
            call_sweeper=lambda _: None,
        )
        self.race.committed_us.append(now_us())
        self.race.seconds.append(time.perf_counter() - started)
        wait_until(self.is_over, "the end of what was under way")
        with self.owner.transaction():
            self.owner.execute(END)
            self.owner.execute(REACTIVATE)
        self.race.trips += 1
        self.race.full += self.count_queues() == len(NAMES)

    def count_queues(self) -> int:
        """In how many queues entries were waiting when the last trip held the state's row."""
        row = self.owner.execute(LAST_TRIP).fetchone()
        assert row is not None
        return int(str(row[0]))

    def refresh(self) -> None:
        if time.monotonic() - self.refreshed > REFRESH_EVERY:
            desk.refresh_all(self.accounts)
            self.refreshed = time.monotonic()

    def is_ready(self) -> bool:
        self.refresh()
        rows = models.OrderIntent.objects.filter(account__in=self.accounts, state="approved")
        full = rows.values("account").annotate(many=Count("pk")).filter(many__gte=READY)
        return full.count() == len(NAMES)

    def is_over(self) -> bool:
        return not models.Order.objects.filter(pk__gt=self.race.first_order, state="sending").exists()


def newest(model: Any) -> int:
    return model.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def run_race(*, trips: int, planted: bool, seed: int) -> dict[str, Any]:
    """One race of so many full trips, and what came of it.

    A planted one ends when both kinds of violation were found.
    """
    prepare()
    with tempfile.TemporaryDirectory(prefix="stop-race-") as name, watched() as owner:
        folder = Path(name)
        with Group() as group:
            begin_venue(group, folder)
            begin_racers(group, folder, planted=planted, seed=seed)
            tripper = Tripper(owner, seed)
            while tripper.race.full < trips:
                tripper.trip_once()
                if tripper.race.trips % LOOK_EVERY:
                    continue
                if dead := group.find_dead():
                    raise SystemExit(f"{len(dead)} processes ended by themselves")
                if planted and has_found(result := judge(tripper.race, folder)):
                    return result
            wait_until(tripper.is_over, "the end of what was under way")
            return judge(tripper.race, folder)


def has_found(result: dict[str, Any]) -> bool:
    return bool(result["decisions_after"] and result["requests_after_return"])


# The campaign ------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = run_race(trips=options.trips, planted=False, seed=options.seed)
    planted = run_race(trips=PLANTED_AT_MOST, planted=True, seed=options.seed + 1)
    faults = find_faults(result)
    if not has_found(planted):
        faults.append("without the fences the count finds nothing")
    print(json.dumps(result | {"planted": planted, "faults": faults}))
    connections.close_all()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
