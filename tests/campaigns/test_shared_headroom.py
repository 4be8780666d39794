"""Processes that ask for more than there is never get more than that."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).resolve().parents[2] / "campaigns" / "shared_headroom.py"
INTENTS = os.environ.get("INTENTS", "40")


@pytest.mark.django_db(transaction=True)
def test_eight_processes_never_spend_the_same_headroom() -> None:
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--intents", INTENTS],
        capture_output=True,
        text=True,
        check=False,
        timeout=120 + 2 * int(INTENTS),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["asked"] == 8 * int(INTENTS)
    assert result["done"]["none"] > 0
    assert len(result["done"]) > 5
    print(done.stdout)
