"""The go-live desk: what it shows from rows, what its presses do, and that looking changes nothing."""

import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from controlplane.approvals import selectors
from controlplane.approvals.core import Role
from controlplane.audit.models import AuditEvent
from golive import models
from golive.checklist import list_lines
from tests.approvals.conftest import REASON, choose_mode, make_person
from tests.faces.crawl import digest_of_database
from trading.models import Permit

LIVE_DIGEST = "a" * 64


@pytest.fixture
def people(desk):
    choose_mode()
    make_person("ann", Role.REQUESTER, Role.OPERATOR)
    make_person("bob", Role.APPROVER)
    make_person("eve", Role.AUDITOR)
    return desk.account


def sign_in(name: str, **values) -> Client:
    client = Client(**values)
    client.force_login(selectors.get_user(name))
    return client


def page(account, verb: str = "") -> str:
    if verb:
        return reverse("golive_press", args=[account.name, verb])
    return reverse("golive_account", args=[account.name])


def read(client: Client, address: str, **headers) -> str:
    answer = client.get(address, headers=headers)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def make_freeze() -> models.Freeze:
    return models.Freeze.objects.create(
        digest="f" * 64, groups={"limits": "1" * 64}, body="{}", code_version="c" * 64, taken_by="ann"
    )


def make_programme(account, phase: str = "validation", **values) -> models.Programme:
    if phase not in {"validation", "freeze"}:
        values.setdefault("freeze", make_freeze())
    return models.Programme.objects.create(
        account=account,
        profile=values.pop("profile", "MICRO"),
        phase=phase,
        opened_by="ann",
        phase_since_market_at=timezone.now(),
        **values,
    )


def make_live(account, programme: models.Programme, **values) -> models.Activation:
    """As an activation leaves it: a live permit and the row that names it."""
    Permit.objects.filter(account=account, active=True).update(
        active=False, ended_at=timezone.now(), end_reason="activated"
    )
    permit = Permit.objects.create(
        account=account,
        kind="LIVE",
        environment="paper",
        profile=programme.profile,
        limit_set_digest=Permit.objects.filter(account=account).latest("id").limit_set_digest,
        fencing_token=1000,
        active=True,
        lease_expires_at=timezone.now() + timedelta(minutes=5),
    )
    config = models.GoLiveConfig.objects.order_by("-id").first() or make_config()
    fields = {
        "programme": programme,
        "account": account,
        "request_id": uuid.uuid4(),
        "request_digest": "d" * 64,
        "profile": programme.profile,
        "limit_set_digest": permit.limit_set_digest,
        "config": config,
        "freeze": programme.freeze,
        "permit": permit,
        "requested_by": "ann",
        "approved_by": ["bob"],
        "activated_by": "ann",
        "approval_words": "another person",
        "market_at": timezone.now() - timedelta(minutes=32),
    }
    return models.Activation.objects.create(**fields | values)


def make_config() -> models.GoLiveConfig:
    return models.GoLiveConfig.objects.create(
        digest="e" * 64,
        environment="paper",
        activation_enabled=True,
        required_preflight=True,
        allowed_profiles=["MICRO"],
        default_profile="MICRO",
        require_testnet_history=True,
        min_testnet_trades=3,
        require_risk_state="OK",
        require_ess_inactive=True,
        max_position_notional=100,
        max_leverage=2,
        max_portfolio_risk_ratio="0.1",
        max_trade_risk_ratio="0.02",
        body="{}",
        loaded_by="ann",
        reason=REASON,
    )


def test_an_account_on_paper_is_shown_with_what_it_may_do(people):
    text = read(sign_in("ann"), reverse("golive"))
    for part in ("No account is live", "paper-main", "Paper, under MICRO limits", "simulated venue"):
        assert part in text
    assert page(people, "open") in text
    assert page(people, "rollback") in text
    # An auditor looks and presses nothing.
    assert page(people, "rollback") not in read(sign_in("eve"), reverse("golive"))


def test_what_is_missing_is_said_with_the_next_step(people):
    make_programme(people)
    text = read(sign_in("ann"), page(people))
    for part in ("preflight", "manage.py preflight --account paper-main", "missing", "1. Validation"):
        assert part in text
    assert "preflight" in read(sign_in("ann"), reverse("golive"))


def test_the_phases_say_where_it_stands(people):
    make_programme(people, "observation")
    text = read(sign_in("ann"), page(people))
    assert text.count("golive-phase-done") == 3
    assert text.count('aria-current="step"') == 1
    assert text.count("golive-phase-ahead") == 1


