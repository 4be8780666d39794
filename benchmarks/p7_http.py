"""P7: `POST /api/v1/order-intents` (execute: false) beside `GET /health/live`; p50 at most 6 x, stretch 4 x.

    .venv/bin/python -m benchmarks.p7_http [--rounds N] [--json]

One gunicorn as `manage.py up` starts it, on a database with a quiet desk, and one client that keeps its
connection. Every answer must be 2xx, and every judgement must carry the id of its row. Beside the
goal: the same judgement made in this process, without HTTP.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from benchmarks.database import own_database, settle
from benchmarks.harness import Measured, Row, Variant, measure, run_alone, timed

TARGET = 6.0
PER_ROUND = 20
TOKEN = uuid.uuid4().hex
START_WITHIN = 30.0


class Client:
    """HTTP/1.1 over one connection that is kept; as little work as can be, so that the server is measured."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def get(self, path: str) -> tuple[int, bytes]:
        return self._send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return self._send(head.encode() + body)

    def _send(self, request: bytes) -> tuple[int, bytes]:
        self.socket.sendall(request)
        status = int(self.file.readline().split()[1])
        length = 0
        while (line := self.file.readline()) not in {b"\r\n", b""}:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self.file.read(length)

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Server:
    """The web process of a desk, with the options that the supervisor gives it."""

    def __init__(self, port: int, state_dir: Path) -> None:
        from controlplane.supervisor.plan import plan_web

        self.port = port
        (state_dir / "metrics").mkdir()
        environment = os.environ | {
            "PROMETHEUS_MULTIPROC_DIR": str(state_dir / "metrics"),
            "CONTROLPLANE_NO_BOOTSTRAP": "1",
            "CONTROLPLANE_HOME": str(state_dir),
        }
        environment.pop("DATABASE_OWNER_URL", None)
        plan = SimpleNamespace(
            options=SimpleNamespace(port=port), state_dir=state_dir, environment=lambda: environment
        )
        self.log = state_dir / "web.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                list(plan_web(plan).command), env=environment, stdout=log, stderr=log
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                Client(self.port).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        sys.exit(f"the web server did not start:\n{self.log.read_text(encoding='utf-8')[-4000:]}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def run(options: argparse.Namespace) -> Iterator[Row]:
    with own_database("p7"), tempfile.TemporaryDirectory(prefix="cp-bench-web-") as folder:
        from benchmarks import desk
        from controlplane.supervisor.options import free_port

        account = desk.make_busy_account("main")
        make_token()
        settle()
        server = Server(free_port(), Path(folder))
        client = Client(server.port)
        try:
            measured = measure(
                make_variants(client, account.name),
                rounds=options.rounds,
                per_round=PER_ROUND,
                before_round=desk.keep_fresh([account]),
            )
        finally:
            client.close()
            server.stop()
        yield from rows(measured)


def make_token() -> None:
    """A token of a person who may ask for orders; its value is known to this process only."""
    from controlplane.approvals.core import Role, TokenScope, hash_token
    from tests.factories import ApiTokenFactory, UserFactory

    user = UserFactory(roles=(Role.REQUESTER, Role.OPERATOR))
    ApiTokenFactory(user=user, raw=TOKEN, token_sha256=hash_token(TOKEN), scopes=list(map(str, TokenScope)))


def make_body(account: str) -> dict[str, object]:
    return {
        "account": account,
        "strategy": "trend",
        "symbol": "SOLUSDT",
        "side": "buy",
        "type": "limit",
        "quantity": "0.6",
        "price": "150",
        "stop_loss": "146.25",
        "take_profit": "157.5",
        "client_ref": uuid.uuid4().hex,
        "execute": False,
    }


def make_variants(client: Client, account: str) -> list[Variant]:
    from controlplane.approvals.services import check_token
    from controlplane.intake import request_order
    from risk.schemas import OrderIntentIn, order_intent_out
    from trading.selectors import get_clocks

    last = 0

    def live() -> None:
        status, body = client.get("/health/live")
        assert (status, json.loads(body)) == (200, {"status": "ok"})

    def judge() -> None:
        nonlocal last
        status, body = client.post("/api/v1/order-intents", json.dumps(make_body(account)).encode())
        answer = json.loads(body)
        assert status == 200, answer
        assert answer["decision"] == "allowed", answer
        assert answer["decision_id"] > last
        last = answer["decision_id"]

    def state() -> None:
        status, body = client.post("/api/v1/order-intents", b"{}")
        assert status == 422, body

    def judge_here() -> None:
        actor = check_token(TOKEN)
        answer = request_order(wish=OrderIntentIn(**make_body(account)), actor=actor, clocks=get_clocks())
        assert order_intent_out(answer.intent, answer.decision, answer.order).decision == "allowed"

    return [
        Variant(name="live", sample=timed(live), weight=10),
        Variant(name="judge", sample=timed(judge)),
        Variant(name="refused", sample=timed(state)),
        Variant(name="here", sample=timed(judge_here)),
    ]


def rows(measured: Measured) -> Iterator[Row]:
    for name, what, target in (
        ("judge", "POST /api/v1/order-intents, execute: false", TARGET),
        ("refused", "of this, HTTP alone (an empty body, refused with 422)", None),
        ("here", "of this, the service in this process, without HTTP", None),
    ):
        yield Row(
            goal="P7",
            what=what,
            ours=measured.text(name),
            anchor=f"GET /health/live {measured.text('live')}",
            ratio=measured.ratio(name),
            target=target,
            null=measured.null,
            note="stretch 4" if target else "",
        )


if __name__ == "__main__":
    run_alone(__doc__, run)
