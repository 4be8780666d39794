"""The way back without a venue: from every state, never upwards, resumable, latched, audited."""

import random
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from controlplane.alerts.models import Alert, Delivery
from controlplane.approvals.core import Actor, ActorKind, RequestState, Role, TokenScope
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.selectors import actor_of_user
from controlplane.approvals.services import NotDesignated, ScopeMissing
from controlplane.audit.models import AuditEvent
from golive import rollback_steps
from golive.core.direction import LIMITS, is_laxer
from golive.holds import find_hold, hold_account
from golive.models import Activation, Hold, Rollback
from golive.rollback import roll_back
from golive.rollback_steps import OWN_STEPS, STEPS, Step, advance_rollback, resume_rollbacks
from risk.limits import get_limits
from risk.models import StopEvent
from risk.overrides import AccountHeld, list_active_overrides, request_override
from risk.services import judge_intent
from tests.approvals.conftest import REASON, choose_mode, grant_override, make_person
from tests.golive.live import OPERATOR, confirm, go_live, make_limits, permit_of, release
from tests.risk import desk
from trading.models import Permit, TradingState
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal
TOKEN = Actor(name="bot", kind=ActorKind.TOKEN, scopes=frozenset({TokenScope.STOP}))


@pytest.fixture
def account(db):
    return desk.make_desk()


def back(account, **changes):
    values = {"account": account, "actor": OPERATOR, "call_finisher": lambda _: None}
    return roll_back(**values | changes)


def finish(row):
    """What the guard does."""
    resume_rollbacks()
    row.refresh_from_db()
    return row


def state_of(account):
    return TradingState.objects.get(scope=f"account:{account.name}").state


def step_names(row):
    return [item["name"] for item in row.steps if item["state"] == "done"]


# Where it goes ---------------------------------------------------------------------------------------


def test_without_anything_confirmed_the_floor_is_a_halt(account):
    activation = go_live(account)
    row = back(account)

    assert (row.to_limit_set_digest, row.activation) == ("", activation)
    assert permit_of(account) is None
    assert state_of(account) == "HALTED"
    event = StopEvent.objects.get(scope="account:main")
    assert (event.source, event.evidence["rollback"]) == ("manual", row.pk)
    activation.refresh_from_db()
    assert (activation.state, activation.ended_at is None) == ("rolled_back", False)
    assert activation.programme.state == "rolled_back"
    assert finish(row).state == "done"


def test_it_goes_to_what_was_confirmed_last_under_a_new_permit(account):
    first = go_live(account, make_limits("MICRO"), is_confirmed=True)
    second = go_live(account, make_limits("SMALL"))
    row = back(account)

    permit = permit_of(account)
    assert permit is not None
    assert (permit.kind, permit.profile) == ("LIVE", "MICRO")
    assert permit.limit_set_digest == first.limit_set_digest == row.to_limit_set_digest
    assert permit.fencing_token > second.permit.fencing_token
    assert (row.is_clamped, row.from_limit_set_digest) == (False, second.limit_set_digest)
    assert state_of(account) == "ACTIVE"
    assert finish(row).state == "done"


def test_what_was_confirmed_is_clamped_where_it_allowed_more(account):
    go_live(account, make_limits("SMALL", max_positions=3, min_stop_ratio=D("0.004")), is_confirmed=True)
    now = make_limits("SMALL", max_positions=9, max_leverage=D(1), min_stop_ratio=D("0.006"))
    go_live(account, now)
    row = back(account)

    after = get_limits(row.to_limit_set_digest)
    assert after is not None
    assert (after.max_positions, after.max_leverage, after.min_stop_ratio) == (3, D(1), D("0.006"))
    assert row.is_clamped


def test_a_way_back_that_lowers_nothing_is_a_halt(account):
    go_live(account, make_limits("LARGE"), is_confirmed=True)
    go_live(account, make_limits("MICRO"))
    assert back(account).to_limit_set_digest == ""
    assert state_of(account) == "HALTED"


