"""Are the health endpoints there, and do they say exactly what they must?"""

import json
from typing import Any

from django.conf import settings

from golive.core.values import Finding, Measured
from golive.preflight.context import Context, Details, restart
from golive.preflight.http import Answer, fetch

SECONDS = 4.0
EXPECTED: dict[str, dict[str, Any]] = {
    "/health/live": {"status": "ok"},
    "/health/ready": {"status": "ready"},
}


def measure(context: Context) -> Measured:
    details: Details = {}
    findings: list[Finding] = []
    for path, expected in EXPECTED.items():
        answer = fetch(f"{settings.WEB_URL}{path}", seconds=SECONDS)
        details[path] = describe(answer)
        if (finding := _judge(answer, path, expected)) is not None:
            findings.append(finding)
    return Measured(reason="endpoints_healthy", details=details, findings=tuple(findings))


def describe(answer: Answer) -> Details:
    shown: Details = {"url": answer.url, "seconds": round(answer.seconds, 3)}
    if answer.cause is not None:
        return shown | {"cause": answer.cause.value}
    return shown | {"status": answer.status, "body": answer.body[:200].decode("utf-8", "replace")}


def _judge(answer: Answer, path: str, expected: dict[str, Any]) -> Finding | None:
    where = f"curl -sS -i {answer.url}"
    if answer.cause is not None:
        return Finding(reason=answer.cause.value, text=answer.text, next=restart("web"))
    if answer.status == 404:
        return Finding(
            reason="route_missing",
            text=f"GET {answer.url}: HTTP 404, so something answers there that has no such route",
            next=where,
        )
    body = read_json(answer.body)
    if answer.status == 503 and isinstance(body, dict) and body.get("status") == "not_ready":
        reasons = ", ".join(map(str, body.get("reasons") or ["no reason given"]))
        return Finding(
            reason="unhealthy",
            text=f"{path}: {reasons}",
            next="python3 manage.py preflight --check check_database_redis",
        )
    if answer.status != 200:
        return Finding(reason="http_error", text=f"GET {answer.url}: HTTP {answer.status}", next=where)
    if body != expected:
        text = f"GET {answer.url}: expected {json.dumps(expected)}, found {answer.body[:80]!r}"
        return Finding(reason="wrong_body", text=text, next=where)
    return None


def read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
