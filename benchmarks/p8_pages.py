"""P8: list pages of the admin with a million rows beside a thousand; p95 at most 1.3 x, searches too.

    .venv/bin/python -m benchmarks.p8_pages [--rows N] [--rounds N] [--json]

Two databases with the same desk and people. Orders, fills and decisions are copied as for P3; audit
events and alerts are made in bulk. Each page is asked for through Django's own client, signed in,
alternately on both; it must be 200 and show a row, or say that there is none where none matches.
"""

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks import p3_history
from benchmarks.database import drop, own_database, owner_connection, recreate, settle
from benchmarks.harness import Row, format_seconds, run_alone

if TYPE_CHECKING:
    from django.test import Client

TARGET = 1.3
FEW, MANY = 1_000, 1_000_000
WARM = 3
# name: path below /admin/. What finds much, what finds little, and what finds nothing.
PAGES = {
    "audit": "audit/auditevent/",
    "audit action": "audit/auditevent/?action=risk.restrict",
    "audit rare action": "audit/auditevent/?action=golive.rollback",
    "audit no actor": "audit/auditevent/?actor=nobody",
    "audit subject": "audit/auditevent/?subject=account:7",
    "audit time": "audit/auditevent/?since=2020-01-01T00:00&until=2020-01-02T00:00",
    "audit words": "audit/auditevent/?q=bounds",
    "audit rare words": "audit/auditevent/?q=needle",
    "audit no words": "audit/auditevent/?q=haystackless",
    "decisions": "risk/decision/",
    "decisions denied": "risk/decision/?allowed__exact=0",
    "decisions search": "risk/decision/?q=bench1000000500",
    "orders": "trading/order/",
    "orders open": "trading/order/?state__exact=open",
    "orders search": "trading/order/?q=bench1000000500",
    "fills": "trading/fill/",
    "fills search": "trading/fill/?q=bench1000000500",
    "alerts": "alerts/alert/",
    "alerts critical": "alerts/alert/?severity__exact=critical",
    "alerts open": "alerts/alert/?resolved_at__isempty=1",
    "alerts search": "alerts/alert/?q=needle",
}
EVENTS = """
INSERT INTO audit_auditevent (seq, prev_hash, hash, body, occurred_at, action, actor, actor_kind,
    subject_type, subject_id, reason, correlation_id, environment, payload)
SELECT n, md5('p' || n) || md5('q' || n), md5('h' || n) || md5('i' || n), body,
    now() - (({offset} + %(last)s - n) || ' s')::interval, action, 'operator' || n %% 40, 'user', 'account',
    (n %% 10)::text, 'the measured value left its bounds', '', 'paper', body::jsonb
FROM generate_series({offset} + %(first)s::bigint, {offset} + %(last)s::bigint) n,
  LATERAL (SELECT CASE WHEN n = {offset} + 500 THEN 'golive.rollback' WHEN n %% 3 = 0 THEN 'risk.lift'
    ELSE 'risk.restrict' END AS action) what,
  LATERAL (SELECT json_build_object('action', action, 'n', n::text, 'reason',
    'the measured value left its bounds' || CASE WHEN n = {offset} + 500 THEN ' needle' ELSE '' END)::text
    AS body) made
"""
ALERTS = """
INSERT INTO alerts_alert (id, code, severity, scope, text, correlation_id, dedupe_key, owner, opened_at,
    acknowledged_by, resolved_at)
SELECT n, 'bench' || n %% 5, CASE WHEN n %% 10 = 0 THEN 'critical' ELSE 'warning' END,
    'account:' || n %% 40,
    'It happened' || CASE WHEN n = {offset} + 500 THEN ' needle' ELSE '' END, '', 'bench' || n, 'operator',
    past, '', past
FROM generate_series({offset} + %(first)s::bigint, {offset} + %(last)s::bigint) n,
  LATERAL (SELECT now() - (({offset} + %(last)s - n) || ' s')::interval AS past) moment
"""


def run(options: argparse.Namespace) -> Iterator[Row]:
    with own_database("p8") as few_name:
        from django.db import connections

        from benchmarks import desk

        account = desk.make_busy_account("main")
        originals = p3_history.make_originals(account)
        fill(originals, 1, FEW)
        client = sign_in()
        many_name = f"{few_name}_many"
        connections.close_all()
        recreate(many_name, template=few_name)
        try:
            few = connections["default"]
            many = few.copy()
            many.settings_dict["NAME"] = many_name
            p3_history.with_many(many_name, lambda: fill(originals, FEW + 1, options.rows))
            for name, path in PAGES.items():
                if not options.pages or any(word in name for word in options.pages):
                    yield compare(name, client, path, (few, many), options)
        finally:
            connections["default"] = few
            few.close()
            many.close()
            drop(many_name)


def fill(originals: dict[str, str], first: int, last: int) -> None:
    p3_history.fill(originals, first, last)
    with owner_connection() as connection:
        connection.execute("SET session_replication_role = replica")
        for table, statement in (("audit_auditevent", EVENTS), ("alerts_alert", ALERTS)):
            triggers = connection.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled = 'A'", [table]
            ).fetchall()
            with connection.transaction():
                for (name,) in triggers:
                    connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
                made = statement.format(offset=p3_history.OFFSET)
                connection.execute(made, {"first": first, "last": last})
                for (name,) in triggers:
                    connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    settle()


def sign_in() -> "Client":
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    settings.SECURE_SSL_REDIRECT = False
    client = Client()
    client.force_login(User.objects.create_superuser("reader"))
    return client


def compare(
    name: str, client: "Client", path: str, databases: tuple[Any, Any], options: argparse.Namespace
) -> Row:
    few, many = (sampler(client, path, database) for database in databases)
    for _ in range(WARM):
        few(), many()
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for number in range(options.rounds):
        # Each side goes first as often as the other; the base is asked twice, for the null.
        order = (0, 1, 2) if number % 2 else (2, 1, 0)
        for side in order:
            times[side].append((few, many, few)[side]())
    low, high, again = (p95(side) for side in times)
    return Row(
        goal="P8",
        what=f"{name}: p95 with {options.rows:,} rows",
        ours=format_seconds(high),
        anchor=f"with {FEW:,}: {format_seconds(low)}",
        ratio=high / low,
        target=TARGET,
        note=f"median {median(times[1]) / median(times[0]):.2f} x, null {again / low:.2f}",
    )


def sampler(client: "Client", path: str, database: Any) -> Callable[[], float]:
    def ask() -> float:
        p3_history.use(database)
        started = perf_counter()
        answer = client.get(f"/admin/{path}")
        seconds = perf_counter() - started
        assert answer.status_code == 200, (path, answer.status_code, answer.content[:500])
        return seconds

    return ask


def p95(times: list[float]) -> float:
    return sorted(times)[max(0, int(len(times) * 0.95) - 1)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=MANY)
    parser.add_argument("--pages", nargs="*", metavar="WORD", help="only pages whose name holds one of these")


if __name__ == "__main__":
    run_alone(__doc__, run, add_arguments)
