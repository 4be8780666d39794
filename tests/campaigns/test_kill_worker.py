"""Workers killed at random moments leave nothing that recovery does not settle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).resolve().parents[2] / "campaigns" / "kill_worker.py"
KILLS = os.environ.get("KILLS", "5")


@pytest.mark.django_db(transaction=True)
def test_killed_workers_lose_nothing_send_nothing_twice_and_leave_nothing_bare() -> None:
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--kills", KILLS],
        capture_output=True,
        text=True,
        check=False,
        timeout=120 + 10 * int(KILLS),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["kills"] == int(KILLS)
    print(done.stdout)
