"""Every table of ours against every way Django has of changing a row past the services.

A table that is not listed here fails the first test. Append-only tables and the governed columns of the
others refuse each way, as the application's role; whatever may be changed by hand is named as such.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections, models, transaction
from django.db.models import ProtectedError

from controlplane.audit.checks import list_wanted_triggers

OWNER = "owner"
OURS = ("controlplane", "trading", "risk", "golive")
APPEND_ONLY = frozenset(
    {
        "approvals_credentialchange",
        "approvals_secondfactoruse",
        "approvals_vote",
        "audit_auditevent",
        "audit_checkpoint",
        "audit_detachment",
        "audit_seal",
        "audit_segment",
        "audit_verification",
        "golive_checklistsignature",
        "golive_demotion",
        "golive_evaluation",
        "golive_freeze",
        "golive_goliveconfig",
        "golive_guardtrip",
        "golive_observation",
        "golive_preflightcheck",
        "golive_stressresult",
        "golive_uptimeslot",
        "golive_validationreport",
        "risk_decision",
        "risk_drill",
        "risk_exposurelimits",
        "risk_limitset",
        "risk_rearmcheck",
        "trading_equitysample",
        "trading_fill",
        "trading_income",
        "trading_orderevent",
    }
)
# What people, quorums and guards decided: these columns never change by hand, and the row stays.
# `row` is what the row says that the ways are tried on; `keeps: False` where it may be deleted.
NOW = datetime(2026, 3, 1, tzinfo=UTC)
GOVERNED: dict[str, dict[str, Any]] = {
    "audit_audithead": {"columns": ("seq", "hash", "occurred_at"), "row": None},
    "approvals_approvalrequest": {
        "columns": (
            "kind",
            "subject_text",
            "digest",
            "proposer_name",
            "reason",
            "mode",
            "required_approvals",
            "state",
            "version",
            "proposed_at",
            "approve_by",
            "execute_by",
        ),
        "row": {"state": "proposed"},
        "to": {"state": "approved"},
    },
    "approvals_approvalmode": {"columns": ("mode",), "row": {"mode": "dual"}, "to": {"mode": "solo"}},
    "approvals_designation": {
        "columns": ("role", "designated_by", "valid_to"),
        "row": {"valid_to": NOW},
    },
    "golive_activation": {
        "columns": ("state", "ended_at"),
        "row": {"state": "ended", "ended_at": NOW},
        "to": {"state": "observing", "ended_at": None},
        "keeps": False,
    },
    "golive_guardcount": {"columns": (), "row": {}},
    "golive_hold": {
        "columns": ("reason", "since_at", "released_at"),
        "row": {"released_at": None},
        "to": {"released_at": NOW},
    },
    "golive_preflightrun": {
        "columns": ("purpose", "is_passed", "passed_count", "finished_at"),
        "row": {"finished_at": NOW},
    },
    "golive_rollback": {
        "columns": (
            "trigger",
            "actor",
            "reason",
            "to_limit_set_digest",
            "is_clamped",
            "state",
            "finished_at",
        ),
        "row": {"finished_at": NOW},
    },
    "risk_override": {
        "columns": ("limit", "value", "max_uses", "used", "reason", "approved_by", "expires_at", "ended_at"),
        "row": {"used": 3, "ended_at": NOW},
        "to": {"used": 2},
    },
    "risk_stopevent": {
        "columns": ("scope", "ended_at", "ended_by", "root_cause"),
        "row": {"ended_at": NOW, "source": "operator"},
        "to": {"ended_at": None},
    },
    "trading_permit": {
        "columns": (
            "kind",
            "environment",
            "fencing_token",
            "created_at",
            "active",
            "ended_at",
            "limit_set_digest",
        ),
        "row": {"ended_at": NOW, "active": False},
        "to": {"ended_at": None},
    },
    "trading_tradingstate": {
        "columns": ("state",),
        "row": {"scope": "all", "state": "HALTED"},
        "to": {"state": "ACTIVE"},
        "besides": ("risk_stopevent", {"scope": "all", "ended_at": None}),
        "keeps": False,
    },
}
# Which services change as they work; the records of it are append-only tables or audit events.
FACTS = frozenset(
    {
        "approvals_apitoken",
        "approvals_secondfactor",
        "golive_programme",
        "risk_accountbook",
        "risk_activity",
        "risk_allotment",
        "risk_capitalbase",
        "risk_correlation",
        "risk_globalrisk",
        "risk_restriction",
        "risk_stopstep",
        "risk_watch",
        "trading_account",
        "trading_candle",
        "trading_cyclerun",
        "trading_instrument",
        "trading_marketclock",
        "trading_marketprice",
        "trading_messageslot",
        "trading_order",
        "trading_orderintent",
        "trading_position",
        "trading_reconciliationrun",
        "trading_strategyassignment",
        "trading_trade",
        "trading_venueaccount",
        "trading_venuesetting",
    }
)
# Which may be lost: what is told to people, and who is alive.
TIDY = frozenset(
    {
        "alerts_alert",
        "alerts_channelhealth",
        "alerts_delivery",
        "approvals_idempotentanswer",
        "audit_checkpointsink",
        "golive_canary",
        "trading_heartbeat",
    }
)


def our_models() -> dict[str, type[models.Model]]:
    return {
        model._meta.db_table: model
        for config in apps.get_app_configs()
        if config.name.split(".")[0] in OURS
        for model in config.get_models(include_auto_created=True)
    }


def test_every_table_is_listed_once():
    listed = [*APPEND_ONLY, *GOVERNED, *FACTS, *TIDY]
    assert sorted(listed) == sorted(our_models())


@pytest.mark.django_db
def test_every_trigger_that_is_always_on_is_checked_at_start():
    """What guards a table is registered, so that `check` and `audit inspect` miss it when it is gone."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled = 'A'")
        found = set(cursor.fetchall())
    assert found == list_wanted_triggers(connections["default"])


