from datetime import UTC, datetime, timedelta

import pytest

from controlplane.approvals.core import (
    Actor,
    ActorKind,
    Mode,
    Role,
    cooling_off,
    find_totp_step,
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


@pytest.mark.parametrize(("shift", "found"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_found_one_step_early_or_late_and_no_further(shift, found):
    at = datetime.fromtimestamp(1111111111, tz=UTC)
    step = totp_step(at) + shift
    assert find_totp_step(SECRET, totp_code(SECRET, step), at) == (step if found else None)


@pytest.mark.parametrize("code", ["", "12345", "\u0661\u0662\u0663\u0664\u0665\u0666", "no code"])
def test_what_is_no_code_is_found_nowhere(code):
    assert find_totp_step(SECRET, code, datetime.fromtimestamp(59, tz=UTC)) is None


@pytest.mark.parametrize(("environment", "hours"), [("paper", 0), ("demo", 24), ("live", 24), ("", 24)])
def test_cooling_off_is_a_day_everywhere_but_on_paper(environment, hours):
    assert cooling_off(environment) == timedelta(hours=hours)


def test_a_mode_says_what_it_is():
    assert (Mode.DUAL.words, Mode.SOLO.words) == ("another person", "same person, delayed")
