"""Every complaint about a YAML file is one line with file, line and key."""

from decimal import Decimal
from pathlib import Path

import pytest

from controlplane.yaml_file import YamlError, YamlMap, load_yaml, parse_yaml

HERE = Path("desk.yaml")


def read(text: str) -> YamlMap:
    return parse_yaml(text.encode(), path=HERE)


def test_values_keep_their_kind_and_numbers_with_a_point_are_decimals() -> None:
    found = read("a: 1\nb: 0.10\nc: yes\nd: [x, y]\ne: {f: null}\ng: 2025-01-01\nh: -1.5e+3\n")
    assert found["a"] == 1
    assert found["b"] == Decimal("0.10")
    assert found.flag("c") is True
    assert found.texts("d") == ("x", "y")
    assert found.section("e")["f"] is None
    assert found.text("g") == "2025-01-01"
    assert found.number("h") == Decimal(-1500)
    assert dict(found.lines) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "g": 6, "h": 7}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "desk.yaml:4: b.c: given twice, first on line 3"),
        ("a: &x 1\nb: *x\n", "desk.yaml:2: not YAML: aliases are not allowed"),
        ("<<: {a: 1}\n", "desk.yaml:1: a key must be text (quote it)"),
        ("yes: 1\n", "desk.yaml:1: a key must be text (quote it)"),
        ("? [a]\n: 1\n", "desk.yaml:1: a key must be text (quote it)"),
        ("a: 010\n", "desk.yaml:1: a: cannot use the value '010'"),
        ("a: 1:30\n", "desk.yaml:1: a: cannot use the value '1:30'"),
        ("a: .inf\n", "desk.yaml:1: a: cannot use the value '.inf'"),
        ("a: !!python/name:os.system x\n", "desk.yaml:1: a: cannot use the value 'x'"),
        ("- 1\n", "desk.yaml:1: expected a mapping at the top"),
        ("", "desk.yaml:1: expected a mapping at the top"),
        ("a: 1\n---\nb: 1\n", "desk.yaml:2: not YAML: but found another document"),
        ("a: [1\nb: 2\n", "desk.yaml:2: not YAML: did not find expected ',' or ']'"),
    ],
)
def test_a_bad_file_gets_one_line_that_names_the_place(text: str, complaint: str) -> None:
    with pytest.raises(YamlError) as caught:
        read(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(complaint.split(": not YAML")[0])
    if "did not find" not in complaint:
        assert message == complaint


def test_deep_nesting_is_refused_instead_of_exhausting_the_stack() -> None:
    with pytest.raises(YamlError, match="nested deeper than"):
        read("a: " + "[" * 50_000)


def test_a_file_that_is_not_there_or_not_text_or_too_large_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match=r"absent\.yaml: cannot read: No such file"):
        load_yaml(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe\x00")
    with pytest.raises(YamlError, match=r"binary\.yaml.*not YAML"):
        load_yaml(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"a: 1\n" * 300_000)
    with pytest.raises(YamlError, match=r"huge\.yaml: larger than"):
        load_yaml(tmp_path / "huge.yaml")


def test_unknown_and_missing_keys_name_the_line_and_what_is_known() -> None:
    found = read("x:\n  a: 1\n  typo: 2\n").section("x")
    with pytest.raises(YamlError, match=r"desk\.yaml:3: x\.typo: unknown key; known here: a, b"):
        found.require_keys({"a"}, {"b"})
    with pytest.raises(YamlError, match=r"desk\.yaml:2: x\.b: missing"):
        read("x:\n  a: 1\n").section("x").require_keys(["a", "b"])


@pytest.mark.parametrize(
    ("reader", "text", "complaint"),
    [
        ("text", "a: 1", "desk.yaml:1: a: expected text, found 1"),
        ("text", "a:", "desk.yaml:1: a: expected text, found nothing"),
        ("flag", "a: 1", "desk.yaml:1: a: expected true or false, found 1"),
        ("whole", "a: true", "desk.yaml:1: a: expected a whole number, found True"),
        ("whole", "a: 1.0", "desk.yaml:1: a: expected a whole number, found Decimal('1.0')"),
        ("number", "a: {b: 1}", "desk.yaml:1: a: expected a number, found a mapping"),
        ("section", "a: [1]", "desk.yaml:1: a: expected a mapping, found a list"),
        ("texts", "a: x", "desk.yaml:1: a: expected a list of texts"),
        ("texts", "a: [x, x]", "desk.yaml:1: a: a value is listed twice"),
        ("number", "b: 1", "desk.yaml:1: a: missing"),
    ],
)
def test_a_value_of_another_kind_is_refused(reader: str, text: str, complaint: str) -> None:
    with pytest.raises(YamlError) as caught:
        getattr(read(text), reader)("a")
    assert str(caught.value) == complaint
