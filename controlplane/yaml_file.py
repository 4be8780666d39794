"""Reads YAML so that every complaint names file, line and key.

Only the safe subset: one document of mappings with text keys, lists and plain scalars. Anchors,
merge keys and duplicate keys are refused. Numbers with a point become Decimal, never float.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from controlplane.errors import InvalidInput

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_POINT = re.compile(r"[-+]?[0-9][0-9_]*\.[0-9]*([eE][-+]?[0-9]+)?\Z")
_TAG = "tag:yaml.org,2002:"


class YamlError(InvalidInput):
    """A file cannot be used; the text is one line `file:line: key: what is wrong`."""

    code = "invalid_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlMap(Mapping[str, Any]):
    """A mapping of the file; values are YamlMap, tuple, str, int, Decimal, bool or None.

    The typed readers (`text`, `number`, …) raise YamlError naming the line for a missing key
    or a value of another kind.
    """

    path: Path
    line: int
    where: str
    values_by_key: Mapping[str, Any]
    lines: Mapping[str, int]

    def __getitem__(self, key: str) -> Any:
        return self.values_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    def error(self, key: str, text: str) -> YamlError:
        """The complaint about one key of this mapping (or, with "", about the mapping)."""
        name = ".".join(part for part in (self.where, key) if part)
        return _complain(self.path, self.lines.get(key, self.line), name, text)

    def require_keys(self, required: Collection[str], optional: Collection[str] = ()) -> None:
        """Raise YamlError for the first unknown or missing key."""
        for key in self:
            if key not in required and key not in optional:
                known = ", ".join(sorted({*required, *optional}))
                raise self.error(key, f"unknown key; known here: {known}")
        for key in required:
            if key not in self:
                raise self.error(key, "missing")

    def section(self, key: str) -> "YamlMap":
        value = self._value(key)
        if not isinstance(value, YamlMap):
            raise self.error(key, f"expected a mapping, found {_kind(value)}")
        return value

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, f"expected text, found {_kind(value)}")
        return value

    def flag(self, key: str) -> bool:
        value = self._value(key)
        if not isinstance(value, bool):
            raise self.error(key, f"expected true or false, found {_kind(value)}")
        return value

    def whole(self, key: str) -> int:
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"expected a whole number, found {_kind(value)}")
        return value

    def number(self, key: str) -> Decimal:
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.error(key, f"expected a number, found {_kind(value)}")
        return Decimal(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._value(key)
        if not isinstance(value, tuple) or not all(isinstance(part, str) and part for part in value):
            raise self.error(key, "expected a list of texts")
        if len(set(value)) < len(value):
            raise self.error(key, "a value is listed twice")
        return value

    def _value(self, key: str) -> Any:
        if key not in self.values_by_key:
            raise self.error(key, "missing")
        return self.values_by_key[key]


def load_yaml(path: Path) -> YamlMap:
    """Read one file; raises YamlError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _complain(path, 0, "", f"cannot read: {error.strerror}") from error
    return parse_yaml(raw, path=path)


def parse_yaml(raw: bytes, *, path: Path) -> YamlMap:
    """Read a file's content; `path` is used in complaints only. Raises YamlError."""
    if len(raw) > MAX_BYTES:
        raise _complain(path, 0, "", f"larger than {MAX_BYTES} bytes")
    try:
        root = _Loader(raw).get_single_node()
    except yaml.MarkedYAMLError as error:
        line = 0 if error.problem_mark is None else error.problem_mark.line + 1
        raise _complain(path, line, "", f"not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise _complain(path, 0, "", f"not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(root, yaml.MappingNode):
        raise _complain(path, 1, "", "expected a mapping at the top")
    return _build_map(root, path, "")


class _Loader(yaml.SafeLoader):
    """Composes nodes only; refuses aliases and deep nesting while it does."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH}", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _build(node: yaml.Node, path: Path, where: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _build_map(node, path, where)
    if isinstance(node, yaml.SequenceNode):
        return tuple(_build(item, path, f"{where}[{index}]") for index, item in enumerate(node.value))
    return _build_scalar(node, path, where)


def _build_map(node: yaml.MappingNode, path: Path, where: str) -> YamlMap:
    built: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{_TAG}str":
            raise _complain(path, line, where, "a key must be text (quote it)")
        key = key_node.value
        name = f"{where}.{key}" if where else key
        if key in built:
            raise _complain(path, line, name, f"given twice, first on line {lines[key]}")
        built[key], lines[key] = _build(value_node, path, name), line
    return YamlMap(path=path, line=node.start_mark.line + 1, where=where, values_by_key=built, lines=lines)


def _build_scalar(node: yaml.Node, path: Path, where: str) -> Any:
    raw = node.value
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return raw.lower() in {"true", "yes", "on"}
        case "int" if _WHOLE.match(raw):
            return int(raw.replace("_", ""))
        case "float" if _POINT.match(raw):
            return Decimal(raw.replace("_", ""))
        case "str" | "timestamp":
            return str(raw)
    raise _complain(path, node.start_mark.line + 1, where, f"cannot use the value {raw!r}")


def _complain(path: Path, line: int, name: str, text: str) -> YamlError:
    place = f"{path}:{line}" if line else str(path)
    return YamlError(": ".join(part for part in (place, name, text) if part))


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, YamlMap):
        return "a mapping"
    if isinstance(value, tuple):
        return "a list"
    return repr(value)
