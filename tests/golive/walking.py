"""The way of an account to a profile, with all its evidence: a test takes one thing away."""

import itertools
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from controlplane.approvals import selectors
from controlplane.approvals.core import Role, VoteDecision
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.voting import vote_on_request
from controlplane.code_version import get_code_version
from golive import activation, programme
from golive.checklist import HUMAN, list_lines, sign_line
from golive.config_file import ensure_config
from golive.core.values import CheckName
from golive.models import Activation, PreflightCheck, PreflightRun, Programme
from risk.judgement import judge_intent
from tests import factories
from tests.approvals.conftest import REASON, choose_mode, code_of, make_person
from tests.golive.recording import rehearse
from tests.risk import desk as rows
from trading import models as facts
from trading.selectors import get_clocks

NUMBERS = itertools.count(1)


def make_people() -> None:
    """Ann may ask, bob and cat may approve, olga operates; dual."""
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    make_person("cat", Role.APPROVER)
    make_person("olga", Role.OPERATOR)


def make_evidence(account: facts.Account) -> None:
    """Configuration, a pre-flight that passed, three round trips, clean books."""
    ensure_config(actor="system:test", reason="the configuration of the test")
    for symbol, closed_by in (("SOLUSDT", "stop_loss"), ("DOGEUSDT", "take_profit"), ("SOLUSDT", "exit")):
        make_trade(account, symbol=symbol, closed_by=closed_by)
    rows.refresh(account)
    pass_preflight()
    rehearse(account)


def pass_preflight(**changes: Any) -> PreflightRun:
    """A complete run of a minute ago, of this code, with every check passed."""
    at = get_clocks().wall_at
    values: dict[str, Any] = {
        "purpose": "golive",
        "actor": "command:preflight",
        "environment": "paper",
        "code_version": get_code_version(),
        "is_complete": True,
        "started_at": at - timedelta(minutes=1),
    }
    done: dict[str, Any] = {
        "finished_at": at - timedelta(seconds=30),
        "is_passed": True,
        "passed_count": len(CheckName),
        "seconds": 30.0,
    }
    checks = changes.pop("checks", {})
    done |= {name: changes.pop(name) for name in list(changes) if name in {*done, "failed_count"}}
    run = PreflightRun.objects.create(**values | changes)
    PreflightCheck.objects.bulk_create(
        PreflightCheck(
            run=run,
            name=name.value,
            status=checks.get(name, "pass"),
            reason="ok",
            seconds=1.0,
            next_command="look",
            is_counted=True,
            definition_version="0" * 64,
        )
        for name in CheckName
    )
    PreflightRun.objects.filter(pk=run.pk).update(**done)
    run.refresh_from_db()
    return run


def make_trade(account: facts.Account, **changes: Any) -> facts.Trade:
    """A round trip of this day whose protections were read back, judged by this code."""
    clocks, symbol = get_clocks(), changes.get("symbol", "SOLUSDT")
    ask = rows.ask if symbol == "SOLUSDT" else rows.ask_doge
    intent = ask(account)
    judge_intent(intent_id=intent.pk, clocks=get_clocks())
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="done")
    values: dict[str, Any] = {
        "venue_account": rows.place_of(account),
        "strategy": intent.strategy,
        "symbol": symbol,
        "entry_intent": intent,
        "risk_amount": Decimal(2),
        "stop_verified_at": clocks.wall_at - timedelta(minutes=59),
        "target_verified_at": clocks.wall_at - timedelta(minutes=59),
        "opened_at": clocks.market_at - timedelta(hours=10),
        "closed_at": clocks.market_at - timedelta(hours=9),
    }
    return factories.TradeFactory(**values | changes)


def make_desk(**changes: Any) -> facts.Account:
    """A desk in good order with people and every evidence for MICRO."""
    make_people()
    account = rows.make_desk(**changes)
    make_evidence(account)
    return account


def actor(name: str) -> Any:
    return selectors.get_actor(name)


def begin(account: facts.Account, profile: str = "MICRO", by: str = "ann") -> Programme:
    """An open programme with a checklist that is met."""
    row = programme.open_programme(account=account, profile=profile, actor=actor(by), reason=REASON)
    meet_checklist(row)
    return row


def meet_checklist(row: Programme) -> None:
    for line in list_lines(row):
        if line.kind == HUMAN:
            sign_line(
                programme=row, line=line.name, is_met=True, note="looked at by the test", actor=actor("olga")
            )


def write_manual(settings: Any, folder: Path) -> None:
    """A manual that describes every check, as the checklist looks for it."""
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "OPERATOR_MANUAL.md").write_text("\n".join(CheckName), encoding="utf-8")
    settings.BASE_DIR = folder


def freeze(row: Programme, by: str = "ann") -> Programme:
    """In the phase of activation, as if the freeze had lasted its time."""
    row = programme.advance_programme(programme=row, actor=actor(by))
    return programme.advance_programme(programme=wait(row), actor=actor(by))


def wait(row: Programme, span: timedelta = timedelta(minutes=10)) -> Programme:
    """As if so much market time had gone by in this phase."""
    Programme.objects.filter(pk=row.pk).update(phase_since_market_at=row.phase_since_market_at - span)
    row.refresh_from_db()
    return row


def make_ready(account: facts.Account, profile: str = "MICRO") -> Programme:
    return freeze(begin(account, profile))


def ask(row: Programme, by: str = "ann", **changes: Any) -> ApprovalRequest:
    return activation.request_activation(programme=row, **{"reason": REASON, "actor": actor(by), **changes})


def approve(request: ApprovalRequest, by: str = "bob") -> ApprovalRequest:
    person = selectors.get_user(by)
    return vote_on_request(
        request_id=request.pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(person),
        reason=REASON,
        actor=selectors.actor_of_user(person),
    )


def activate(request: ApprovalRequest, by: str = "ann", **changes: Any) -> Activation:
    person = selectors.get_user(by)
    return activation.activate(
        **{
            "request_id": request.pk,
            "otp": code_of(person),
            "actor": selectors.actor_of_user(person),
            "reason": REASON,
            **changes,
        }
    )


def go_live(account: facts.Account) -> Activation:
    """From paper to MICRO: asked by ann, approved by bob, activated by ann."""
    request = ask(make_ready(account))
    approve(request)
    return activate(request)
