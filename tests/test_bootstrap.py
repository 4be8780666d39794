"""The set-up, on a small project of its own with wheels made here: no network, the real tools."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import bootstrap

ROOT = Path(__file__).resolve().parent.parent
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)
LAUNCH = """
import sys

def run_command(argv):
    import small
    print("inside", sys.prefix, small.VERSION, argv[1:])
    return 7
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "a project with spaces"
    (root / "controlplane").mkdir(parents=True)
    (root / "controlplane" / "__init__.py").touch()
    (root / "controlplane" / "launch.py").write_text(LAUNCH)
    shutil.copytree(ROOT / "deploy", root / "deploy", ignore=shutil.ignore_patterns("*.lock", "__pycache__"))
    shutil.copy(ROOT / "manage.py", root)
    (tmp_path / "wheels").mkdir()
    lock(root, version=1)
    return root


def lock(root: Path, *, version: int) -> None:
    """Pin a package of one module, and a uv that is the real one, or fails where there is none."""
    wheels = root.parent / "wheels"
    small = make_wheel(wheels, "small", version, {"small.py": f"VERSION = {version}\n"})
    real = next(iter(ROOT.glob(".venv/uv/bin/uv")), None)
    program = real.read_bytes() if real else b"#!/bin/sh\nexit 1\n"
    uv = make_wheel(wheels, "uv", 1, {"uv-1.data/scripts/uv": program})
    pins = [
        f"{path.name.split('-')[0]}=={path.name.split('-')[1]} \\\n    --hash=sha256:{digest(path)}\n"
        for path in (small, uv)
    ]
    (root / "deploy" / "requirements.lock").write_text("".join(pins))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_wheel(folder: Path, name: str, version: int, files: dict[str, str | bytes]) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    content = {file: text.encode() if isinstance(text, str) else text for file, text in files.items()}
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{file},sha256={url_digest(data)},{len(data)}" for file, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, data in content.items():
            entry = zipfile.ZipInfo(file, date_time=(2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, data)
    return path


def url_digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def environment(project: Path) -> dict[str, str]:
    """A home that does not exist, and packages from the folder of wheels only."""
    wheels = project.parent / "wheels"
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "HOME": "/nonexistent",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels).replace(" ", "%20"),
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(wheels),
    }


def begin(project: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [BASE_PYTHON, str(project / "manage.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(project),
    )


def run(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    with begin(project, *arguments) as process:
        output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def inside(project: Path, version: int, *arguments: str) -> str:
    return f"inside {project / '.venv'} {version} {list(arguments)}\n"


def test_the_first_run_builds_the_environment_and_goes_on_inside_it(project):
    first = run(project, "up", "--for", "a b")
    assert (first.returncode, first.stdout) == (7, inside(project, 1, "up", "--for", "a b")), first.stderr
    assert "building .venv" in first.stderr
    assert ("trying pip" not in first.stderr) or not list(ROOT.glob(".venv/uv/bin/uv"))
    second = run(project, "up")
    assert (second.returncode, second.stdout, second.stderr) == (7, inside(project, 1, "up"), "")


def test_a_changed_lock_brings_the_environment_up_to_date(project):
    run(project)
    kept = project / ".venv" / "kept"
    kept.touch()
    lock(project, version=2)
    again = run(project)
    assert again.stdout == inside(project, 2), again.stderr
    assert kept.exists()


def test_an_interrupted_set_up_is_done_again_from_the_start(project):
    run(project)
    (project / ".venv" / ".stamp").unlink()
    (next(iter((project / ".venv").glob("lib/python*/site-packages/small.py")))).write_text("broken(")
    again = run(project)
    assert again.stdout == inside(project, 1), again.stderr


def test_two_at_once_build_once_and_both_go_on(project):
    both = [begin(project, str(number)) for number in (1, 2)]
    answers = [process.communicate(timeout=120) for process in both]
    assert [output for output, _ in answers] == [inside(project, 1, "1"), inside(project, 1, "2")], answers
    assert sum("building .venv" in errors for _, errors in answers) == 1


def test_a_package_of_another_content_is_refused_in_one_line(project):
    path = project / "deploy" / "requirements.lock"
    path.write_text(re.sub(r"(small==1 \\\n    --hash=sha256:)\w{8}", r"\g<1>00000000", path.read_text()))
    refused = run(project)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[-1].startswith("set-up failed: pip install: ")
    assert not (project / ".venv" / ".stamp").exists()


def test_a_moved_copy_is_built_anew(project):
    run(project)
    moved = project.with_name("moved")
    shutil.copytree(project, moved, symlinks=True)
    assert "building .venv" in run(moved).stderr


def test_no_bootstrap_runs_where_it_is_called(project):
    process = subprocess.run(
        [BASE_PYTHON, str(project / "manage.py")],
        env=environment(project) | {"CONTROLPLANE_NO_BOOTSTRAP": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'small'" in process.stderr
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_another_python_is_refused_in_one_line(version):
    with pytest.raises(
        bootstrap.SetUpFailed, match=r"^Python 3\.11 to 3\.13 is needed, this is \d\.\d+ \(.*\)$"
    ):
        bootstrap.check_version(version)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_the_supported_pythons_are_accepted(version):
    bootstrap.check_version(version)


def requirements() -> Iterator[tuple[str, str]]:
    text = (ROOT / "deploy" / "requirements.lock").read_text()
    for block in re.findall(r"^\S.*(?:\n[ ]+.*)*", text, re.MULTILINE):
        yield block.split()[0], block


def test_the_lock_pins_every_package_by_hash_and_names_no_address():
    found = dict(requirements())
    assert len(found) > 50
    for name, block in found.items():
        assert "==" in name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), name
        assert not re.search(r"://|index-url|find-links", block), name
    assert any(name.startswith("uv==") for name in found)


def test_the_project_asks_for_nothing_that_the_lock_lacks():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    locked = {name.split("==")[0] for name, _ in requirements()}
    wanted = {re.split(r"[\[<>=~ ]", requirement)[0].lower().replace("_", "-") for requirement in asked}
    assert wanted <= locked
