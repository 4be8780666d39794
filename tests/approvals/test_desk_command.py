import json
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from controlplane.approvals import selectors
from controlplane.approvals.core import Role
from tests.approvals.conftest import REASON, code_of

pytestmark = pytest.mark.django_db
BY = ("--reason", REASON, "--json")


def run(capsys, *words):
    call_command("desk", *words)
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def started(capsys):
    words = ("--requester", "ann", "--operator", "ann", "--approver", "bob", "--approver", "cat")
    return run(capsys, "init", "--mode", "dual", *words, *BY)


def test_a_desk_is_started_invites_designates_and_enrols(started, capsys):
    assert started["approval"] == "another person"
    assert [one.keys() for one in started["people"]] == [{"name", "password", "totp_secret"}] * 3
    invited = run(capsys, "invite", "dan", "--actor", "ann", *BY)
    assert invited.keys() == {"name", "password"}
    asked = run(capsys, "designate", "dan", "operator", "--actor", "ann", *BY)
    assert (asked["state"], asked["subject"]) == ("proposed", {"person": "dan", "role": "operator"})
    assert run(capsys, "list", "--json")["requests"] == [asked]
    assert run(capsys, "show", asked["id"], "--json") == asked
    code = code_of(selectors.get_user("bob"))
    done = run(
        capsys, "approve", asked["id"], "--otp", code, "--digest", asked["digest"], "--actor", "bob", *BY
    )
    assert (done["state"], done["votes"][0]["approver"]) == ("executed", "bob")
    assert selectors.get_actor("dan").roles == {Role.OPERATOR}
    enrolled = run(capsys, "enrol", "dan", "--actor", "dan", *BY)
    assert selectors.get_user("dan").second_factor.totp_secret == enrolled["totp_secret"]
    listed = {row["name"]: row for row in run(capsys, "list", "--json")["people"]}
    assert listed["dan"] == {
        "name": "dan",
        "roles": ["operator"],
        "is_active": True,
        "has_second_factor": True,
    }


def test_requests_are_rejected_taken_back_and_withdrawn(started, capsys):
    asked = run(capsys, "designate", "bob", "auditor", "--actor", "ann", *BY)
    code = code_of(selectors.get_user("cat"))
    assert run(capsys, "reject", asked["id"], "--otp", code, "--actor", "cat", *BY)["state"] == "rejected"
    asked = run(capsys, "designate", "bob", "auditor", "--actor", "ann", *BY)
    assert run(capsys, "withdraw", asked["id"], "--actor", "ann", *BY)["state"] == "withdrawn"
    assert run(capsys, "solo", "ann", "--actor", "ann", *BY)["kind"] == "approvals.mode_solo"


def test_a_refusal_is_one_line_and_exit_1(started, capsys):
    asked = run(capsys, "designate", "bob", "auditor", "--actor", "ann", *BY)
    for words, code in (
        (("approve", asked["id"], "--otp", "1", "--actor", "ann"), "not_designated"),
        (("approve", asked["id"], "--otp", "1", "--actor", "bob"), "step_up_wrong"),
        (("approve", str(uuid4()), "--otp", "1", "--actor", "bob"), "request_not_found"),
        (("invite", "ann", "--actor", "ann"), "user_exists"),
        (("init", "--mode", "solo", "--requester", "eve", "--approver", "eve"), "first_start_over"),
        (("withdraw", asked["id"], "--actor", "bob"), "not_proposer"),
    ):
        with pytest.raises(CommandError, match=f"^{code}: ") as refused:
            call_command("desk", *words, "--reason", REASON)
        assert refused.value.returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ("approve", "no-id", "--otp", "1", "--actor", "ann"),
        ("designate", "ann", "emperor", "--actor", "ann"),
        ("init", "--mode", "trio"),
    ],
)
def test_wrong_usage_is_no_refusal(words):
    with pytest.raises(CommandError, match=r"^Error: argument .*invalid"):
        call_command("desk", *words, "--reason", REASON)


def test_the_list_is_readable_by_people(started, capsys):
    call_command("desk", "list")
    text = capsys.readouterr().out
    assert "mode: dual" in text
    assert "name=bob  roles=['approver']" in text
    assert "requests: none" in text
