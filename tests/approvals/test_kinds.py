"""A kind says who asks and who approves; an empty rule is refused when it is made."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controlplane.approvals.core import Mode, Role
from controlplane.approvals.kinds import KINDS, KindUnknown, Registry, RequestKind

PLAIN = RequestKind(
    name="tests.plain",
    title="Plain",
    requester_roles=frozenset({Role.REQUESTER}),
    approver_roles=frozenset({Role.APPROVER}),
    quorum=2,
    approval_ttl=timedelta(hours=1),
    execution_ttl=timedelta(0),
    solo_allowed=True,
    effect=None,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"quorum": 0},
        {"quorum": -1},
        {"approver_roles": frozenset()},
        {"requester_roles": frozenset()},
        {"approval_ttl": timedelta(0)},
        {"execution_ttl": timedelta(seconds=-1)},
    ],
)
def test_an_empty_rule_is_refused(changes):
    with pytest.raises(ValueError, match=r"tests\.plain"):
        replace(PLAIN, **changes)


def test_a_name_has_one_kind():
    registry = Registry()
    registry.register(PLAIN)
    registry.register(PLAIN)
    assert registry.list() == [PLAIN]
    with pytest.raises(ValueError, match="two kinds"):
        registry.register(replace(PLAIN, quorum=1))
    with pytest.raises(KindUnknown):
        registry.get("tests.other")


def test_alone_one_approval_is_all_there_is_and_a_day_the_least_wait():
    assert (PLAIN.quorum_in(Mode.DUAL), PLAIN.quorum_in(Mode.SOLO)) == (2, 1)
    assert (PLAIN.wait_in(Mode.DUAL), PLAIN.wait_in(Mode.SOLO)) == (timedelta(0), timedelta(hours=24))
    slow = replace(PLAIN, waits=timedelta(days=7))
    assert slow.wait_in(Mode.DUAL) == slow.wait_in(Mode.SOLO) == timedelta(days=7)


def test_no_kind_that_ships_lets_one_person_raise_a_limit():
    assert not KINDS.get("risk.override").solo_allowed
    assert not KINDS.get("approvals.mode_solo").solo_allowed
