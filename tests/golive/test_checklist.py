"""The pre-launch checklist: machine lines are measured, human lines are signed, and both grow old."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from controlplane.approvals.core import Actor, ActorKind
from controlplane.approvals.eligibility import NoPerson
from controlplane.approvals.requests import ReasonTooShort
from controlplane.approvals.services import NotDesignated
from controlplane.audit.models import AuditEvent
from controlplane.yaml_file import YamlError
from golive.checklist import HUMAN, LineMeasured, LineUnknown, ProgrammeOver, list_lines, sign_line
from golive.checklist_rules import get_checklist_path, load_checklist_rules
from golive.models import ChecklistSignature, GoLiveConfig, Programme
from risk.models import GlobalRisk
from risk.stops.emergency import trip_emergency_stop
from tests import factories
from tests.golive import walking
from tests.golive.recording import become
from tests.risk import desk as rows
from trading.models import Permit, Trade
from trading.selectors import get_clocks

NOTE = "seen with my own eyes on the screen"


@pytest.fixture
def programme(transactional_db) -> Programme:
    account = walking.make_desk()
    return Programme.objects.create(
        account=account,
        profile="MICRO",
        opened_by="ann",
        phase_since_market_at=get_clocks().market_at,
    )


def sign(programme, line="grafana", *, is_met=True, note=NOTE, actor=None):
    return sign_line(
        programme=programme, line=line, is_met=is_met, note=note, actor=actor or walking.actor("olga")
    )


def line_of(programme, name):
    return next(line for line in list_lines(programme) if line.name == name)


def test_there_are_the_twenty_four_lines_and_every_machine_line_of_a_good_desk_is_met(programme):
    lines = list_lines(programme)
    assert len(lines) == 24
    assert [line.name for line in lines if line.kind != HUMAN and not line.is_met] == []
    assert all(line.evidence for line in lines)
    assert [line.name for line in lines if line.kind == HUMAN] == [
        "grafana",
        "operator_manual",
        "rollback_manual",
        "escalation",
        "activation_tests",
    ]
    assert {(line.is_met, line.evidence) for line in lines if line.kind == HUMAN} == {(False, "not signed")}


def break_run(programme):
    walking.pass_preflight(code_version="0" * 64)


def break_check(programme):
    walking.pass_preflight(
        checks={"check_observability": "fail"}, is_passed=False, passed_count=5, failed_count=1
    )


def age_run(programme):
    walking.pass_preflight(started_at=get_clocks().wall_at - timedelta(minutes=31))


def trip(programme):
    trip_emergency_stop(
        scope="all", reason="the test pulls it", source="manual", actor=walking.actor("olga"),
        clocks=get_clocks(), call_sweeper=lambda _: None,
    )  # fmt: skip


def worry(programme):
    now = get_clocks().wall_at
    GlobalRisk.objects.create(level="WARNING", checked_at=now, market_at=now)


def forget_trades(programme):
    Trade.objects.update(target_verified_at=None)


def go_wild(programme):
    become(programme.account, kind="LIVE")


def lose_limits(programme):
    Permit.objects.filter(account=programme.account).update(limit_set_digest="f" * 64)


BROKEN = (
    (break_run, {"backend_code", "preflight", "database", "order_path"}),
    (age_run, {"backend_code", "preflight", "redis", "risk_gate"}),
    (break_check, {"metrics_endpoint", "preflight"}),
    (trip, {"emergency_stop"}),
    (worry, {"global_risk"}),
    (forget_trades, {"demo_trades"}),
    (go_wild, {"nothing_live"}),
    (lose_limits, {"limits_in_force"}),
)


@pytest.mark.parametrize(("happen", "unmet"), BROKEN, ids=lambda case: getattr(case, "__name__", ""))
def test_what_is_no_longer_so_is_no_longer_met(programme, happen, unmet):
    happen(programme)
    found = {line.name for line in list_lines(programme) if line.kind != HUMAN and not line.is_met}
    assert unmet <= found


def test_what_is_filed_must_be_what_is_loaded(programme, settings, tmp_path):
    for path in settings.CONFIG_DIR.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "go_live.yaml").read_text(encoding="utf-8")
    settings.CONFIG_DIR = tmp_path
    (tmp_path / "go_live.yaml").write_text(
        text.replace("max_leverage: 2", "max_leverage: 1"), encoding="utf-8"
    )
    assert line_of(programme, "config_valid").evidence == "the file is not what is loaded"
    (tmp_path / "go_live.yaml").write_text(
        text.replace("max_leverage: 2", "max_leverage: x"), encoding="utf-8"
    )
    assert "max_leverage" in line_of(programme, "config_valid").evidence
    assert GoLiveConfig.objects.count() == 1


def test_a_profile_that_was_changed_and_not_loaded_is_not_the_one_in_force(programme, settings, tmp_path):
    for path in settings.CONFIG_DIR.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    settings.CONFIG_DIR = tmp_path
    path = tmp_path / "profiles.yaml"
    text = path.read_text(encoding="utf-8")
    assert "max_trades_per_day: 20" in text
    path.write_text(text.replace("max_trades_per_day: 20", "max_trades_per_day: 19", 1), encoding="utf-8")
    assert "is not loaded" in line_of(programme, "profile_loaded").evidence


def test_a_signature_names_who_and_what_and_the_newest_word_counts(programme):
    sign(programme)
    line = line_of(programme, "grafana")
    assert (line.is_met, line.by, NOTE in line.evidence) == (True, "olga", True)
    sign(programme, is_met=False, note="the dashboard is gone again")
    assert line_of(programme, "grafana").is_met is False
    told = AuditEvent.objects.filter(action="golive.checklist_sign").order_by("seq")
    assert [event.payload["detail"]["is_met"] for event in told] == [True, False]
    row = ChecklistSignature.objects.first()
    for attempt in (row.delete, lambda: ChecklistSignature.objects.update(is_met=True)):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()


def test_who_may_not_sign_is_refused_and_remembered(programme):
    factories.UserFactory(username="guest")
    cases = (
        ({"line": "nothing"}, LineUnknown),
        ({"line": "database"}, LineMeasured),
        ({"note": "ok"}, ReasonTooShort),
        ({"actor": walking.actor("guest")}, NotDesignated),
        ({"actor": Actor(name="bot", kind=ActorKind.TOKEN)}, NoPerson),
    )
    for changes, error in cases:
        with pytest.raises(error):
            sign(programme, **changes)
    assert AuditEvent.objects.filter(action="golive.checklist_sign.denied").count() == len(cases)
    assert not ChecklistSignature.objects.exists()


def test_nothing_is_signed_for_a_closed_programme(programme):
    Programme.objects.filter(pk=programme.pk).update(state="withdrawn", closed_at=get_clocks().wall_at)
    with pytest.raises(ProgrammeOver):
        sign(programme)


@pytest.mark.parametrize(
    ("age", "is_met"), [(timedelta(days=6, hours=23), True), (timedelta(days=7, hours=1), False)]
)
def test_a_signature_grows_old(programme, age, is_met):
    now = get_clocks().wall_at
    Programme.objects.filter(pk=programme.pk).update(opened_at=now - timedelta(days=30))
    programme.refresh_from_db()
    ChecklistSignature.objects.create(
        programme=programme, line="grafana", signed_by="olga", note=NOTE, is_met=True, signed_at=now - age
    )
    assert line_of(programme, "grafana").is_met is is_met


def test_a_signature_from_before_the_programme_does_not_count(programme):
    ChecklistSignature.objects.create(
        programme=programme,
        line="grafana",
        signed_by="olga",
        note=NOTE,
        is_met=True,
        signed_at=programme.opened_at - timedelta(seconds=1),
    )
    assert "too old" in line_of(programme, "grafana").evidence


def test_two_programmes_do_not_share_a_signature(programme):
    sign(programme)
    other = Programme.objects.create(
        account=rows.make_desk(name="other") if not connection.in_atomic_block else programme.account,
        profile="MICRO",
        opened_by="ann",
        phase_since_market_at=get_clocks().market_at,
    )
    assert line_of(other, "grafana").evidence == "not signed"


TEXT = get_checklist_path().read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("measure: demo_trades", "measure: good_luck", "nothing measures"),
        ("signature_days: 7", "signature_days: 0", "must be above 0"),
        ("group: Testing", "heading: Testing", "unknown key"),
        ("text: Redis connected, ", "", "missing"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, old, new, complaint):
    assert old in TEXT
    path = tmp_path / "checklist.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(YamlError) as refusal:
        load_checklist_rules(path)
    assert complaint in refusal.value.message


def test_a_checklist_without_lines_is_refused(tmp_path):
    path = tmp_path / "checklist.yaml"
    path.write_text("signature_days: 7\nlines: {}\n", encoding="utf-8")
    with pytest.raises(YamlError):
        load_checklist_rules(path)
