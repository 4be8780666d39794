"""Re-arming as pure data: each condition met, not met and unknown."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from risk.core.emergency_stop import StopSource
from risk.core.rearm import (
    LOSS_STOPS,
    CheckFacts,
    Reading,
    RearmFacts,
    earliest_alone,
    list_conditions,
)

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CHECK = CheckFacts(run_id=7, code_version="c", is_passed=True, started_at=NOW - 2 * MINUTE)
READY = RearmFacts(
    now=NOW,
    scope="account:main",
    source=StopSource.MANUAL,
    tripped_at=NOW - 21 * MINUTE,
    stopped_at=NOW - 20 * MINUTE,
    is_solo=False,
    cool_down=15 * MINUTE,
    preflight_age=15 * MINUTE,
    code_version="c",
    check=CHECK,
    unclear_books=(),
    unsettled=0,
    reading=None,
    rebases=False,
)
BEYOND = Reading(measured="0.05", threshold="0.04", is_beyond=True)
INSIDE = replace(BEYOND, measured="0.01", is_beyond=False)
UNREAD = replace(BEYOND, is_beyond=None)


def missing(**changes: object) -> list[str]:
    return [item.code for item in list_conditions(replace(READY, **changes)) if not item.is_met]


def test_everything_in_order_may_be_re_armed():
    conditions = list_conditions(READY)
    assert [item.name for item in conditions] == [
        "stopped",
        "cool_down",
        "next_day",
        "preflight",
        "books",
        "entries",
        "trigger",
    ]
    assert all(item.is_met and item.text and not item.next for item in conditions)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"stopped_at": None}, ["not_stopped", "cooling_down", "preflight_missing"]),
        ({"stopped_at": NOW - 14 * MINUTE}, ["cooling_down"]),
        ({"stopped_at": NOW - 15 * MINUTE}, []),
        ({"check": None}, ["preflight_missing"]),
        ({"check": replace(CHECK, started_at=READY.stopped_at)}, ["preflight_missing"]),
        ({"check": replace(CHECK, code_version="d")}, ["preflight_other_code"]),
        ({"check": replace(CHECK, is_passed=False)}, ["preflight_failed"]),
        ({"check": replace(CHECK, started_at=NOW - 16 * MINUTE)}, ["preflight_stale"]),
        ({"check": replace(CHECK, started_at=NOW - 15 * MINUTE)}, []),
        ({"unclear_books": ("main@binanceusdm: differs",)}, ["open_mismatch"]),
        ({"unsettled": 1}, ["unsettled_entries"]),
    ],
)
def test_what_is_not_met_names_its_code_and_what_to_do(changes, codes):
    assert missing(**changes) == codes
    for item in list_conditions(replace(READY, **changes)):
        assert bool(item.next) is not item.is_met


@pytest.mark.parametrize("source", [StopSource.CAPITAL_LOSS, StopSource.DAILY_DRAWDOWN])
def test_a_loss_that_is_not_measured_keeps_the_stop(source):
    assert missing(source=source, reading=None) == ["trigger_unread"]
    assert missing(source=source, reading=UNREAD) == ["trigger_unread"]
    assert missing(source=source, reading=BEYOND) == ["trigger_still_breached"]
    assert missing(source=source, reading=INSIDE) == []


def test_only_a_new_base_answers_a_loss_of_capital_that_still_reads_beyond():
    assert missing(source=StopSource.CAPITAL_LOSS, reading=BEYOND, rebases=True) == []
    assert missing(source=StopSource.DAILY_DRAWDOWN, reading=BEYOND, rebases=True) == [
        "trigger_still_breached"
    ]


def test_another_trigger_counts_only_while_it_reads_beyond():
    for source in (StopSource.STALE_DATA, StopSource.HEARTBEAT, StopSource.MANUAL):
        assert missing(source=source, reading=BEYOND) == ["trigger_still_breached"]
        assert missing(source=source, reading=UNREAD) == missing(source=source, reading=None) == []


def test_losing_trades_are_counted_anew_because_nothing_else_ends_the_run():
    assert missing(source=StopSource.LOSING_RUN, reading=BEYOND) == []


@pytest.mark.parametrize("source", list(StopSource))
def test_one_person_alone_sleeps_over_a_loss(source):
    reading = {"reading": INSIDE}
    expected = ["solo_loss_wait"] if source in LOSS_STOPS else []
    assert missing(source=source, is_solo=True, **reading) == expected
    assert missing(source=source, is_solo=False, **reading) == []


@pytest.mark.parametrize(
    ("tripped_at", "earliest"),
    [
        (datetime(2026, 3, 4, 1, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC)),
        (datetime(2026, 3, 4, 23, tzinfo=UTC), datetime(2026, 3, 5, 11, tzinfo=UTC)),
        (datetime(2026, 3, 4, 12, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC)),
    ],
)
def test_the_wait_is_the_next_day_and_twelve_hours(tripped_at, earliest):
    assert earliest_alone(tripped_at) == earliest
    late = {
        "source": StopSource.LOSING_RUN,
        "is_solo": True,
        "tripped_at": tripped_at,
        "stopped_at": tripped_at,
    }
    check = replace(CHECK, started_at=earliest - MINUTE)
    assert missing(**late, check=check, now=earliest) == []
    assert missing(**late, check=check, now=earliest - timedelta(seconds=1)) == ["solo_loss_wait"]
