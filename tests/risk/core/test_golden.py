"""The recorded decisions are still the answers."""

import json

import pytest

from risk.core.reasons import ReasonCode
from tests.risk.core import golden

RECORDED = json.loads(golden.PATH.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_the_recorded_inputs_give_the_recorded_answer(name: str) -> None:
    stored = RECORDED[name]
    assert golden.record(golden.read_case(stored))["answer"] == stored["answer"]


def test_every_case_is_recorded_as_it_is_made() -> None:
    assert {name: golden.record(case) for name, case in golden.list_cases().items()} == RECORDED


def test_the_recorded_answers_are_of_many_kinds() -> None:
    codes = {breach["code"] for stored in RECORDED.values() for breach in stored["answer"]["breaches"]}
    assert codes <= {code.value for code in ReasonCode}
    assert len(codes) > 30
    assert sum(stored["answer"]["allowed"] for stored in RECORDED.values()) > 5
