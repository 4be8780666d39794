"""Differences are named by their place, whatever is nested in what."""

import pytest

from golive.core.differences import list_changes


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a", "a", []),
        ({"x": 1, "y": [1, 2]}, {"y": [1, 2], "x": 1}, []),
        ("a", "b", ["all: a -> b"]),
        (None, {"x": True}, ["all: none -> absent", "x: absent -> true"]),
        ({"x": {"y": 1}}, {"x": {"y": 2}}, ["x.y: 1 -> 2"]),
        ({"x": ["a", "b"]}, {"x": ["a"]}, ["x: a, b -> a"]),
        ({"x": [{"y": None}]}, {"x": [{"y": False}]}, ["x.0.y: none -> false"]),
        ({"x": [[1], [2]]}, {"x": [[1], [2], [3]]}, ["x.2: absent -> 3"]),
        ({"x": {}}, {"x": []}, ["x: {} -> []"]),
        ({"b": 1, "a": 1}, {}, ["a: 1 -> absent", "all: absent -> {}", "b: 1 -> absent"]),
    ],
)
def test_every_place_that_differs_is_listed_in_order(before, after, expected):
    assert [str(change) for change in list_changes(before, after)] == expected
    back = [f"{place}: {now} -> {was}" for place, was, now in list_changes(before, after)]
    assert [str(change) for change in list_changes(after, before)] == back
