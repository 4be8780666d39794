"""An allowance: so many at once, and as many a period in the long run."""

import pytest
from django.core.cache import caches

from controlplane import env
from controlplane.rate_limits import CACHE, Allowance

RATE = (3, 60)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    caches[CACHE].clear()
    return Clock()


@pytest.fixture
def allowance(clock):
    return Allowance("test", clock)


def test_the_whole_number_may_be_used_at_once_and_no_more(allowance):
    assert [allowance.take("a", RATE) for _ in range(3)] == [0, 0, 0]
    assert allowance.take("a", RATE) == pytest.approx(20)


def test_a_refusal_uses_nothing_up(allowance, clock):
    for _ in range(10):
        allowance.take("a", RATE)
    clock.now += 20
    assert allowance.take("a", RATE) == 0
    assert allowance.take("a", RATE) == pytest.approx(20)


def test_it_recovers_wholly_in_one_period_and_not_beyond(allowance, clock):
    for _ in range(3):
        allowance.take("a", RATE)
    clock.now += 600
    assert [allowance.take("a", RATE) for _ in range(4)][:3] == [0, 0, 0]
    assert allowance.seconds_until("a", RATE) == pytest.approx(20)


def test_looking_uses_nothing_up(allowance):
    assert [allowance.seconds_until("a", RATE) for _ in range(9)] == [0] * 9


def test_keys_and_names_do_not_share(allowance, clock):
    for _ in range(3):
        allowance.take("a", RATE)
    assert allowance.take("b", RATE) == 0
    assert Allowance("other", clock).take("a", RATE) == 0


def test_in_the_long_run_no_more_than_the_rate_gets_through(allowance, clock):
    through = 0
    for _ in range(1000):
        clock.now += 1
        through += allowance.take("a", RATE) == 0
    assert through == 3 + 1000 * 3 // 60 - 1


@pytest.mark.parametrize(
    ("text", "rate"), [("600/min", (600, 60)), ("1/s", (1, 1)), ("36000/h", (36000, 3600))]
)
def test_a_rate_is_read(monkeypatch, text, rate):
    monkeypatch.setenv("SOME_RATE", text)
    assert env.env_rate("SOME_RATE", "1/s") == rate


@pytest.mark.parametrize("text", ["0/min", "-1/s", "600", "600/day", "x/s", "1.5/s", "٣/s", "600/min "])
def test_a_rate_in_doubt_stops_the_process(monkeypatch, text):
    monkeypatch.setenv("SOME_RATE", text)
    with pytest.raises(env.SettingError, match="SOME_RATE: expected a rate like 600/min"):
        env.env_rate("SOME_RATE", "1/s")
