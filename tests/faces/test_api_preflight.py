"""Pre-flight over HTTP and its button: started at once, measured elsewhere."""

import pytest
from django.test import Client
from django.utils import timezone

from controlplane.approvals.core import Role, TokenScope
from golive.models import PreflightRun
from tests import factories
from tests.faces.test_api_facts import problem

PATH = "/preflight-runs"


def test_a_run_is_started_and_answered_at_once(api, desk):
    answer = api.post(PATH, {"purpose": "golive"})
    assert answer.status_code == 202
    run = answer.json()
    assert (run["state"], run["purpose"], run["checks"]) == ("running", "golive", [])
    assert run["actor"] == "token:bot"
    assert api.get(f"{PATH}/{run['run_id']}").json() == run


def test_a_run_that_is_under_way_is_answered_again(api, desk):
    first = api.post(PATH, {}).json()
    assert api.post(PATH, {}).json() == first
    assert api.post(PATH, {"purpose": "rearm"}).json()["run_id"] != first["run_id"]


def test_a_finished_run_says_what_each_check_measured(api, desk):
    run = PreflightRun.objects.create(
        purpose="golive", actor="system:test", environment="paper", code_version="x", is_complete=True
    )
    run.checks.create(
        name="check_database_redis",
        status="fail",
        reason="worker_silent",
        text="no worker answers",
        details={"lag_seconds": 3},
        seconds=1.5,
        next_command="start a worker",
        is_counted=True,
        definition_version="1",
    )
    PreflightRun.objects.update(finished_at=timezone.now(), is_passed=False, failed_count=1)
    answer = api.get(f"{PATH}/{run.pk}").json()
    assert (answer["state"], answer["passed"], answer["failed"]) == ("failed", 0, 1)
    assert answer["checks"] == [
        {
            "name": "check_database_redis",
            "status": "fail",
            "reason": "worker_silent",
            "text": "no worker answers",
            "details": {"lag_seconds": 3},
            "seconds": 1.5,
            "next": "start a worker",
            "is_counted": True,
        }
    ]


@pytest.mark.parametrize("body", [{"purpose": "fun"}, {"check": "x"}])
def test_a_wrong_request_names_its_field(api, desk, body):
    answer = problem(api.post(PATH, body), 422, "invalid_input")
    assert answer["errors"][0]["field"] in body
    assert not PreflightRun.objects.exists()


def test_an_unknown_account_or_run_is_not_found(api, desk):
    problem(api.post(PATH, {"account": "nobody"}), 404, "account_not_found")
    problem(api.get(f"{PATH}/999"), 404, "run_not_found")


def test_starting_takes_the_scope(api, desk, token):
    type(token).objects.update(scopes=[TokenScope.READ.value])
    problem(api.post(PATH, {}), 403, "scope_missing")


def press(role: Role) -> tuple[Client, object]:
    client = Client()
    client.force_login(factories.UserFactory(username="ann", roles=(role,)))
    return client, client.post("/admin/preflight/")


def test_the_button_starts_a_run_and_leads_to_it(desk):
    client, answer = press(Role.OPERATOR)
    run = PreflightRun.objects.get()
    assert run.actor == "ann"
    assert client.get(answer.url).status_code == 200
    assert answer.url.endswith(f"/golive/preflightrun/{run.pk}/change/")


def test_an_auditor_starts_nothing_and_a_get_starts_nothing(desk):
    client, answer = press(Role.AUDITOR)
    assert answer.status_code == 403
    assert client.get("/admin/preflight/").status_code == 405
    assert not PreflightRun.objects.exists()
