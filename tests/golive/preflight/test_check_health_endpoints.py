import pytest

from golive.preflight import http
from golive.preflight.check_health_endpoints import measure
from tests.golive.preflight.conftest import GOLIVE, reasons


def test_both_endpoints_are_asked_and_compared(web):
    web.be_healthy()
    found = measure(GOLIVE)
    assert found.findings == ()
    assert found.details["/health/live"]["status"] == 200
    assert found.details["/health/ready"]["body"] == '{"status":"ready"}'


def test_an_address_where_nobody_listens_is_refused(settings, free_port):
    settings.WEB_URL = f"http://127.0.0.1:{free_port}"
    found = measure(GOLIVE)
    assert reasons(found) == ["refused", "refused"]
    assert found.details["/health/live"]["cause"] == "refused"
    assert found.findings[0].next == "python3 manage.py up"


def test_a_name_that_does_not_resolve_is_told_apart(settings):
    settings.WEB_URL = "http://desk.invalid:8000"
    assert reasons(measure(GOLIVE)) == ["dns", "dns"]


def test_a_server_that_never_answers_is_a_timeout(web, monkeypatch):
    web.be_healthy()
    web.silent.add("/health/live")
    answer = http.fetch(f"{web.url}/health/live", seconds=0.2)
    assert answer.cause is http.HttpCause.TIMEOUT


def test_plain_http_where_tls_is_expected_is_told_apart(settings, web):
    settings.WEB_URL = web.url.replace("http://", "https://")
    assert reasons(measure(GOLIVE)) == ["tls", "tls"]


def test_http_404_means_that_something_else_answers(web):
    found = measure(GOLIVE)
    assert reasons(found) == ["route_missing", "route_missing"]
    assert "HTTP 404" in found.findings[0].text
    assert found.findings[0].next.startswith("curl ")


def test_a_desk_that_is_not_ready_says_why(web):
    web.be_healthy()
    web.answers["/health/ready"] = (503, b'{"status":"not_ready","reasons":["redis_unreachable"]}')
    found = measure(GOLIVE)
    assert reasons(found) == ["unhealthy"]
    assert "redis_unreachable" in found.findings[0].text


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"ok", "wrong_body"),
        (200, b'{"status":"OK"}', "wrong_body"),
        (200, b'{"status":"ok","more":1}', "wrong_body"),
        (200, b"", "wrong_body"),
        (500, b'{"status":"ok"}', "http_error"),
        (503, b"<html>a proxy</html>", "http_error"),
        (302, b"", "http_error"),
    ],
)
def test_nothing_but_the_exact_answer_passes(web, status, body, reason):
    web.be_healthy()
    web.answers["/health/live"] = (status, body)
    assert reasons(measure(GOLIVE)) == [reason]
