"""Statements of the decision path, run by the driver itself: prepared, bound at the server.

They take part in the connection's transaction like any other; Django's cursor would bind in the
client and plan every statement anew.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from django.db import connection

# From the first time on; Django switches preparing off for its connections.
PREPARE_FROM = 0


def run_native(statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows; database errors are Django's."""
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    # Django's own cursors bind in the client, and are never prepared.
    connection.connection.prepare_threshold = PREPARE_FROM
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters, prepare=True)
        return cursor.fetchall()
