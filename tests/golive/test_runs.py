import json

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction

from controlplane.audit.models import AuditEvent
from controlplane.documents import to_html, to_markdown
from controlplane.errors import InvalidInput, NotFound
from golive.core.values import CheckName, CheckResult, CheckStatus, Purpose
from golive.models import PreflightCheck, PreflightRun
from golive.preflight import output
from golive.preflight.report import make_document
from golive.runs import Report, RunFinished
from golive.services import run_preflight, start_preflight
from tests.golive.preflight.conftest import free_port, web  # noqa: F401

STRESS = "check_stress_scenarios"


def stress_run(**changes) -> Report:
    return run_preflight(**({"names": [STRESS], "actor": "command:preflight"} | changes))


@pytest.mark.django_db(transaction=True)
def test_a_run_keeps_its_checks_its_verdict_and_one_audit_event():
    report = stress_run()
    run = PreflightRun.objects.get(pk=report.run_id)
    assert (run.is_passed, run.passed_count, run.failed_count, run.is_complete) == (False, 0, 1, False)
    assert run.finished_at >= run.started_at
    check = run.checks.get()
    assert (check.name, check.status, check.reason) == (STRESS, "fail", "never_run")
    assert check.next_command == "python3 manage.py stress run --all"
    assert len(check.definition_version) == 64
    event = AuditEvent.objects.get(action="golive.preflight")
    assert event.subject_id == str(run.pk)
    assert event.payload["detail"]["checks"] == {STRESS: "fail: never_run"}


@pytest.mark.django_db(transaction=True)
def test_a_finished_run_and_its_checks_cannot_be_changed():
    run_id = stress_run().run_id
    attempts = (
        lambda: PreflightRun.objects.filter(pk=run_id).update(is_passed=True, failed_count=0),
        lambda: PreflightRun.objects.filter(pk=run_id).delete(),
        lambda: PreflightCheck.objects.filter(run_id=run_id).update(status="pass"),
        lambda: PreflightCheck.objects.create(
            run_id=run_id,
            name="check_risk_system",
            status="pass",
            reason="x",
            seconds=0,
            is_counted=True,
            definition_version="",
        ),
    )
    for attempt in attempts:
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()
    with pytest.raises(RunFinished):
        stress_run(run_id=run_id)


@pytest.mark.django_db(transaction=True)
def test_for_a_rearm_stress_is_shown_and_not_counted():
    report = stress_run(purpose="rearm")
    assert (report.passed_count, report.failed_count, report.is_passed) == (0, 0, False)
    assert PreflightCheck.objects.get().is_counted is False


@pytest.mark.django_db
def test_what_is_asked_for_must_exist():
    for changes, error in (
        ({"names": ["check_everything"]}, InvalidInput),
        ({"purpose": "fun"}, InvalidInput),
        ({"account": "nobody"}, NotFound),
        ({"run_id": 4711}, NotFound),
    ):
        with pytest.raises(error):
            stress_run(**changes)


@pytest.mark.django_db
def test_starting_twice_gives_the_run_that_is_under_way():
    first = start_preflight(actor="token:bot")
    assert start_preflight(actor="token:bot").pk == first.pk
    assert start_preflight(actor="token:bot", purpose="rearm").pk != first.pk
    assert (first.is_passed, first.finished_at, first.is_complete) == (None, None, True)


@pytest.fixture
def dead_database(free_port):  # noqa: F811
    """Aims every thread's connection at a port where nobody listens."""
    wrapper = connections["default"]
    wrapper.close()
    kept = dict(wrapper.settings_dict)
    # The dictionary is shared by the connections of all threads.
    wrapper.settings_dict.update({"HOST": "127.0.0.1", "PORT": str(free_port)})
    yield
    wrapper.close()
    wrapper.settings_dict.update(kept)


@pytest.mark.django_db(transaction=True)
def test_without_a_database_the_results_are_shown_and_said_to_be_unsaved(
    dead_database,
    settings,
    free_port,  # noqa: F811
    capsys,
):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port}/0"
    settings.WEB_URL = f"http://127.0.0.1:{free_port}"
    with pytest.raises(SystemExit) as end:
        call_command("preflight", "--json")
    assert end.value.code == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["run_id"] is None
    assert "refused" in answer["unsaved"]
    waiting = ("inconclusive", "depends_on=check_database_redis")
    assert {check["name"]: (check["status"], check["reason"]) for check in answer["checks"]} == {
        "check_health_endpoints": ("fail", "refused"),
        "check_risk_system": waiting,
        "check_exchange_connectivity": waiting,
        "check_database_redis": ("fail", "database_refused"),
        "check_observability": waiting,
        "check_stress_scenarios": waiting,
    }
    assert all(check["next"] for check in answer["checks"])


