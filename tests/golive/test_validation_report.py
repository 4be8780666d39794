"""The pre-launch report: twelve sections of what was measured, kept by digest, and nothing asserted."""

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from controlplane.audit.models import AuditEvent
from controlplane.code_version import get_code_version
from controlplane.documents import to_html, to_markdown
from golive.checklist import sign_line
from golive.evaluation import evaluate_account
from golive.models import StressResult, ValidationReport
from golive.preflight.report import make_document
from golive.services import make_report
from golive.validation_evidence import gather_evidence
from golive.validation_report import read_run
from tests.golive import walking
from trading.selectors import get_clocks

SECTIONS = [
    "1. Pre-flight check results",
    "2. Risk gate verification",
    "3. Emergency stop verification",
    "4. Exchange connectivity verification",
    "5. Go-live configuration",
    "6. MICRO profile parameters",
    "7. System state",
    "8. Blocker plan",
    "9. Pre-launch checklist",
    "10. Risk assessment",
    "11. Recommendations",
    "12. Conclusion",
    "Appendix A: pre-flight check output",
]


KEYS = (
    "environment",
    "activation_enabled",
    "required_preflight",
    "allowed_profiles",
    "default_profile",
    "require_testnet_history",
    "min_testnet_trades",
    "require_risk_state",
    "require_ess_inactive",
    "max_position_size_usd",
    "max_leverage",
    "max_portfolio_risk_percent",
    "max_account_risk_percent",
)


@pytest.fixture
def programme(transactional_db):
    return walking.begin(walking.make_desk())


def section(markdown: str, number: int) -> str:
    return markdown.split(f"## {number}. ")[1].split("\n## ")[0]


def write(programme) -> str:
    run = walking.pass_preflight()
    return to_markdown(make_document(read_run(run), gather_evidence(programme), at=get_clocks().wall_at))


def test_the_sections_are_the_seeds_twelve_in_both_forms(programme):
    run = walking.pass_preflight()
    document = make_document(read_run(run), gather_evidence(programme))
    assert [part.title for part in document.sections] == SECTIONS
    page = to_html(document)
    assert all(f"<h2>{title}</h2>" in page for title in SECTIONS)
    assert "<script" not in page


def test_a_whole_desk_is_ready_and_every_section_says_why(programme):
    text = write(programme)
    assert "| Verdict | READY |" in text
    assert f"main to MICRO, programme {programme.pk}, validation" in text
    assert "| allowed | " in section(text, 2)
    assert "passed in 1.5" in section(text, 3)
    assert "clean (run " in section(text, 4)
    config = section(text, 5)
    for key in KEYS:
        assert f"| {key} | " in config
    assert "| Maximum position | 100.00 USD |" in section(text, 6)
    assert section(text, 7).count("not measured") >= 7
    assert section(text, 9).count("| met |") == 24
    assert "Open lines: 0. Decision: Proceed to the configuration freeze" in section(text, 12)


def test_an_open_line_holds_though_every_check_passed(programme):
    sign_line(
        programme=programme,
        line="grafana",
        is_met=False,
        note="the dashboard shows nothing",
        actor=walking.actor("olga"),
    )
    text = write(programme)
    assert "NOT READY - BLOCKERS PRESENT" in text
    assert "checklist: grafana" in section(text, 11)
    assert "Open lines: 1. Decision: HOLD" in section(text, 12)


def test_what_is_not_measured_says_so_and_without_a_programme_nothing_is_ready(transactional_db):
    account = walking.make_desk()
    assert account.programmes.count() == 0
    text = write(None)
    assert "NOT READY - BLOCKERS PRESENT" in text
    assert "no programme is open" in section(text, 9)
    assert section(text, 9).count("| not measured |") == 24
    assert "Advancement: not measured" in section(text, 6)


def test_evaluation_and_stress_results_come_in_as_they_are(programme):
    row = evaluate_account(account=programme.account, actor="system:test", clocks=get_clocks())
    StressResult.objects.create(
        scenario="flash_crash",
        is_passed=True,
        code_version=get_code_version(),
        environment="paper",
    )
    text = write(programme)
    assert f"| Evaluation {row.pk}: hold | Measured | Required | State |" in section(text, 6)
    assert "| trades | 0 trades | at least 20 trades | not met |" in section(text, 6)
    assert "| flash_crash | passed | " in section(text, 7)


def test_it_is_kept_once_by_its_digest_and_never_changed(programme):
    run = walking.pass_preflight()
    row = make_report(programme=programme, run=run)
    assert (row.programme, row.run_id, len(row.digest)) == (programme, run.pk, 64)
    event = AuditEvent.objects.get(action="golive.report")
    assert (event.subject_id, event.payload["detail"]["run"]) == (row.digest, run.pk)
    for attempt in (row.delete, lambda: ValidationReport.objects.update(markdown="READY")):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()


def test_the_command_keeps_the_report_of_the_open_programme(programme, capsys):
    with pytest.raises(CommandError) as refusal:
        call_command("golive", "report", "--account", "main", "--actor", "guest")
    assert refusal.value.returncode == 1
    call_command("golive", "report", "--account", "main", "--actor", "olga")
    assert ValidationReport.objects.get().digest in capsys.readouterr().out


def test_preflight_writes_the_file_and_keeps_the_same_text(programme, tmp_path, capsys):
    path = tmp_path / "report.md"
    with pytest.raises(SystemExit):
        call_command("preflight", "--check", "check_stress_scenarios", "--report", str(path))
    row = ValidationReport.objects.get()
    assert path.read_text(encoding="utf-8") == row.markdown
    assert row.programme == programme


def test_the_checklist_is_shown_and_signed_by_command(programme, capsys):
    call_command("golive", "checklist", "--account", "main")
    assert "24 of 24 met" in capsys.readouterr().out
    call_command(
        "golive", "sign", "grafana", "--account", "main", "--actor", "olga", "--not-met",
        "--reason", "the dashboard shows nothing",
    )  # fmt: skip
    assert "grafana: not met, says olga" in capsys.readouterr().out
    call_command("golive", "checklist", "--account", "main", "--json")
    assert '"evidence"' in capsys.readouterr().out
