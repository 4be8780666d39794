"""Nothing that adds risk is allowed or starts after a trip's commit, however many race it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).resolve().parents[2] / "campaigns" / "stop_race.py"
TRIPS = os.environ.get("TRIPS", "60")


@pytest.mark.django_db(transaction=True)
def test_nothing_is_allowed_or_starts_after_a_trips_commit() -> None:
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--trips", TRIPS],
        capture_output=True,
        text=True,
        check=False,
        timeout=240 + 2 * int(TRIPS),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["trips"] >= result["trips_with_every_queue_waiting"] == int(TRIPS)
    assert result["decisions_after"] == result["requests_after"] == result["recorded_after"] == 0
    # The same count finds both where the fences are taken out.
    assert min(result["planted"]["decisions_after"], result["planted"]["requests_after_return"]) > 0
    print(done.stdout)
