"""Overrides: asked, approved by another, used by the gate, over by themselves; never more than stated."""

import json
from dataclasses import fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from controlplane.approvals import selectors, voting
from controlplane.approvals.core import Actor, ActorKind, Mode, Role, VoteDecision
from controlplane.approvals.kinds import KINDS
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from risk import models, overrides
from risk.core.overrides import MAX_RAISE, OVERRIDABLE_LIMITS, apply_overrides, find_fault
from risk.core.values import OverrideFacts
from risk.judgement import judge_intent
from risk.limits import load_profiles, with_digest
from risk.registration import ensure_limit_set, store_limit_set
from tests import factories
from tests.approvals.conftest import REASON, choose_mode, code_of, forget_codes, make_person, unguarded
from tests.risk import desk as rows
from trading.models import Account, Permit
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
D = Decimal
MICRO = load_profiles()["MICRO"]
LIMIT = "max_position_notional"
RAISED = D(150)


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


@pytest.fixture
def account(db):
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    return rows.make_desk()


def ask(account, limit=LIMIT, value=RAISED, by="ann", **changes):
    actor = by if isinstance(by, Actor) else selectors.get_actor(by)
    values = {"account": account, "limit": limit, "value": value, "reason": REASON, "actor": actor}
    return overrides.request_override(**values | changes)


def approve(row, name="bob"):
    user = selectors.get_user(name)
    return voting.vote_on_request(
        request_id=row.pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(user),
        reason=REASON,
        actor=selectors.actor_of_user(user),
    )


def judge(account, quantity="0.9"):
    """SOL at 150: 0.9 is 135 USDT, above MICRO's 100 and below 150."""
    intent = rows.ask(account, quantity=D(quantity))
    return judge_intent(intent_id=intent.pk, clocks=get_clocks())


def relax(account):
    """Limits under which only the size of the position binds."""
    limits = with_digest(
        replace(MICRO, max_trade_risk_ratio=D("0.5"), max_portfolio_risk_ratio=D("0.5"), max_leverage=D(3))
    )
    stored = store_limit_set(limits=limits, actor="system:test", reason=REASON)
    Permit.objects.filter(account=account).update(limit_set_digest=stored.digest)


def test_an_approved_override_raises_one_limit_for_one_order(account):
    relax(account)
    assert judge(account).reason == "ORDER_NOTIONAL"
    request = ask(account, uses=1)
    assert not overrides.list_active_overrides(account).exists()
    version = models.AccountBook.objects.get(account=account).version
    assert approve(request).state == "executed"
    (row,) = overrides.list_active_overrides(account)
    assert (row.limit, row.value, row.max_uses, row.requested_by, row.approved_by) == (
        LIMIT,
        RAISED,
        1,
        "ann",
        "bob",
    )
    assert row.expires_at - row.starts_at == timedelta(hours=1)
    assert models.AccountBook.objects.get(account=account).version == version + 1
    decision = judge(account)
    assert (decision.allowed, decision.override_id) == (True, row.pk)
    assert not overrides.list_active_overrides(account).exists()


def test_start_and_end_are_events(account):
    approve(ask(account))
    row = models.Override.objects.get()
    overrides.end_override(override_id=row.pk, reason=REASON, actor=selectors.get_actor("ann"))
    row.refresh_from_db()
    assert row.ended_by == "ann"
    assert not overrides.list_active_overrides().exists()
    events = AuditEvent.objects.filter(action__startswith="risk.override").order_by("seq")
    assert list(events.values_list("action", "actor")) == [
        ("risk.override_start", "bob"),
        ("risk.override_end", "ann"),
    ]
    assert events[0].payload["detail"]["value"] == "150"


def test_an_override_is_over_when_its_time_is_over(account):
    approve(ask(account, window=timedelta(minutes=5)))
    with unguarded("risk_override") as owner:
        owner.execute("UPDATE risk_override SET starts_at = now() - interval '9 minutes', expires_at = now()")
    assert not overrides.list_active_overrides(account).exists()
    with refused("override_over"):
        overrides.end_override(
            override_id=models.Override.objects.get().pk, reason=REASON, actor=selectors.get_actor("ann")
        )


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        (LIMIT, "100"),
        (LIMIT, "99"),
        (LIMIT, "200.0000000001"),
        (LIMIT, "NaN"),
        (LIMIT, "Infinity"),
        ("max_positions", "2.5"),
        ("max_daily_loss_ratio", "0.006"),
        ("max_leverage", "3"),
        ("max_price_age", "60"),
        ("digest", "1"),
        ("nothing", "1"),
    ],
)
def test_a_value_that_does_not_raise_or_raises_too_much_cannot_be_asked(account, limit, value):
    with refused("override_invalid"):
        ask(account, limit, D(value))
    denied = AuditEvent.objects.get(action="approvals.request_open.denied")
    assert (denied.actor, denied.payload["detail"]["code"]) == ("ann", "override_invalid")