@pytest.mark.django_db(transaction=True)
def test_the_command_says_what_is_wrong_with_its_arguments(tmp_path):
    for arguments in (["--account", "nobody"], ["--report", str(tmp_path / "x.pdf")]):
        with pytest.raises(CommandError) as refusal:
            call_command("preflight", "--check", STRESS, *arguments)
        assert refusal.value.returncode == 2
    with pytest.raises(CommandError) as refusal:
        call_command("preflight", "--check", STRESS, "--report", str(tmp_path / "no" / "x.md"))
    assert refusal.value.returncode == 2
    assert "--report" in str(refusal.value)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("ending", "start"), [("md", "# Pre-launch"), ("html", "<!doctype html>")])
def test_the_report_is_written_in_both_forms(tmp_path, ending, start, capsys):
    path = tmp_path / f"report.{ending}"
    with pytest.raises(SystemExit):
        call_command("preflight", "--check", STRESS, "--report", str(path))
    text = path.read_text(encoding="utf-8")
    assert text.startswith(start)
    for title in ("1. Pre-flight check results", "12. Conclusion", "Appendix A"):
        assert title in text
    assert "not measured" in text
    assert "never_run" in text
    assert "QUANTUM TRADER CONTROL PLANE - PRE-FLIGHT CHECK" in capsys.readouterr().out


def result(name: CheckName, status: CheckStatus, reason: str, text: str = "", **details) -> CheckResult:
    return CheckResult(
        name=name,
        status=status,
        reason=reason,
        text=text,
        details=details,
        seconds=0.25,
        next="" if status.is_good else "python3 manage.py up",
        is_counted=True,
    )


SHOWN = Report(
    run_id=7,
    purpose=Purpose.GOLIVE,
    seconds=1.5,
    results=(
        result(
            CheckName.HEALTH,
            CheckStatus.FAIL,
            "route_missing",
            "GET http://localhost:8000/health/live: HTTP 404",
            endpoint="http://localhost:8000/health/live",
        ),
        result(CheckName.RISK, CheckStatus.PASS, "risk_system_ok", global_risk={"level": "OK", "why": []}),
        result(CheckName.OBSERVABILITY, CheckStatus.INCONCLUSIVE, "depends_on=check_health_endpoints", "|x|"),
    ),
)
EXPECTED = """\
❌ FAIL | check_health_endpoints
       Reason: route_missing: GET http://localhost:8000/health/live: HTTP 404
       endpoint: http://localhost:8000/health/live

✅ PASS | check_risk_system
       Reason: risk_system_ok
       global_risk.level: OK
       global_risk.why: none

❔ INCONCLUSIVE | check_observability
       Reason: depends_on=check_health_endpoints: |x|

==============================================================================
RESULTS: 1 passed, 2 failed
==============================================================================

⚠️  PRE-FLIGHT CHECK FAILED - DO NOT ENABLE REAL TRADING

BLOCKER PLAN
STEP 1: check_health_endpoints: route_missing: GET http://localhost:8000/health/live: HTTP 404
       python3 manage.py up
STEP 2: check_observability: depends_on=check_health_endpoints: |x|
       python3 manage.py up
STEP 3: run the pre-flight again
       python3 manage.py preflight --purpose golive"""


def test_the_output_has_the_shape_of_the_appendix():
    assert output.write_text(SHOWN) == EXPECTED
    assert output.HEADER.splitlines()[0] == "=" * 78


def test_the_json_has_the_fields_of_the_contract():
    answer = output.as_data(SHOWN)
    assert {"run_id", "purpose", "passed", "failed", "checks"} <= answer.keys()
    for check in answer["checks"]:
        assert {"name", "status", "reason", "details", "seconds", "next"} <= check.keys()
    json.dumps(answer)


def test_a_report_that_could_not_be_kept_is_no_pass():
    passed = (result(CheckName.RISK, CheckStatus.PASS, "risk_system_ok"),)
    kept = Report(run_id=1, purpose=Purpose.GOLIVE, seconds=1, results=passed)
    lost = Report(run_id=None, purpose=Purpose.GOLIVE, seconds=1, results=passed, unsaved="no connection")
    assert kept.is_passed
    assert "PRE-FLIGHT CHECK PASSED" in output.write_text(kept)
    assert not lost.is_passed
    assert "NOT PERSISTED: no connection" in output.write_text(lost)


def test_the_report_has_twelve_sections_and_says_what_nobody_measured():
    document = make_document(SHOWN)
    assert [section.title.split(".")[0] for section in document.sections[:12]] == [
        str(number) for number in range(1, 13)
    ]
    markdown = to_markdown(document)
    assert "\\|x\\|" in markdown
    assert "NOT READY - BLOCKERS PRESENT" in markdown
    assert "no programme is open" in markdown
    assert "<script" not in to_html(document)


@pytest.mark.django_db
def test_the_constraints_stand_behind_the_code():
    with pytest.raises(DatabaseError), transaction.atomic():
        PreflightRun.objects.create(
            purpose="golive",
            actor="x",
            environment="paper",
            code_version="",
            is_complete=True,
            is_passed=True,
        )
    assert connection.is_usable()