@pytest.mark.django_db
def test_append_only_is_what_the_database_says():
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'append_only_rows'")
        assert {table for (table,) in cursor.fetchall()} == APPEND_ONLY


def made_up(field: "models.Field[Any, Any]") -> object:
    """A value that fits the column; constraints are set aside."""
    if field.null:
        return None
    if field.is_relation:
        return 1
    if field.choices:
        return next(iter(dict(field.flatchoices)))
    for kind, value in VALUES:
        if isinstance(field, kind):
            return value
    raise AssertionError(f"no value for {field}")


VALUES: tuple[tuple[type, object], ...] = (
    (models.JSONField, {}),
    (models.BooleanField, False),
    (models.DateTimeField, NOW),
    (models.DurationField, timedelta(hours=1)),
    (models.DecimalField, Decimal(1)),
    (models.FloatField, 1.0),
    (models.UUIDField, UUID(int=1)),
    (models.BinaryField, b"x"),
    (models.IntegerField, 1),
    ((models.CharField, models.TextField), "x"),  # type: ignore[list-item]
)


def other(value: object, field: "models.Field[Any, Any]") -> object:
    """A value that differs."""
    if value is None:
        return next(plain for kind, plain in VALUES if isinstance(field, kind))
    if isinstance(value, bool):
        return not value
    if isinstance(value, datetime | timedelta):
        return value + timedelta(days=1)
    if isinstance(value, dict):
        return {"changed": 1}
    return f"{value}y" if isinstance(value, str) else value + 1  # type: ignore[operator]


@contextmanager
def guards_off(table: str) -> Iterator[Any]:
    """The owner's cursor with the table's triggers, checks and foreign keys set aside."""
    with connections[OWNER].cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled = 'A'", [table]
        )
        triggers = [name for (name,) in cursor.fetchall()]
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'", [table]
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        for name in triggers:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
        yield cursor
        for name in triggers:
            cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
        cursor.execute("SET LOCAL session_replication_role = origin")


def put_row(model: type[models.Model], given: dict[str, object]) -> models.Model:
    """Put one made-up row into the table, in the test's own transaction."""
    with guards_off(model._meta.db_table):
        values = {field.attname: made_up(field) for field in model._meta.concrete_fields}
        model._base_manager.using(OWNER).bulk_create([model(**values | given)])
    return model._base_manager.using(OWNER).latest("pk")


def as_app_role() -> None:
    with connections[OWNER].cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {settings.DATABASES['default']['USER']}")


Way = Callable[[models.Model, str, object], None]


def by_save(row: models.Model, column: str, value: object) -> None:
    setattr(row, column, value)
    row.save(using=OWNER)


def by_update(row: models.Model, column: str, value: object) -> None:
    type(row)._base_manager.using(OWNER).filter(pk=row.pk).update(**{column: value})


def by_bulk_update(row: models.Model, column: str, value: object) -> None:
    setattr(row, column, value)
    type(row)._base_manager.using(OWNER).bulk_update([row], [column])


def by_bulk_create(row: models.Model, column: str, value: object) -> None:
    setattr(row, column, value)
    type(row)._base_manager.using(OWNER).bulk_create(
        [row], update_conflicts=True, update_fields=[column], unique_fields=[row._meta.pk.name]
    )


def by_raw_sql(row: models.Model, column: str, value: object) -> None:
    field = row._meta.get_field(column)
    with connections[OWNER].cursor() as cursor:
        cursor.execute(
            f'UPDATE {row._meta.db_table} SET "{field.column}" = %s WHERE "{row._meta.pk.column}" = %s',
            [json.dumps(value) if isinstance(value, dict) else value, row.pk],
        )


