"""A throttled strategy enters again only when a person says so, with a code for this throttling."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from controlplane.approvals import selectors
from controlplane.approvals.core import Actor, ActorKind, Role
from controlplane.approvals.models import SecondFactorUse
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from risk import models, throttles
from tests.approvals.conftest import REASON, code_of, make_person
from tests.risk import desk as rows
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
WHAT = {"strategy": "trend", "symbol": "SOLUSDT"}


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


@pytest.fixture
def account(db):
    make_person("ope", Role.OPERATOR)
    return rows.make_desk()


@pytest.fixture
def throttled(account):
    clocks = get_clocks()
    row, _ = models.Activity.objects.update_or_create(
        account=account,
        **WHAT,
        defaults={"entries": 20, "window_started_at": clocks.market_at, "throttled_at": clocks.wall_at},
    )
    return row


def enable(account, by="ope", **changes):
    actor = by if isinstance(by, Actor) else selectors.get_actor(by)
    otp = code_of(selectors.get_user("ope"))
    values = {"account": account, **WHAT, "reason": REASON, "actor": actor, "otp": otp}
    return throttles.reenable_throttle(**values | changes)


def test_one_person_lets_it_enter_again(account, throttled):
    assert list(throttles.list_throttled(account)) == [throttled]
    version = models.AccountBook.objects.get(account=account).version
    digest = throttles.digest_of_throttle(throttled)
    row = enable(account, digest=digest)
    row.refresh_from_db()
    assert (row.entries, row.throttled_at, row.window_started_at) == (0, None, None)
    assert not throttles.list_throttled().exists()
    assert models.AccountBook.objects.get(account=account).version == version + 1
    use = SecondFactorUse.objects.get()
    assert (use.action, use.digest) == ("risk.throttle_reenable", digest)
    event = AuditEvent.objects.order_by("-seq").first()
    assert (event.action, event.actor, event.payload["detail"]["entries"]) == (
        "risk.throttle_reenable",
        "ope",
        20,
    )


def test_what_is_not_throttled_is_refused_and_no_code_is_spent(account, throttled):
    for changes in ({"symbol": "BTCUSDT"}, {"strategy": "reversion"}, {"digest": "0" * 64}):
        with refused("not_throttled"):
            enable(account, **changes)
    assert not SecondFactorUse.objects.exists()
    enable(account)
    with refused("not_throttled"):
        enable(account)


@pytest.mark.parametrize("roles", [(), (Role.REQUESTER,), (Role.AUDITOR,), (Role.ADMIN,)])
def test_others_may_not_and_the_attempt_is_remembered(account, throttled, roles):
    make_person("eve", *roles, is_superuser=True)
    with refused("not_designated"):
        enable(account, by="eve")
    denied = AuditEvent.objects.get(action="risk.throttle_reenable.denied")
    assert (denied.actor, denied.payload["detail"]["code"]) == ("eve", "not_designated")
    assert throttles.list_throttled().exists()


def test_a_token_never(account, throttled):
    bot = Actor(name="bot", kind=ActorKind.TOKEN, roles=frozenset(Role))
    with refused("not_a_person"):
        enable(account, by=bot)
    assert throttles.list_throttled().exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"otp": None}, "step_up_required"),
        ({"otp": "12345x"}, "step_up_wrong"),
        ({"reason": "short"}, "reason_too_short"),
    ],
)
def test_without_code_or_reason_nothing_changes(account, throttled, changes, code):
    with refused(code):
        enable(account, **changes)
    throttled.refresh_from_db()
    assert throttled.entries == 20


def test_a_code_serves_one_throttling(account, throttled):
    code = code_of(selectors.get_user("ope"))
    enable(account, otp=code)
    models.Activity.objects.update(throttled_at=get_clocks().wall_at)
    with refused("step_up_used"):
        enable(account, otp=code)


def test_two_at_once_is_one(account, throttled):
    people = [make_person(f"p{number}", Role.APPROVER) for number in range(4)]
    barrier = threading.Barrier(len(people))

    def run(user):
        try:
            barrier.wait(timeout=30)
            enable(account, by=user.username, otp=code_of(user))
            return "done"
        except DomainError as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(people)) as pool:
        assert sorted(pool.map(run, people)) == ["done"] + ["not_throttled"] * 3


def test_the_command_lists_and_lets_enter_again(account, throttled, capsys):
    call_command("throttles", "list", "--json")
    (row,) = json.loads(capsys.readouterr().out)["throttles"]
    assert (row["strategy"], row["symbol"], row["entries"]) == ("trend", "SOLUSDT", 20)
    words = ("--account", account.name, "--strategy", "trend", "--symbol", "SOLUSDT", "--reason", REASON)
    code = code_of(selectors.get_user("ope"))
    call_command("throttles", "re-enable", *words, "--actor", "ope", "--otp", code, "--json")
    assert json.loads(capsys.readouterr().out)["throttles"][0]["throttled_at"] is None
    call_command("throttles", "list")
    assert capsys.readouterr().out == "nothing is throttled\n"
    with pytest.raises(CommandError, match=r"^not_throttled: ") as refusal:
        call_command("throttles", "re-enable", *words, "--actor", "ope", "--otp", code)
    assert refusal.value.returncode == 1
