"""What a decision was made of can be written down and read back whole."""

import json
from dataclasses import fields
from decimal import Decimal

import pytest

from risk.core.values import Anchor, Intent, Snapshot
from risk.evidence import from_text, parse_text, to_text
from tests.risk import build


def test_a_full_snapshot_and_intent_come_back_equal():
    known = build.snapshot(positions=(build.position(),), pending=(build.pending(),))
    assert from_text(Snapshot, to_text(known)) == known
    assert from_text(Intent, to_text(build.intent())) == build.intent()


def test_an_empty_snapshot_comes_back_empty():
    bare = build.snapshot(permit=None, prices=None, allowed_symbols=None, anchors=(), activity=None)
    assert from_text(Snapshot, to_text(bare)) == bare


def test_the_text_is_the_same_for_the_same_value_and_keeps_every_digit():
    text = to_text(build.snapshot())
    assert text == to_text(build.snapshot())
    assert list(json.loads(text)) == [field.name for field in fields(Snapshot)]
    assert to_text({"n": Decimal("1E+3"), "m": Decimal("0.1000000000")}) == '{"m":"0.1000000000","n":"1000"}'
    assert parse_text('{"n": 97.0000000001}') == {"n": Decimal("97.0000000001")}


def test_an_anchor_that_lacks_a_field_or_has_one_too_many_is_refused():
    data = json.loads(to_text(build.anchors()[0]))
    with pytest.raises(KeyError, match="Anchor: equity"):
        from_text(Anchor, json.dumps({name: value for name, value in data.items() if name != "equity"}))
    with pytest.raises(KeyError, match="Anchor: more"):
        from_text(Anchor, json.dumps(data | {"more": 1}))


def test_what_has_no_text_is_refused():
    with pytest.raises(TypeError):
        to_text({"value": object()})