def by_loaddata(row: models.Model, column: str, value: object) -> None:
    from django.core import serializers

    setattr(row, column, value)
    fixture = FIXTURES / f"{row._meta.db_table}-{next(NUMBERS)}.json"
    fixture.write_text(serializers.serialize("json", [row]))
    call_command("loaddata", str(fixture), database=OWNER, verbosity=0)


def by_delete(row: models.Model, *_: object) -> None:
    row.delete(using=OWNER)


def by_queryset_delete(row: models.Model, *_: object) -> None:
    type(row)._base_manager.using(OWNER).filter(pk=row.pk).delete()


def by_raw_delete(row: models.Model, *_: object) -> None:
    type(row)._base_manager.using(OWNER).filter(pk=row.pk)._raw_delete(OWNER)


def by_sql_delete(row: models.Model, *_: object) -> None:
    with connections[OWNER].cursor() as cursor:
        cursor.execute(f'DELETE FROM {row._meta.db_table} WHERE "{row._meta.pk.column}" = %s', [row.pk])


def by_truncate(row: models.Model, *_: object) -> None:
    with connections[OWNER].cursor() as cursor:
        cursor.execute(f"TRUNCATE {row._meta.db_table} CASCADE")


CHANGES: tuple[Way, ...] = (by_save, by_update, by_bulk_update, by_bulk_create, by_raw_sql, by_loaddata)
REMOVALS: tuple[Way, ...] = (by_delete, by_queryset_delete, by_raw_delete, by_sql_delete, by_truncate)
NUMBERS = count()
FIXTURES: Any = None


@pytest.fixture(autouse=True)
def fixtures(tmp_path):
    global FIXTURES
    FIXTURES = tmp_path


def text_of(row: models.Model) -> str | None:
    with connections[OWNER].cursor() as cursor:
        cursor.execute(
            f'SELECT t::text FROM {row._meta.db_table} t WHERE "{row._meta.pk.column}" = %s', [row.pk]
        )
        found = cursor.fetchone()
    return found and found[0]


def list_leaks(row: models.Model, ways: tuple[Way, ...], column: str = "", value: object = None) -> list[str]:
    """The ways by which the row did change; each is undone before the next."""
    before, leaks = text_of(row), []
    for way in ways:
        fresh = type(row)._base_manager.using(OWNER).get(pk=row.pk)
        with transaction.atomic(using=OWNER):
            try:
                with transaction.atomic(using=OWNER):
                    way(fresh, column, value)
                    with connections[OWNER].cursor() as cursor:
                        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                after = text_of(row)
            except (DatabaseError, ProtectedError):
                after = before
            transaction.set_rollback(True, using=OWNER)
        if after != before:
            leaks.append(f"{row._meta.db_table}.{column or '*'} {way.__name__}")
    return leaks


def first_change(model: type[models.Model]) -> "models.Field[Any, Any]":
    """A plain column that is not the key."""
    return next(
        field for field in model._meta.concrete_fields if not field.primary_key and not field.is_relation
    )


@pytest.mark.django_db(databases=["default", OWNER])
@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
def test_nothing_changes_or_removes_a_row_of_an_append_only_table(table):
    row = put_row(our_models()[table], {})
    field = first_change(our_models()[table])
    value = other(getattr(row, field.attname), field)
    as_app_role()
    assert list_leaks(row, CHANGES, field.attname, value) + list_leaks(row, REMOVALS) == []


@pytest.mark.django_db(databases=["default", OWNER])
@pytest.mark.parametrize("table", sorted(GOVERNED))
def test_nothing_changes_a_governed_column_or_removes_its_row(table):
    model, rules = our_models()[table], GOVERNED[table]
    if rules["row"] is None:
        row = model._base_manager.using(OWNER).get()
    else:
        if "besides" in rules:
            put_row(our_models()[rules["besides"][0]], rules["besides"][1])
        row = put_row(model, rules["row"])
    as_app_role()
    leaks = list_leaks(row, (by_truncate,) if not rules.get("keeps", True) else REMOVALS)
    for column in rules["columns"]:
        field = model._meta.get_field(column)
        value = rules.get("to", {}).get(column, other(getattr(row, field.attname), field))
        leaks += list_leaks(row, CHANGES, column, value)
    assert leaks == []


@pytest.mark.django_db(databases=["default", OWNER])
@pytest.mark.parametrize("table", sorted(FACTS | TIDY))
def test_the_matrix_sees_what_is_not_guarded(table):
    """The ways do reach a table that nothing guards, as far as it is one row without others on it."""
    row = put_row(our_models()[table], {})
    as_app_role()
    assert list_leaks(row, (by_raw_delete, by_sql_delete)) != []
    assert list_leaks(row, (by_truncate,)) == []
