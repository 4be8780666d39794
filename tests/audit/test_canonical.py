import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.audit.canonical import NotCanonical, canonical_text, digest_of


class Side(StrEnum):
    BUY = "buy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    name: str
    value: Decimal


GOLDEN = [
    ({"b": 1, "a": None, "Z": True}, '{"Z":true,"a":null,"b":1}'),
    (Decimal("1000.00"), '"1000"'),
    (Decimal("1E+3"), '"1000"'),
    (Decimal("0.10"), '"0.1"'),
    (Decimal("-0"), '"0"'),
    (Decimal("-0.00"), '"0"'),
    (Decimal("1E-8"), '"0.00000001"'),
    (Decimal("123456789012345678901234567890.123456789"), '"123456789012345678901234567890.123456789"'),
    (2**80, "1208925819614629174706176"),
    (-0, "0"),
    (datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC), '"2026-03-01T12:00:00.000001Z"'),
    (
        datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        '"2026-02-28T19:30:00.000000Z"',
    ),
    (datetime(999, 1, 1, tzinfo=UTC), '"0999-01-01T00:00:00.000000Z"'),
    (date(2026, 3, 1), '"2026-03-01"'),
    (timedelta(minutes=1, microseconds=500), '"60.0005"'),
    (timedelta(seconds=-1), '"-1"'),
    ("e\u0301", '"é"'),
    ("\u212b", '"Å"'),
    ('日本 🚀 \u2028 \x1f " \\ /', '"日本 🚀 \u2028 \\u001f \\" \\\\ /"'),
    (Side.BUY, '"buy"'),
    ({Side.BUY: Decimal("1.50")}, '{"buy":"1.5"}'),
    ((1, [2, "x"]), '[1,[2,"x"]]'),
    (frozenset({"b", "a"}), '["a","b"]'),
    (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (Limit(name="x", value=Decimal("2.0")), '{"name":"x","value":"2"}'),
]

GOLDEN_DIGEST = "174b2732a62ce0e951e226818c03719170f5f78b63facbba0e132b38e9c67f36"


@pytest.mark.parametrize(("value", "text"), GOLDEN)
def test_a_value_has_exactly_this_text(value, text):
    assert canonical_text(value) == text


def test_the_digest_of_the_golden_values_never_changes():
    text = canonical_text([value for value, _ in GOLDEN])
    assert digest_of("golden-v1", [value for value, _ in GOLDEN]) == GOLDEN_DIGEST, text


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (0.1, "a float"),
        ({"a": [1, {"b": 1.0}]}, r"\$\.a\[1\]\.b: a float"),
        (Decimal("NaN"), "not a number"),
        (Decimal("Infinity"), "not a number"),
        (datetime(2026, 3, 1), "no time zone"),  # noqa: DTZ001
        (b"bytes", "a bytes"),
        ({1: "x"}, "is not text"),
        ({"é": 1, "e\u0301": 2}, "appears twice"),
        ("\ud800", "surrogate"),
        ("a\0b", "NUL"),
        (object(), "an? object"),
    ],
)
def test_what_has_no_single_text_is_refused(value, complaint):
    with pytest.raises(NotCanonical, match=complaint):
        canonical_text(value)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(min_value=0, max_value=6))
def test_equal_decimals_have_equal_texts_that_read_back(number, zeros):
    sign, digits, exponent = number.as_tuple()
    same = Decimal((sign, (*digits, *([0] * zeros)), int(exponent) - zeros))
    text = canonical_text(number)
    assert text == canonical_text(same)
    assert "E" not in text
    assert Decimal(text.strip('"')) == number


@given(st.dictionaries(st.text(alphabet="abcdefé", max_size=4), st.integers()))
def test_the_order_of_keys_does_not_matter(mapping):
    assert canonical_text(mapping) == canonical_text(dict(reversed(list(mapping.items()))))
