"""Client order ids."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.core.ids import MAX_ATTEMPT, make_client_order_id
from trading.core.values import OrderPurpose

KEYS = st.tuples(st.uuids(), st.sampled_from(OrderPurpose), st.integers(1, MAX_ATTEMPT))


@given(KEYS, KEYS)
def test_ids_are_one_to_one_and_fit_every_venue(
    first: tuple[UUID, OrderPurpose, int], second: tuple[UUID, OrderPurpose, int]
) -> None:
    ids = [make_client_order_id(intent_id=i, purpose=p, attempt=a) for i, p, a in (first, second)]
    assert all(re.fullmatch(r"[a-z0-9]{1,32}", text) for text in ids)
    assert (ids[0] == ids[1]) == (first == second)
    again = make_client_order_id(intent_id=first[0], purpose=first[1], attempt=first[2])
    assert ids[0] == again


@pytest.mark.parametrize("attempt", [0, -1, MAX_ATTEMPT + 1])
def test_attempts_outside_the_range_are_refused(attempt: int) -> None:
    with pytest.raises(ValueError, match="attempt"):
        make_client_order_id(intent_id=UUID(int=1), purpose=OrderPurpose.ENTRY, attempt=attempt)