def test_a_second_one_goes_further_down(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    assert finish(back(account)).to_limit_set_digest != ""
    assert finish(back(account)).to_limit_set_digest == ""
    assert permit_of(account) is None


def test_what_was_taken_back_once_is_nothing_to_go_back_to(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    second = go_live(account, make_limits("SMALL"), is_confirmed=True)
    finish(back(account))
    second.refresh_from_db()
    assert second.state == "rolled_back"
    release(account)
    third = go_live(account, make_limits("MEDIUM"))
    row = back(account)
    after = get_limits(row.to_limit_set_digest)
    assert after is not None
    assert (after.profile, third.pk) == ("MICRO", row.activation_id)


def test_a_confirmed_activation_can_be_taken_back_too(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"), is_confirmed=True)
    row = back(account)
    assert get_limits(row.to_limit_set_digest).profile == "MICRO"


@pytest.mark.parametrize("seed", range(12))
def test_for_random_histories_no_limit_is_above_what_it_was(account, seed):
    """The rows themselves: versions come and are confirmed or not, and at the end one goes back."""
    dice = random.Random(seed)
    for _ in range(4):
        changes = {
            name: scale(getattr(make_limits("SMALL"), name), dice.choice((D("0.5"), D(1), D(2))))
            for name in dice.sample(LIMITS, 12)
        }
        limits = make_limits(dice.choice(("MICRO", "SMALL", "MEDIUM", "LARGE")), **changes)
        go_live(account, limits, is_confirmed=dice.random() < 0.6)
    before = get_limits(permit_of(account).limit_set_digest)
    row = back(account)
    if row.to_limit_set_digest == "":
        assert permit_of(account) is None
        assert state_of(account) == "HALTED"
        return
    after = get_limits(permit_of(account).limit_set_digest)
    assert [name for name in LIMITS if is_laxer(name, getattr(before, name), getattr(after, name))] == []


def scale(value, factor):
    return value * float(factor) if isinstance(value, timedelta) else type(value)(value * factor)


# From any state --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["ACTIVE", "REDUCING", "HALTED"])
def test_it_works_in_every_state_of_the_account(account, state):
    go_live(account)
    TradingState.objects.filter(scope="account:main").update(state=state)
    assert finish(back(account)).state == "done"


def test_it_works_for_a_paper_account_and_for_one_without_a_permit(account):
    assert finish(back(account)).state == "done"
    assert permit_of(account) is None
    assert finish(back(account)).state == "done"


def test_it_works_where_the_limits_are_not_known(account):
    go_live(account, is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    Permit.objects.filter(account=account, active=True).update(limit_set_digest="f" * 64)
    assert finish(back(account)).to_limit_set_digest == ""
    assert state_of(account) == "HALTED"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.APPROVER, Role.ADMIN])
def test_any_one_of_these_may(account, role):
    go_live(account)
    actor = Actor(name="bob", kind=ActorKind.PERSON, roles=frozenset({role}))
    assert back(account, actor=actor).actor == "bob"


def test_a_token_for_stopping_and_a_guard_may(account):
    go_live(account)
    assert finish(back(account, actor=TOKEN)).actor == "token:bot"


@pytest.mark.parametrize(
    ("actor", "refusal"),
    [
        (Actor(name="eve", kind=ActorKind.PERSON, roles=frozenset({Role.REQUESTER})), NotDesignated),
        (Actor(name="eve", kind=ActorKind.PERSON, roles=frozenset({Role.AUDITOR})), NotDesignated),
        (Actor(name="bot", kind=ActorKind.TOKEN, scopes=frozenset({TokenScope.READ})), ScopeMissing),
    ],
)
def test_nobody_else_may_and_the_attempt_is_remembered(account, actor, refusal):
    go_live(account)
    with pytest.raises(refusal):
        back(account, actor=actor)
    assert not Rollback.objects.exists()
    assert not Hold.objects.exists()
    assert AuditEvent.objects.get(action="golive.rollback.denied").payload["detail"]["code"] == refusal.code


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_reason_may_be_left_out(account, reason):
    assert back(account, reason=reason).reason == "rolled back by hand"


# What it takes away ----------------------------------------------------------------------------------


def test_one_commit_holds_tells_and_remembers(account):
    go_live(account)
    row = back(account, reason="the fills look wrong")
    assert find_hold(account).reason == "the fills look wrong"
    ended = AuditEvent.objects.filter(action="golive.permit_end", reason="the fills look wrong")
    assert ended.count() == 1
    codes = set(
        Alert.objects.filter(scope="account:main", severity="critical").values_list("code", flat=True)
    )
    assert {"rolled_back", "account_held", "emergency_stop"} <= codes
    event = AuditEvent.objects.get(action="golive.rollback")
    assert (event.actor, event.subject_id, event.reason) == ("ann", "main", "the fills look wrong")
    assert event.payload["detail"]["rollback"] == row.pk
    for action in ("golive.hold", "risk.stop_trip", "golive.programme_close"):
        assert AuditEvent.objects.filter(action=action).count() == 1, action


def test_what_is_approved_and_not_sent_lapses_and_new_entries_are_denied(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    intent = desk.ask(account)
    assert judge_intent(intent_id=intent.pk, clocks=get_clocks()).allowed
    back(account)
    intent.refresh_from_db()
    assert intent.state == "lapsed"
    assert judge_intent(intent_id=desk.ask_doge(account).pk, clocks=get_clocks()).allowed
    finish(Rollback.objects.get())
    back(account)
    denied = judge_intent(intent_id=desk.ask_doge(account).pk, clocks=get_clocks())
    assert (denied.allowed, denied.reason) == (False, "STATE_HALTED")


def test_a_limit_that_was_raised_is_as_low_as_the_set_again(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    grant_override(account, limit="max_positions", value=D(5), max_uses=None, window=timedelta(minutes=30))
    back(account)
    assert not list_active_overrides(account).exists()
    assert AuditEvent.objects.filter(action="risk.override_end").count() == 1


def test_what_was_asked_for_the_account_is_withdrawn_and_nothing_else(account):
    other = desk.make_desk(name="other")
    go_live(account)
    choose_mode()
    make_person("bob", Role.APPROVER)
    ann = make_person("ann", Role.OPERATOR)
    asked = request_override(
        account=account, limit="max_positions", value=D(4), reason=REASON, actor=actor_of_user(ann)
    )
    kept = request_override(
        account=other, limit="max_positions", value=D(4), reason=REASON, actor=actor_of_user(ann)
    )
    row = finish(back(account))
    states = dict(ApprovalRequest.objects.values_list("pk", "state"))
    assert states == {asked.pk: RequestState.WITHDRAWN.value, kept.pk: RequestState.PROPOSED.value}
    assert row.state == "done"


def test_while_held_no_limit_is_raised(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    finish(back(account))
    choose_mode()
    make_person("bob", Role.APPROVER)
    with pytest.raises(AccountHeld):
        request_override(
            account=account,
            limit="max_positions",
            value=D(4),
            reason=REASON,
            actor=actor_of_user(make_person("ann", Role.OPERATOR)),
        )


def test_a_position_beyond_the_lower_limits_may_only_be_reduced_and_is_kept(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    position = desk.hold(account, quantity=D(2))
    finish(back(account))
    position.refresh_from_db()
    assert position.quantity == 2
    assert TradingState.objects.get(scope="symbol:SOLUSDT").state == "REDUCING"


# Twice, killed, refused ------------------------------------------------------------------------------


def test_a_second_press_while_it_runs_is_the_same_rollback(account):
    go_live(account)
    first = back(account)
    second = back(account, reason="once more")
    assert (second.pk, Rollback.objects.count()) == (first.pk, 1)
    assert AuditEvent.objects.filter(action="golive.rollback").count() == 1


class Killed(BaseException):
    """As if the process had ended."""


@pytest.mark.parametrize("place", range(len(STEPS)))
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_it_is_finished_by_the_next(account, place, when):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    desk.hold(account, quantity=D(2))
    row = back(account, reason="killed halfway")

    def die(rollback):
        if when == "after":
            STEPS[place].run(rollback)
        raise Killed

    broken = (*STEPS[:place], Step(name=STEPS[place].name, run=die, check=STEPS[place].check))
    Rollback.objects.filter(pk=row.pk).update(steps=row.steps[:1])
    with pytest.raises(Killed):
        advance_rollback(row.pk, steps=broken)
    row.refresh_from_db()
    assert row.finished_at is None
    assert step_names(row) == ["risk", *(step.name for step in STEPS[:place])]

    row = finish(row)
    assert (row.state, row.finished_at is None) == ("done", False)
    assert step_names(row) == ["risk", *(step.name for step in STEPS)]
    assert all(item["ms"] >= 0 for item in row.steps)
    assert len({item["name"] for item in row.steps}) == len(row.steps)


def test_what_cannot_be_done_pages_and_is_tried_again(account):
    go_live(account)
    row = back(account)
    stuck = Step(name="entries", run=lambda _: "", check=lambda _: "the venue does not answer")
    for _ in range(rollback_steps.PATIENCE):
        advance_rollback(row.pk, steps=(*OWN_STEPS, stuck))
    row.refresh_from_db()
    assert (row.state, row.finished_at) == ("failed", None)
    assert Alert.objects.filter(code="rollback_failed", resolved_at=None).count() == 1
    assert permit_of(account) is None
    assert finish(row).state == "done"
    assert not Alert.objects.filter(code="rollback_failed", resolved_at=None).exists()


def test_a_hold_or_permit_that_is_not_as_left_keeps_it_open(account):
    go_live(account, make_limits("MICRO"), is_confirmed=True)
    go_live(account, make_limits("SMALL"))
    row = back(account)
    Permit.objects.filter(account=account, active=True).update(limit_set_digest="e" * 64)
    assert finish(row).finished_at is None
    assert "the permit's limits are" in row.steps[-1]["detail"]


# What the database itself refuses --------------------------------------------------------------------


def refuses(change):
    with pytest.raises(DatabaseError), transaction.atomic():
        change()


def test_rows_cannot_undo_it(account):
    activation = go_live(account)
    row = finish(back(account))
    hold = find_hold(account)
    refuses(lambda: Activation.objects.filter(pk=activation.pk).update(state="observing", ended_at=None))
    refuses(
        lambda: Hold.objects.filter(pk=hold.pk).update(
            released_at=hold.since_at, release_request=uuid.uuid4()
        )
    )
    refuses(lambda: Hold.objects.filter(pk=hold.pk).update(reason="nothing happened"))
    refuses(lambda: Rollback.objects.filter(pk=row.pk).update(to_limit_set_digest="a" * 64))
    refuses(lambda: Rollback.objects.filter(pk=row.pk).update(finished_at=None))
    refuses(lambda: Hold.objects.filter(pk=hold.pk).delete())
    refuses(lambda: Rollback.objects.filter(pk=row.pk).delete())


def test_nothing_is_activated_while_the_account_is_held(account):
    go_live(account)
    finish(back(account))
    refuses(lambda: go_live(account))


def test_nothing_is_confirmed_while_the_account_is_held(account):
    activation = go_live(account)
    hold_account(account=account, reason="blind", actor="guard:test", clocks=get_clocks())
    refuses(lambda: confirm(activation))


def test_what_rolled_back_is_written_down_whole(account):
    go_live(account)
    desk.hold(account)
    row = finish(back(account))
    assert row.impact["positions"] == [{"venue": "binanceusdm", "symbol": "SOLUSDT", "quantity": "0.3"}]
    assert row.impact["entries"] == []
    events = [
        event.payload["detail"]["name"]
        for event in AuditEvent.objects.filter(action="golive.rollback_step").order_by("seq")
    ]
    assert events == [*(step.name for step in STEPS), "finished"]


def test_every_alert_has_its_way_out_though_no_channel_lives(account, settings):
    settings.ALERT_URLS = ["smtp://nobody@127.0.0.1:1/?to=desk@example.invalid"]
    go_live(account)
    back(account)
    assert Delivery.objects.filter(alert__code="rolled_back").count() <= 1
    assert Alert.objects.filter(code="rolled_back").count() == 1
