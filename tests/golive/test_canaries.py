import uuid
from datetime import timedelta

import pytest

from golive import canaries
from golive.metrics import CANARY_ANSWERS
from golive.models import Canary
from golive.tasks import answer_canary
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db


def test_a_canary_is_answered_and_counted_once():
    nonce = canaries.release_canary()
    before = CANARY_ANSWERS._value.get()
    for _ in range(2):
        answer_canary.apply((str(nonce),)).get()
    assert CANARY_ANSWERS._value.get() == before + 1
    assert canaries.wait_for_answer(nonce, seconds=0).answered_by


def test_without_an_answer_the_wait_ends():
    trip = canaries.wait_for_answer(canaries.release_canary(), seconds=0.05)
    assert trip.answered_by is None
    assert trip.seconds >= 0.05


def test_an_unknown_canary_is_neither_answered_nor_counted():
    assert not canaries.answer_canary(nonce=uuid.uuid4(), worker="w")


def test_what_an_interrupted_run_left_goes_with_a_later_one():
    old = canaries.release_canary()
    Canary.objects.update(asked_at=get_clocks().wall_at - timedelta(hours=2))
    fresh = canaries.release_canary()
    assert list(Canary.objects.values_list("nonce", flat=True)) == [fresh]
    assert old != fresh
