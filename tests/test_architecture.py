"""What import-linter cannot see, read from the source itself."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("controlplane", "trading", "risk", "golive")


def sources(*parts: str) -> list[Path]:
    return sorted(
        path for app in parts for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts
    )


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_core_imports_only_the_standard_library_and_lower_cores():
    allowed = {"abc", "collections", "dataclasses", "datetime", "decimal", "enum", "functools", "hashlib"}
    allowed |= {"itertools", "json", "math", "operator", "statistics", "types", "typing", "uuid"}
    for path in sources("trading/core", "risk/core", "golive/core"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                in_core = ".core" in module
                assert in_core or module.split(".")[0] in allowed, f"{path}: imports {module}"


def test_core_has_no_clock_no_random_and_no_uuid_of_its_own():
    forbidden = {"datetime.now", "datetime.utcnow", "time.time", "uuid.uuid4", "uuid4", "random.random"}
    for path in sources("trading/core", "risk/core", "golive/core"):
        for call in calls(path):
            assert name_of(call) not in forbidden, f"{path}:{call.lineno}"


def test_no_task_is_sent_by_name():
    for path in sources(*APPS):
        for call in calls(path):
            assert not name_of(call).endswith(".send_task"), f"{path}:{call.lineno}"


def test_only_the_door_submits_orders_to_a_venue():
    for path in sources(*APPS):
        inside = path.relative_to(ROOT)
        if inside.parts[:2] in {("trading", "venues"), ("trading", "simulator")}:
            continue
        for call in calls(path):
            if name_of(call).endswith(".submit_order"):
                assert inside.parts[1].startswith("dispatch"), f"{path}:{call.lineno}"


def test_ccxt_is_imported_inside_functions_of_the_venues_only():
    for path in sources(*APPS):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "ccxt" for name in names):
                assert path.relative_to(ROOT).parts[:2] == ("trading", "venues"), path
                assert node not in tree.body, f"{path}: ccxt is imported with the module"


def test_every_wiring_module_has_a_place_in_the_import_law():
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    placed = " ".join(layer for contract in contracts for layer in contract.get("layers", []))
    for path in (ROOT / "controlplane").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            name = f"controlplane.{path.stem}"
            assert name == "controlplane.__init__" or name in placed.split(" "), f"{name} has no layer"


@pytest.mark.parametrize("path", sources(*APPS), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    limit = 20 if "core" in path.relative_to(ROOT).parts else 40
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            docstring = ast.get_docstring(node, clean=False) or ""
            assert length - docstring.count("\n") <= limit, (
                f"{path}:{node.lineno} {node.name}: {length} lines"
            )


def test_the_lock_names_no_index():
    lock = (ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8")
    for word in ("://", "index-url", "find-links"):
        assert word not in lock
