import json

import pytest
from django.core.management import CommandError, call_command

from controlplane.approvals.core import Role
from controlplane.approvals.services import check_token
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def person(db):
    factories.UserFactory(username="ope", roles=(Role.OPERATOR,))
    return factories.UserFactory(username="ann")


def run(capsys, *words):
    call_command("tokens", *words)
    return json.loads(capsys.readouterr().out)


def test_a_token_is_created_shown_once_listed_and_revoked(capsys):
    by = ("--actor", "ann", "--reason", "a token for the bot", "--json")
    made = run(capsys, "create", "bot", "--scope", "read", "--scope", "intents", *by)
    assert check_token(made["token"]).name == "bot"
    (listed,) = run(capsys, "list", "--json")["tokens"]
    assert (listed["name"], listed["scopes"]) == ("bot", ["intents", "read"])
    assert "token" not in listed
    assert run(capsys, "revoke", "bot", *by) == {"name": "bot", "revoked": True}
    assert run(capsys, "list", "--json")["tokens"][0]["revoked_at"] is not None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("revoke", "nothing", "--actor", "ope"), "token_not_found"),
        (("revoke", "nothing", "--actor", "ann"), "not_designated"),
        (("revoke", "nothing", "--actor", "nobody"), "user_not_found"),
        (("create", "x", "--scope", "read", "--actor", "nobody"), "user_not_found"),
    ],
)
def test_a_refusal_is_one_line_and_exit_1(words, code):
    with pytest.raises(CommandError, match=f"^{code}: ") as refused:
        call_command("tokens", *words, "--reason", "a reason of some length")
    assert refused.value.returncode == 1


def test_the_list_is_readable_by_people(capsys):
    call_command("tokens", "list")
    assert capsys.readouterr().out == "no tokens\n"
