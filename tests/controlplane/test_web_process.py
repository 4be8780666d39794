"""A web process never loads what talks to venues."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import factories

PROGRAM = """
import json, sys
import controlplane.wsgi
from django.test import Client

client, token = Client(), {"Authorization": "Bearer web-test"}
answers = {}
for path in ("/health/live", "/admin/login/", "/api/v1/openapi.json"):
    answers[path] = client.get(path).status_code
for path in ("/accounts/paper-main", "/accounts/paper-main/headroom", "/risk/state", "/audit"):
    answers[path] = client.get("/api/v1" + path, headers=token).status_code
order = {
    "account": "paper-main", "strategy": "reversion", "symbol": "XRPUSDT", "side": "buy", "type": "market",
    "quantity": "30", "stop_loss": "1.94", "take_profit": "2.10", "client_ref": "web", "execute": True,
}
answer = client.post(
    "/api/v1/order-intents", json.dumps(order), content_type="application/json", headers=token
)
answers["order"] = answer.json()
loaded = [name for name in sys.modules if name.split(".")[0] in {"ccxt"}]
print(json.dumps({"answers": answers, "loaded": loaded}))
"""


@pytest.mark.django_db(transaction=True)
def test_ccxt_is_never_loaded_even_when_an_order_is_to_be_executed():
    factories.make_desk()
    factories.ApiTokenFactory(name="web", raw="web-test")
    environment = os.environ | {
        "ALLOWED_HOSTS": "testserver",
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["answers"].pop("order")["order"] == {"state": "queued"}
    assert set(result["answers"].values()) == {200}, result
    assert result["loaded"] == []