@pytest.mark.parametrize(
    "changes",
    [
        {"window": timedelta(0)},
        {"window": timedelta(milliseconds=500)},
        {"window": timedelta(minutes=61)},
        {"uses": 0},
        {"uses": 11},
    ],
)
def test_it_stands_for_an_hour_at_most_and_for_some_orders(account, changes):
    with refused("override_invalid"):
        ask(account, **changes)


def test_every_overridable_limit_can_be_raised_up_to_twice_itself(account):
    for limit in OVERRIDABLE_LIMITS:
        present = D(getattr(MICRO, limit))
        assert find_fault(MICRO, limit, MAX_RAISE * present) is None
        assert find_fault(MICRO, limit, present) is not None
        facts = OverrideFacts(override_id=1, limit=limit, value=MAX_RAISE * present)
        raised = apply_overrides(MICRO, (facts,))
        changed = [f.name for f in fields(MICRO) if getattr(raised, f.name) != getattr(MICRO, f.name)]
        assert changed == [limit]
        assert type(getattr(raised, limit)) is type(getattr(MICRO, limit))


@pytest.mark.parametrize(
    ("limit", "value", "becomes"),
    [
        (LIMIT, 50, 100),
        (LIMIT, 150, 150),
        (LIMIT, 5000, 200),
        ("max_daily_loss_ratio", 1, MICRO.max_daily_loss_ratio),
        ("max_price_age", 1, MICRO.max_price_age),
    ],
)
def test_a_row_never_lowers_nor_raises_beyond_twice_nor_touches_another_limit(limit, value, becomes):
    facts = OverrideFacts(override_id=1, limit=limit, value=D(value))
    assert getattr(apply_overrides(MICRO, (facts,)), limit) == becomes


def test_of_two_rows_the_higher_counts():
    two = tuple(OverrideFacts(override_id=n, limit=LIMIT, value=D(v)) for n, v in ((1, 180), (2, 120)))
    assert apply_overrides(MICRO, two).max_position_notional == 180
    assert apply_overrides(MICRO, two[::-1]).max_position_notional == 180


def test_the_one_who_asked_cannot_approve(account):
    make_person("eve", Role.REQUESTER, Role.APPROVER)
    with refused("self_approval"):
        approve(ask(account, by="eve"), "eve")


def test_a_token_may_ask_but_not_end(account):
    factories.ApiTokenFactory(name="bot", user=selectors.get_user("ann"))
    bot = Actor(name="bot", kind=ActorKind.TOKEN, roles=frozenset(Role))
    approve(ask(account, by=bot))
    with refused("not_a_person"):
        overrides.end_override(override_id=models.Override.objects.get().pk, reason=REASON, actor=bot)
    assert AuditEvent.objects.filter(action="risk.override_end.denied").count() == 1


def test_one_person_alone_gets_none(account):
    choose_mode(Mode.SOLO)
    with refused("solo_refused"):
        ask(account)


def test_one_limit_is_raised_once_at_a_time(account):
    first, second = ask(account), ask(account, value=D(160))
    approve(first)
    with refused("override_active"):
        ask(account, value=D(170))
    forget_codes()
    with refused("override_active"):
        approve(second)
    assert models.Override.objects.count() == 1


def test_limits_that_changed_since_void_the_request(account):
    row = ask(account)
    other = ensure_limit_set(profile="SMALL", actor="system:test")
    Permit.objects.filter(account=account).update(limit_set_digest=other.digest)
    with refused("limits_changed"):
        approve(row)
    assert not models.Override.objects.exists()


def test_an_account_without_known_limits_or_an_unknown_override(account):
    with refused("override_not_found"):
        overrides.end_override(override_id=999, reason=REASON, actor=selectors.get_actor("ann"))
    Permit.objects.filter(account=account).update(active=False)
    with pytest.raises(DomainError):
        ask(account)


def run(capsys, *words):
    call_command("override", *words, "--json")
    return json.loads(capsys.readouterr().out)