def test_the_marks_are_taken_due_or_missed(people):
    activation = make_live(people, make_programme(people, "observation"))
    models.Observation.objects.create(
        activation=activation,
        minute=0,
        verdict="pass",
        due_market_at=activation.market_at,
        market_at=activation.market_at,
    )
    models.GuardCount.objects.create(
        activation=activation, guard="losses", verdict="inconclusive", inconclusives=2, measured="unknown"
    )
    text = read(sign_in("ann"), page(people))
    marks = text.split('<ol class="golive-marks">')[1].split("</ol>")[0]
    said = re.findall(r"desk-pill[^>]*>(\w+)<", marks)
    assert said == ["pass", "missed", "due", "due", "due", "due"]
    assert "0 failed, 2 inconclusive, 0 errors" in text
    assert "LIVE at MICRO" in text


def test_a_hold_and_the_history_of_a_rollback_are_shown(people):
    activation = make_live(people, make_programme(people, "observation"))
    models.GuardTrip.objects.create(
        activation=activation, guard="losses", verdict="fail", detail="lost 2 %", market_at=timezone.now()
    )
    models.Hold.objects.create(account=people, reason="a guard tripped: losses")
    models.Rollback.objects.create(
        account=people,
        activation=activation,
        trigger="losses",
        actor="guard:observation",
        reason="a guard tripped: losses",
        to_limit_set_digest="",
        state="done",
        steps=[{"name": "entries", "state": "done", "detail": "2 cancelled", "ms": 41.5, "attempts": 2}],
        impact={"lapsed_intents": 3},
        market_at=timezone.now(),
        finished_at=timezone.now() + timedelta(seconds=2),
    )
    text = read(sign_in("ann"), page(people))
    for part in ("HELD", "guard losses", "lost 2 %", "halted", "41.5 ms", "2 attempts", "lapsed intents: 3"):
        assert part in text
    assert page(people, "release") in text
    assert "held or rolling back: paper-main" in read(sign_in("ann"), reverse("golive"))
    assert "HELD" in read(sign_in("ann"), reverse("admin:index"))


def test_an_evaluation_is_shown_criterion_by_criterion(people):
    models.Evaluation.objects.create(
        account=people,
        profile="MICRO",
        recommendation="hold",
        criteria=[
            {"name": "trades", "measured": "3 trades", "required": "at least 20", "is_met": False},
            {"name": "uptime", "measured": "99 %", "required": "90 %", "is_met": True},
            {"name": "win_rate", "measured": "60 %", "required": "informs only", "is_met": None},
        ],
        code_version="c" * 64,
        market_at=timezone.now(),
    )
    text = read(sign_in("eve"), page(people))
    section = text.split('id="evaluation"')[1].split("</section>")[0]
    assert [word for word in ("missing", "met", "informs") if f">{word}</span>" in section] == [
        "missing",
        "met",
        "informs",
    ]
    assert "hold" in section


def test_the_timeline_tells_the_way_and_draws_it(people):
    programme = make_programme(people, "observation")
    make_live(people, programme)
    text = read(sign_in("eve"), page(people))
    section = text.split('id="timeline"')[1].split("</section>")[0]
    for part in ("<svg", "programme opened", "activated", "asked by ann, approved by bob (another person)"):
        assert part in section
    assert "MICRO from" in section


def test_what_is_written_by_people_is_escaped(people):
    models.Hold.objects.create(account=people, reason="<script>alert(1)</script>")
    for address in (page(people), reverse("golive"), reverse("admin:index")):
        text = read(sign_in("ann"), address)
        assert "<script>alert(1)" not in text
        assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("verb", ["open", "advance", "release", "evaluate", "withdraw", "rollback"])
def test_looking_at_a_press_changes_nothing(people, verb):
    client, before = sign_in("ann"), digest_of_database()
    assert client.get(page(people, verb), {"reason": REASON}).status_code == 200
    assert client.head(page(people, verb)).status_code == 200
    assert digest_of_database() == before


