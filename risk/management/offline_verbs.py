"""`emergency_stop trip|sweep --offline`: only keys and the network; the database may be gone."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from risk.core.emergency_stop import PositionPolicy
from risk.stops.offline_adoption import get_folder
from trading.dispatch.offline import OfflineOrder, OfflineResult, stop_offline

SWEPT = "swept without the database"
GIVE_UP_SECONDS = 120.0


def add_options(verb: ArgumentParser, *, positions_default: str | None = PositionPolicy.KEEP.value) -> None:
    verb.add_argument(
        "--offline", action="store_true", help="without the database: needs only keys and network"
    )
    verb.add_argument(
        "--positions",
        choices=[policy.value for policy in PositionPolicy],
        default=positions_default,
        help="what becomes of what is held, where the profile does not do more",
    )
    verb.add_argument("--seconds", type=float, default=GIVE_UP_SECONDS, help="offline: give up after so long")


def run_offline(options: dict[str, Any]) -> OfflineResult:
    """Stop now; the journal is adopted, and the desk HALTED, at the next start with a database."""
    order = OfflineOrder(
        scope=options["scope"],
        positions=options["positions"],
        actor=options.get("actor") or "",
        reason=options.get("reason") or SWEPT,
    )
    return stop_offline(
        order,
        folder=get_folder(),
        wall=lambda: datetime.now(UTC),
        seconds=options["seconds"],
    )


def describe(result: OfflineResult, *, as_json: bool) -> str:
    answer = {
        "confirmed": result.is_confirmed,
        "places": list(result.places),
        "outstanding": result.outstanding,
        "journal": str(result.journal),
        "journal_trouble": result.journal_trouble,
    }
    if as_json:
        return json.dumps(answer)
    lines = [f"{place}: {result.outstanding.get(place, 'confirmed')}" for place in result.places]
    kept = f"NOT KEPT: {result.journal_trouble}" if result.journal_trouble else str(result.journal)
    return "\n".join([*lines, f"journal: {kept}"])
