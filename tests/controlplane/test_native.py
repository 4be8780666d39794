"""Statements that the driver runs itself: numbered places, arrays as texts, the errors of Django."""

import pytest
from django.db import DataError, OperationalError, connection, transaction

from controlplane.native import as_array, read_first, run_native
from tests.risk.test_reservation import open_connection

pytestmark = pytest.mark.django_db


def test_places_are_filled_by_name_as_often_as_they_occur_and_what_has_no_place_is_left():
    statement = "SELECT %(a)s::int + %(b)s::int, %(a)s::int, 5 %% 3"
    assert run_native(statement, {"b": 2, "a": 1, "c": 3}) == [(3, 1, 2)]
    assert run_native(statement, {"b": 40, "a": 2}) == [(42, 2, 2)]


def test_a_name_without_a_value_is_an_error():
    with pytest.raises(KeyError, match="b"):
        run_native("SELECT %(b)s::int", {"a": 1})


@pytest.mark.parametrize("items", [[], [1, 2], ["day", "rolling_day"], ["2025-06-01T00:00:00+00:00"]])
def test_an_array_is_read_as_it_was_given(items):
    ((texts,),) = run_native("SELECT %(items)s::text[]", {"items": as_array(items)})
    assert texts == [str(item) for item in items]


def test_an_error_is_one_of_django_and_undoes_the_transaction():
    with pytest.raises(DataError), transaction.atomic():
        run_native("SELECT 1 / %(zero)s::int", {"zero": 0})
    assert run_native("SELECT 1", {}) == [(1,)]


# The health check -----------------------------------------------------------------------------------


@pytest.fixture
def kept():
    """A connection that was kept from an earlier request; gives the number of its server process."""
    connection.ensure_connection()
    connection.health_check_enabled, connection.health_check_done = True, False
    yield connection.connection.info.backend_pid
    connection.close()


def end_server_process(number: int) -> None:
    with open_connection() as other:
        assert other.execute("SELECT pg_terminate_backend(%s, 10000)", [number]).fetchone() == (True,)


@pytest.mark.django_db(transaction=True)
def test_the_first_read_stands_for_the_health_check(kept):
    assert read_first("SELECT pg_backend_pid()", {}) == [(kept,)]
    assert connection.health_check_done


@pytest.mark.django_db(transaction=True)
def test_the_first_read_on_a_connection_that_died_is_made_on_a_new_one(kept):
    end_server_process(kept)
    ((number,),) = read_first("SELECT pg_backend_pid()", {})
    assert number != kept


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_nothing_is_made_again(kept):
    with pytest.raises(OperationalError), transaction.atomic():
        read_in_transaction(kept)


def read_in_transaction(number: int) -> None:
    run_native("SELECT 1", {})
    end_server_process(number)
    connection.health_check_done = False
    read_first("SELECT 1", {})