def test_a_programme_is_opened_and_withdrawn_by_a_press_each(people):
    client = sign_in("ann")
    answer = client.post(page(people, "open"), {"reason": REASON, "profile": "MICRO"})
    assert answer.url == page(people)
    programme = models.Programme.objects.get()
    assert (programme.state, programme.profile, programme.opened_by) == ("open", "MICRO", "ann")
    again = client.post(page(people, "open"), {"reason": REASON, "profile": "MICRO"})
    assert (again.status_code, "programme_open" in again.content.decode()) == (409, True)
    assert client.post(page(people, "withdraw"), {"reason": REASON}).status_code == 302
    programme.refresh_from_db()
    assert programme.state == "withdrawn"


def test_a_phase_is_not_left_before_its_conditions_are_met(people):
    make_programme(people)
    answer = sign_in("ann").post(page(people, "advance"))
    assert answer.status_code == 409
    assert "config_missing" in answer.content.decode()
    assert models.Programme.objects.get().phase == "validation"


@pytest.mark.parametrize(
    ("name", "verb", "said", "status", "text"),
    [
        ("eve", "rollback", {"reason": REASON}, 403, "You may not"),
        ("eve", "open", {"reason": REASON, "profile": "MICRO"}, 403, "You may not"),
        ("ann", "open", {"reason": "short", "profile": "MICRO"}, 409, "reason_too_short"),
        ("ann", "open", {"reason": "", "profile": "MICRO"}, 422, "Say why"),
        ("ann", "open", {"reason": REASON, "profile": "HUGE"}, 422, "Select a valid choice"),
        ("ann", "open", {"reason": REASON, "profile": "LARGE"}, 409, "rung_skipped"),
        ("ann", "release", {"reason": REASON}, 404, "not_held"),
    ],
)
def test_a_refusal_is_shown_with_its_code(people, name, verb, said, status, text):
    answer = sign_in(name).post(page(people, verb), said)
    assert answer.status_code in {status, 409}
    assert text in answer.content.decode()
    assert not models.Programme.objects.exists()


def test_a_press_needs_the_token_of_its_own_page(people):
    client = sign_in("ann", enforce_csrf_checks=True)
    for verb in ("open", "rollback"):
        assert client.post(page(people, verb), {"reason": REASON, "profile": "MICRO"}).status_code == 403
    assert not models.Rollback.objects.exists()
    assert Permit.objects.filter(account=people, active=True).exists()


def test_what_is_not_there_is_not_found(people):
    client = sign_in("ann")
    for address in (
        reverse("golive_account", args=["nobody"]),
        page(people, "nothing"),
        reverse("golive_press", args=["nobody", "open"]),
    ):
        assert client.get(address).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_one_press_takes_an_account_back(people):
    activation = make_live(people, make_programme(people, "observation"))
    client = sign_in("bob")
    assert "desk-stop" in read(client, page(people, "rollback"))
    answer = client.post(page(people, "rollback"), {"reason": "rolled back by hand from the admin"})
    assert answer.url == f"{page(people)}#rollbacks"
    activation.refresh_from_db()
    row = models.Rollback.objects.get()
    assert (activation.state, row.actor, row.trigger) == ("rolled_back", "bob", "manual")
    assert models.Hold.objects.filter(account=people, released_at__isnull=True).exists()
    assert AuditEvent.objects.filter(action="golive.rollback", actor="bob").exists()
    assert "HELD" in read(client, page(people))


def test_a_line_of_the_checklist_is_signed_by_a_press(people):
    make_programme(people)
    client = sign_in("ann")
    section = read(client, page(people)).split('id="checklist"')[1].split("</section>")[0]
    address = re.findall(r'href="([^"]+/sign/[^"]+)"', section)[0]
    before = digest_of_database()
    assert "Sign:" in read(client, address)
    assert client.head(address).status_code == 200
    assert digest_of_database() == before
    assert client.post(address, {"is_met": "", "reason": REASON}).status_code == 422
    assert client.post(address, {"is_met": "yes", "reason": "short"}).status_code == 409
    assert client.post(address, {"is_met": "yes", "reason": REASON}).url == f"{page(people)}#checklist"
    signed = models.ChecklistSignature.objects.get()
    assert (signed.signed_by, signed.is_met, signed.note) == ("ann", True, REASON)
    assert signed.line in address


def test_what_a_machine_measures_cannot_be_signed(people):
    programme = make_programme(people)
    machine = next(line.name for line in list_lines(programme) if line.kind == "machine")
    assert (
        sign_in("ann")
        .post(reverse("golive_sign", args=[people.name, machine]), {"is_met": "yes", "reason": REASON})
        .status_code
        == 404
    )
    assert not models.ChecklistSignature.objects.exists()