def test_the_command_asks_approves_lists_and_ends(account, capsys):
    asked = run(
        capsys,
        "request",
        *("--account", account.name, "--limit", LIMIT, "--value", "150", "--uses", "2", "--minutes", "30"),
        *("--actor", "ann", "--reason", REASON),
    )
    assert (asked["state"], asked["subject"]["window_seconds"]) == ("proposed", 1800)
    assert run(capsys, "list") == {"overrides": [], "requests": [asked]}
    code = code_of(selectors.get_user("bob"))
    words = ("approve", asked["id"], "--otp", code, "--actor", "bob", "--reason", REASON)
    assert run(capsys, *words)["state"] == "executed"
    (row,) = run(capsys, "list")["overrides"]
    assert (row["value"], row["max_uses"], row["used"]) == ("150", 2, 0)
    ended = run(capsys, "end", str(row["id"]), "--actor", "ann", "--reason", REASON)
    assert ended["ended_at"] is not None
    call_command("override", "list")
    assert capsys.readouterr().out == "no limit is raised, and nothing waits\n"


def test_the_command_refuses_in_one_line_with_exit_1(account):
    ask_words = ("request", "--account", account.name, "--limit", LIMIT, "--actor", "ann")
    for words, code in (
        ((*ask_words, "--value", "many"), "override_invalid"),
        ((*ask_words, "--value", "1000"), "override_invalid"),
        (("end", "1", "--actor", "ann"), "override_not_found"),
    ):
        with pytest.raises(CommandError, match=f"^{code}: ") as refusal:
            call_command("override", *words, "--reason", REASON)
        assert refusal.value.returncode == 1


# What the database itself refuses, as the application's role.


def values_of(request, **changes):
    asked = request.subject
    plain = {
        "account": Account.objects.get(name=asked["account"]),
        "request_id": request.pk,
        "limit": asked["limit"],
        "value": D(asked["value"]),
        "max_uses": asked["uses"],
        "reason": REASON,
        "requested_by": "ann",
        "approved_by": "bob",
        "expires_at": selectors.get_database_time() + timedelta(days=9),
    }
    return plain | changes


def test_no_limit_is_raised_without_an_approved_request(account):
    request = ask(account, uses=1)
    for changes in ({}, {"request_id": UUID(int=7)}):
        with pytest.raises(DatabaseError, match="as it was asked"), transaction.atomic():
            models.Override.objects.create(**values_of(request, **changes))
    approve(request)
    models.Override.objects.filter(request_id=request.pk).update(used=1)
    with pytest.raises(DatabaseError, match="as it was asked"), transaction.atomic():
        models.Override.objects.create(**values_of(request))


@pytest.mark.parametrize(
    "changes",
    [{"value": D(151)}, {"limit": "max_positions"}, {"max_uses": None}, {"max_uses": 2}, {"used": 1}],
    ids=str,
)
def test_a_limit_is_raised_as_it_was_asked_and_no_other_way(account, monkeypatch, changes):
    """The effect itself gone wrong: the vote that would complete it leaves nothing behind."""
    kind = KINDS.get(overrides.OVERRIDE)
    row = ask(account, uses=1)
    wrong = replace(
        kind, effect=lambda asked, _: models.Override.objects.create(**values_of(asked, **changes))
    )
    monkeypatch.setitem(KINDS._kinds, kind.name, wrong)
    with pytest.raises(DatabaseError, match="as it was asked"):
        approve(row)
    assert not models.Override.objects.exists()
    row.refresh_from_db()
    assert row.state == "proposed"


@pytest.mark.parametrize(
    "changes",
    [
        {"value": D(151)},
        {"limit": "max_positions"},
        {"max_uses": 9},
        {"max_uses": None},
        {"expires_at": "2999-01-01T00:00Z"},
        {"starts_at": "2001-01-01T00:00Z"},
        {"approved_by": "ann"},
        {"request_id": UUID(int=7)},
    ],
    ids=str,
)
def test_an_override_does_not_change_nor_go_away(account, changes):
    approve(ask(account, uses=2))
    with pytest.raises(DatabaseError), transaction.atomic():
        models.Override.objects.update(**changes)
    with pytest.raises(DatabaseError), transaction.atomic():
        models.Override.objects.all()._raw_delete("default")


def test_what_was_used_or_ended_is_not_made_new(account):
    approve(ask(account, uses=2))
    models.Override.objects.update(used=1, ended_at=selectors.get_database_time())
    for changes in ({"used": 0}, {"ended_at": None}):
        with pytest.raises(DatabaseError), transaction.atomic():
            models.Override.objects.update(**changes)


def test_its_times_are_the_databases(account):
    approve(ask(account, window=timedelta(minutes=5)))
    row = models.Override.objects.get()
    assert row.expires_at - row.starts_at == timedelta(minutes=5)
    event = AuditEvent.objects.get(action="risk.override_start")
    assert datetime.fromisoformat(event.payload["detail"]["expires_at"]) == row.expires_at
