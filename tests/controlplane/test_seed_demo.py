"""The demo desk: made once, never changed by a second run, and its secrets belong to its file."""

import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command

from controlplane.approvals.core import Role, TokenScope, hash_token
from controlplane.approvals.models import ApiToken, Designation
from controlplane.approvals.selectors import get_actor
from controlplane.approvals.services import TokenInvalid, check_token
from controlplane.audit.models import AuditEvent, AuditHead
from risk.selectors import get_active_limits
from tests.approvals.conftest import forget
from trading import selectors
from trading.models import TradingState

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path, settings) -> Path:
    settings.STATE_DIR = tmp_path
    # Hashing is slow on purpose, and these tests make many passwords.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return tmp_path / "demo.json"


def seed(home: Path) -> dict:
    call_command("seed_demo")
    return json.loads(home.read_text(encoding="utf-8"))


def test_the_file_has_the_promised_shape_and_only_its_owner_reads_it(home, settings):
    content = seed(home)
    assert content.keys() == {"url", "users", "api_token", "accounts", "strategies", "venues"}
    assert content["url"] == settings.WEB_URL
    assert content["accounts"] == ["paper-main"]
    assert content["strategies"] == ["reversion", "trend"]
    assert content["venues"][0] == "binanceusdm"
    assert set(content["users"]) == {"operator", "approver", "auditor", "admin"}
    for user in content["users"].values():
        assert user.keys() == {"password", "totp_secret", "roles"}
    assert stat.S_IMODE(home.stat().st_mode) == 0o600


def test_everybody_can_sign_in_and_holds_what_the_file_says(home):
    for name, user in seed(home)["users"].items():
        assert authenticate(username=name, password=user["password"]) is not None
        assert get_actor(name).roles == {Role(role) for role in user["roles"]}
        row = get_user_model().objects.get(username=name)
        assert row.second_factor.totp_secret == user["totp_secret"]
        assert not row.is_superuser
        assert all(".view_" in permission for permission in row.get_all_permissions())


def test_the_token_works_and_there_is_no_scope_that_approves(home):
    actor = check_token(seed(home)["api_token"])
    assert actor.scopes == frozenset(TokenScope)
    assert Role.APPROVER not in actor.roles


def test_the_account_may_trade_under_micro_limits(home):
    seed(home)
    account = selectors.get_account("paper-main")
    assert get_active_limits(account).profile == "MICRO"
    assert selectors.get_active_permit(account).kind == "PAPER"
    states = dict(TradingState.objects.values_list("scope", "state"))
    assert states["all"] == states["account:paper-main"] == states["strategy:trend"] == "ACTIVE"
    for assignment in selectors.list_assignments(account):
        assert len(assignment.symbols) == 4


def test_everything_is_audited_as_bootstrap(home):
    seed(home)
    actors = set(AuditEvent.objects.values_list("actor_kind", "actor"))
    assert actors == {("system", "bootstrap")}
    bodies = "".join(AuditEvent.objects.values_list("body", flat=True))
    for user in json.loads(home.read_text(encoding="utf-8"))["users"].values():
        assert user["password"] not in bodies
        assert user["totp_secret"] not in bodies


def test_a_second_run_changes_nothing(home):
    first = seed(home)
    seq, passwords = AuditHead.objects.get().seq, set(get_user_model().objects.values_list("password"))
    assert seed(home) == first
    assert AuditHead.objects.get().seq == seq
    assert set(get_user_model().objects.values_list("password")) == passwords


def test_a_second_run_leaves_a_stopped_desk_stopped(home):
    seed(home)
    TradingState.objects.filter(scope="all").update(state="HALTED", version=2)
    seed(home)
    assert TradingState.objects.get(scope="all").state == "HALTED"


@pytest.mark.parametrize(
    "damage",
    [
        lambda home: home.unlink(),
        lambda home: home.write_text("{", encoding="utf-8"),
        lambda home: home.write_text("[]", encoding="utf-8"),
        lambda home: home.write_text('{"users": {}}', encoding="utf-8"),
        lambda home: home.write_text(
            json.dumps(json.loads(home.read_text(encoding="utf-8")) | {"api_token": "another"}),
            encoding="utf-8",
        ),
    ],
)
def test_a_lost_file_means_new_secrets_and_saying_so(home, capsys, damage):
    first = seed(home)
    damage(home)
    second = seed(home)
    assert "made anew" in capsys.readouterr().err
    for name, user in second["users"].items():
        assert user["password"] != first["users"][name]["password"]
        assert authenticate(username=name, password=user["password"]) is not None
    check_token(second["api_token"])
    with pytest.raises(TokenInvalid):
        check_token(first["api_token"])
    assert ApiToken.objects.filter(revoked_at__isnull=True).count() == 1
    assert Designation.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_a_kept_file_and_a_new_database_keep_the_secrets(home):
    first = seed(home)
    ApiToken.objects.all().delete()
    forget("approvals_designation")
    for user in get_user_model().objects.all():
        user.second_factor.delete()
        user.delete()
    assert seed(home) == first
    assert ApiToken.objects.get().token_sha256 == hash_token(first["api_token"])


def test_it_is_refused_anywhere_but_on_paper(home, settings):
    settings.TRADING_ENVIRONMENT = "demo"
    with pytest.raises(CommandError, match="paper_only") as refused:
        call_command("seed_demo")
    assert refused.value.returncode == 1
    assert not home.exists()
    assert not get_user_model().objects.exists()


def test_the_content_can_be_printed_for_machines(home, capsys):
    call_command("seed_demo", "--json")
    assert json.loads(capsys.readouterr().out) == json.loads(home.read_text(encoding="utf-8"))
