import threading
import time

import pytest
from django.db import DatabaseError, connection

from golive.core.values import CheckName, CheckStatus, Finding, Measured
from golive.preflight.runner import CHECKS, DEADLINE_SECONDS, get_definition_version, run_checks
from tests.golive.preflight.conftest import GOLIVE, REARM

HEALTH, RISK, DATABASE, STRESS = CheckName.HEALTH, CheckName.RISK, CheckName.DATABASE, CheckName.STRESS


def fine(context):
    return Measured(reason="fine", details={"purpose": context.purpose.value})


def run(context=GOLIVE, *, deadline: float = 5.0, **checks):
    named = {CheckName[name.upper()]: check for name, check in checks.items()}
    return run_checks(context, tuple(named), checks=named, deadlines=dict.fromkeys(named, deadline))


def test_checks_run_at_the_same_time():
    meeting = threading.Barrier(3, timeout=5)

    def wait_for_the_others(context):
        meeting.wait()
        return Measured(reason="met")

    results = run(health=wait_for_the_others, risk=wait_for_the_others, stress=wait_for_the_others)
    assert [result.reason for result in results] == ["met"] * 3


def test_a_check_that_does_not_come_back_has_failed_and_the_others_stand():
    released = threading.Event()

    def hang(context):
        released.wait(30)
        return Measured(reason="too late")

    started = time.monotonic()
    late, other = run(health=hang, risk=fine, deadline=0.3)
    released.set()
    assert (late.status, late.reason) == (CheckStatus.FAIL, "deadline")
    assert late.next == "python3 manage.py preflight --check check_health_endpoints"
    assert other.status is CheckStatus.PASS
    assert time.monotonic() - started < 20


def test_a_check_that_breaks_has_failed():
    def crash(context):
        raise ZeroDivisionError("of all things")

    (result,) = run(health=crash)
    assert (result.status, result.reason) == (CheckStatus.FAIL, "check_crashed")
    assert result.text == "ZeroDivisionError: of all things"


def lose_database(context):
    raise DatabaseError("server closed the connection\nunexpectedly")


def test_who_cannot_read_rows_depends_on_the_database():
    def no_database(context):
        return Measured(reason="", findings=(Finding(reason="database_refused", text="", next="x"),))

    risk, database = run(risk=lose_database, database=no_database)
    assert (risk.status, risk.reason) == (CheckStatus.INCONCLUSIVE, "depends_on=check_database_redis")
    assert database.status is CheckStatus.FAIL


def test_the_database_check_itself_has_nobody_to_point_at():
    risk, database = run(risk=lose_database, database=lose_database)
    assert (database.status, database.reason) == (CheckStatus.FAIL, "database_unreachable")
    assert risk.status is CheckStatus.INCONCLUSIVE


def test_stress_is_not_part_of_a_rearm():
    def fail(context):
        return Measured(reason="", findings=(Finding(reason="never_run", text="", next="x"),))

    (golive,) = run(stress=fail)
    (rearm,) = run(REARM, stress=fail)
    assert golive.is_counted
    assert not rearm.is_counted


@pytest.mark.django_db(transaction=True)
def test_no_check_leaves_a_connection_behind():
    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return cursor.fetchone()[0]

    def look(context):
        return Measured(reason=str(count()))

    before = count()
    run(health=look, risk=look, stress=look)
    deadline = time.monotonic() + 5
    while (after := count()) > before and time.monotonic() < deadline:
        connection.close()
    assert after <= before


def test_every_check_has_a_function_a_deadline_and_a_definition():
    assert set(CHECKS) == set(DEADLINE_SECONDS) == set(CheckName)
    versions = {get_definition_version(name) for name in CheckName}
    assert len(versions) == 6
    assert all(len(version) == 64 for version in versions)
