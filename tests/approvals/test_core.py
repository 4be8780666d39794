from datetime import UTC, datetime

import pytest

from controlplane.approvals.core import (
    Actor,
    ActorKind,
    Role,
    has_any_role,
    hash_token,
    totp_code,
    totp_step,
)

# RFC 6238, appendix B: the secret "12345678901234567890", SHA-1, last six of the eight digits.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds, code):
    assert totp_code(SECRET, totp_step(datetime.fromtimestamp(seconds, tz=UTC))) == code


def test_a_secret_may_come_in_small_letters_and_without_padding():
    assert totp_code(SECRET[:26].lower(), 1) == totp_code(SECRET[:26] + "======", 1)


def test_a_secret_that_is_not_base32_is_refused():
    with pytest.raises(ValueError, match=r"base32|padding|digit"):
        totp_code("not base32!", 1)


def test_a_token_hash_does_not_hold_the_token():
    assert "secret" not in hash_token("secret")
    assert len(hash_token("secret")) == 64


@pytest.mark.parametrize(
    ("kind", "name"),
    [(ActorKind.PERSON, "ann"), (ActorKind.TOKEN, "token:ann"), (ActorKind.GUARD, "guard:ann")],
)
def test_the_log_tells_a_person_from_a_token_of_the_same_name(kind, name):
    assert Actor(name="ann", kind=kind).audit_name == name


def test_an_actor_without_designation_holds_no_role():
    assert not has_any_role(Actor(name="ann", kind=ActorKind.PERSON), frozenset(Role))
