"""Would people see what happens: metrics, rules and dashboard, and alerts that arrive?"""

import time
import uuid
from datetime import datetime, timedelta

from django.conf import settings
from kombu.exceptions import OperationalError
from prometheus_client.parser import text_string_to_metric_families

from controlplane.alerts.channels import get_every_channel
from controlplane.alerts.delivery import send_test_alert
from controlplane.alerts.models import Delivery, DeliveryState
from controlplane.alerts.services import NoAlertChannel
from controlplane.audit.selectors import get_database_time
from golive import canaries
from golive.core.values import CheckName, Finding, Measured
from golive.preflight.broker import send_canary
from golive.preflight.check_health_endpoints import describe
from golive.preflight.context import Context, Details, first_line, restart
from golive.preflight.expressions import UnreadableExpressions, list_unknown_metrics
from golive.preflight.http import Answer, fetch

REQUIRED = (
    "risk_gate_decisions_total",
    "ess_triggers_total",
    "exchange_failover_events_total",
    "stress_scenario_executions_total",
)
CANARY = "preflight_canary_answers_total"
SCRAPE_SECONDS = 4.0
CANARY_SECONDS = 5.0
POLL_SECONDS = 0.1
PROOF_LIVES_FOR = timedelta(hours=24)
Samples = dict[str, float]


def measure(context: Context) -> Measured:
    """Metrics first: without them the rest still says what it can."""
    answer = fetch(f"{settings.WEB_URL}/metrics", seconds=SCRAPE_SECONDS)
    details: Details = {"metrics": describe(answer) | {"body": f"{len(answer.body)} bytes"}}
    findings = _judge_scrape(answer)
    if not findings:
        samples = read_samples(answer.body)
        details["families"] = {name: name in samples for name in REQUIRED}
        findings += _judge_families(samples)
        if CANARY in samples:
            details["canary"], canary_findings = _measure_canary(samples[CANARY])
            findings += canary_findings
    findings += _judge_expressions()
    details["test_alert"], alert_findings = _measure_alert(context)
    findings += alert_findings
    return Measured(reason="observable", details=details, findings=tuple(findings))


def _judge_scrape(answer: Answer) -> list[Finding]:
    look = f"curl -sS -i {answer.url}"
    if answer.cause is not None:
        return [
            Finding(
                reason=answer.cause.value,
                text=answer.text,
                next=restart("web"),
                depends_on=(CheckName.HEALTH,),
            )
        ]
    if answer.status != 200:
        reason = "route_missing" if answer.status == 404 else "http_error"
        return [
            Finding(
                reason=reason,
                text=f"GET {answer.url}: HTTP {answer.status}",
                next=look,
                depends_on=(CheckName.HEALTH,) if answer.status >= 500 else (),
            )
        ]
    try:
        read_samples(answer.body)
    except ValueError as error:
        text = f"not the exposition format: {first_line(error)}"
        return [Finding(reason="wrong_body", text=text, next=look)]
    return []


def read_samples(body: bytes) -> Samples:
    """The sum of each sample name; raises ValueError where the text is not an exposition."""
    samples: Samples = {}
    for family in text_string_to_metric_families(body.decode("utf-8")):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
    if not samples:
        raise ValueError("no samples")
    return samples


def _judge_families(samples: Samples) -> list[Finding]:
    missing = [name for name in (*REQUIRED, CANARY) if name not in samples]
    if not missing:
        return []
    step = f"curl -sS {settings.WEB_URL}/metrics | grep -E '{'|'.join(missing)}'"
    return [Finding(reason="metric_absent", text=f"missing: {', '.join(missing)}", next=step)]


def _judge_expressions() -> list[Finding]:
    try:
        unknown = list_unknown_metrics()
    except UnreadableExpressions as error:
        return [Finding(reason="rules_unreadable", text=first_line(error), next="ls config/prometheus")]
    return [
        Finding(
            reason="rules_inconsistent",
            text=f"{file} names metrics that do not exist: {', '.join(names)}",
            next=f"grep -n '{names[0]}' -r config/",
        )
        for file, names in unknown.items()
    ]


def _measure_canary(before: float) -> tuple[Details, list[Finding]]:
    """Have a worker count, and look for it in the web's scrape."""
    started = time.monotonic()
    nonce = canaries.release_canary()
    try:
        send_canary(nonce)
        after = _wait_for_more(before, deadline=started + CANARY_SECONDS)
    except OperationalError as error:
        return {"sent": False}, [_unseen(first_line(error), nonce)]
    finally:
        canaries.forget_canary(nonce)
    details: Details = {"before": before, "after": after, "seconds": round(time.monotonic() - started, 3)}
    if after > before:
        return details, []
    return details, [_unseen(f"no worker's count arrived within {CANARY_SECONDS:.0f} s", nonce)]


def _unseen(text: str, nonce: uuid.UUID) -> Finding:
    return Finding(
        reason="canary_not_visible",
        text=text,
        next="python3 manage.py preflight --check check_database_redis check_observability",
        depends_on=(CheckName.DATABASE,),
    )


def _wait_for_more(before: float, *, deadline: float) -> float:
    while True:
        answer = fetch(f"{settings.WEB_URL}/metrics", seconds=SCRAPE_SECONDS)
        seen = read_samples(answer.body).get(CANARY, 0.0) if answer.status == 200 else before
        if seen > before or time.monotonic() > deadline:
            return seen
        time.sleep(POLL_SECONDS)


def _measure_alert(context: Context) -> tuple[Details, list[Finding]]:
    now = get_database_time()
    proof = _find_recent_proof(now) if context.is_scheduled else None
    try:
        delivery = proof or send_test_alert(wall_at=now)
    except NoAlertChannel as error:
        step = "export ALERT_URLS='<an apprise address>'; python3 manage.py alerts test"
        return {"channels": 0}, [Finding(reason=error.code, text=error.message, next=step)]
    details: Details = {
        "channels": len(get_every_channel()),
        "channel": delivery.channel,
        "state": delivery.state,
        "sent_at": None if delivery.sent_at is None else delivery.sent_at.isoformat(),
    }
    if delivery.state == DeliveryState.SENT:
        return details, []
    text = f"{delivery.channel}: {delivery.error or delivery.state}"
    return details, [Finding(reason="alert_not_delivered", text=text, next="python3 manage.py alerts test")]


def _find_recent_proof(now: datetime) -> Delivery | None:
    """The oldest of the channels' newest deliveries, if every channel has one of the last day."""
    newest = []
    for channel in get_every_channel():
        rows = Delivery.objects.filter(
            channel=channel.fingerprint, state=DeliveryState.SENT, sent_at__gt=now - PROOF_LIVES_FOR
        )
        sent = rows.order_by("-sent_at").first()
        if sent is None:
            return None
        newest.append(sent)
    return min(newest, key=lambda row: row.sent_at or now, default=None)
