from datetime import timedelta

import pytest

from controlplane.alerts.models import Delivery
from golive.core.values import CheckName, Purpose
from golive.preflight import check_observability
from golive.preflight.check_observability import REQUIRED, measure
from golive.preflight.context import Context
from tests.golive.preflight.conftest import GOLIVE, reasons
from trading.selectors import get_clocks

FAMILIES = (*REQUIRED, check_observability.CANARY)


def expose(*names: str) -> bytes:
    lines = [line for name in names for line in (f"# TYPE {name} counter", f"{name} 0.0")]
    return "\n".join([*lines, ""]).encode()


@pytest.fixture
def quick(monkeypatch):
    """No worker answers in these tests, so there is nothing to wait for."""
    monkeypatch.setattr(check_observability, "CANARY_SECONDS", 0.2)


@pytest.fixture
def told(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    return receiver


@pytest.mark.django_db
def test_an_alert_is_really_delivered_and_a_canary_that_no_worker_counts_points_at_the_workers(
    web, told, quick
):
    web.answers["/metrics"] = (200, expose(*FAMILIES))
    found = measure(GOLIVE)
    assert reasons(found) == ["canary_not_visible"]
    assert found.findings[0].depends_on == (CheckName.DATABASE,)
    assert found.details["families"] == dict.fromkeys(REQUIRED, True)
    assert found.details["test_alert"]["state"] == "sent"
    assert "test_alert" in told.received[0]["title"]


@pytest.mark.django_db
@pytest.mark.parametrize("missing", REQUIRED)
def test_each_required_family_is_missed(web, told, quick, missing):
    web.answers["/metrics"] = (200, expose(*[name for name in FAMILIES if name != missing]))
    found = measure(GOLIVE)
    assert reasons(found)[0] == "metric_absent"
    assert found.findings[0].text == f"missing: {missing}"
    assert missing in found.findings[0].next


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "body", "reason", "depends_on"),
    [
        (404, b"", "route_missing", ()),
        (500, b"", "http_error", (CheckName.HEALTH,)),
        (200, b"<html>hello</html>", "wrong_body", ()),
        (200, b"", "wrong_body", ()),
        (200, b"\xff\xfe", "wrong_body", ()),
    ],
)
def test_an_answer_that_is_no_exposition_is_told_apart(web, told, status, body, reason, depends_on):
    web.answers["/metrics"] = (status, body)
    found = measure(GOLIVE)
    assert reasons(found) == [reason]
    assert found.findings[0].depends_on == depends_on


@pytest.mark.django_db
def test_a_web_process_that_is_gone_points_at_the_health_endpoints(settings, told, free_port):
    settings.WEB_URL = f"http://127.0.0.1:{free_port}"
    found = measure(GOLIVE)
    assert reasons(found) == ["refused"]
    assert found.findings[0].depends_on == (CheckName.HEALTH,)


@pytest.mark.django_db
def test_without_a_channel_nobody_can_be_told(web, settings):
    settings.ALERT_URLS = []
    found = measure(GOLIVE)
    assert reasons(found) == ["route_missing", "no_alert_channel"]
    assert "ALERT_URLS" in found.findings[1].next


@pytest.mark.django_db
def test_a_channel_that_does_not_accept_fails(web, told):
    told.status = 500
    assert reasons(measure(GOLIVE)) == ["route_missing", "alert_not_delivered"]


@pytest.mark.django_db
def test_a_scheduled_run_takes_the_proof_of_the_last_day_and_no_older_one(web, told):
    scheduled = Context(purpose=Purpose.GOLIVE, is_scheduled=True)
    for _ in range(2):
        assert measure(scheduled).details["test_alert"]["state"] == "sent"
    assert len(told.received) == 1
    Delivery.objects.update(sent_at=get_clocks().wall_at - timedelta(hours=25))
    measure(scheduled)
    assert len(told.received) == 2


@pytest.mark.django_db
def test_rules_that_name_what_does_not_exist_are_found(web, told, settings, tmp_path):
    (tmp_path / "prometheus").mkdir()
    (tmp_path / "grafana").mkdir()
    (tmp_path / "prometheus" / "rules.yml").write_text(
        "groups: [{name: a, rules: [{alert: A, expr: 'rate(no_such_total{a=\"b\"}[5m]) > 0'}]}]"
    )
    (tmp_path / "grafana" / "risk_resilience.json").write_text('{"panels": []}')
    settings.CONFIG_DIR = tmp_path
    found = measure(GOLIVE)
    assert reasons(found) == ["route_missing", "rules_inconsistent"]
    assert "no_such_total" in found.findings[1].text
    (tmp_path / "prometheus" / "rules.yml").unlink()
    assert reasons(measure(GOLIVE)) == ["route_missing", "rules_unreadable"]
