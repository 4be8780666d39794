"""Builds `.venv` from the hashed lock and continues inside it; standard library only.

The environment counts only once its stamp is written, which is the last step, so an interrupted
set-up is simply done again. The lock file itself is what two processes at once queue on.
This file must parse on an old Python 3 too, so that its user can be told so in one line.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOCK = os.path.join(ROOT, "deploy", "requirements.lock")
ENVIRONMENT = os.path.join(ROOT, ".venv")
STAMP = os.path.join(ENVIRONMENT, ".stamp")
HASHED_WHEELS = ("--require-hashes", "--only-binary", ":all:")
# What would send packages elsewhere, or make pip refuse.
MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "VIRTUAL_ENV", "CONDA_PREFIX")


class SetUpFailed(Exception):
    """The environment could not be built; the text is one line for a person."""


def enter() -> None:
    """Return when this process runs in the stamped environment; otherwise build it and re-execute there."""
    if os.environ.get("CONTROLPLANE_NO_BOOTSTRAP") == "1":
        return
    try:
        check_version(sys.version_info[:2])
        if not is_stamped():
            with exclusive(LOCK):
                if not is_stamped():
                    build()
        elif is_inside():
            return
    except SetUpFailed as error:
        sys.exit(f"set-up failed: {error}")
    except KeyboardInterrupt:
        sys.exit("set-up interrupted; the next run starts it again")
    python = environment_python()
    sys.stdout.flush()
    os.execv(python, [python, *sys.argv])  # noqa: S606


def check_version(version: "tuple[int, ...]") -> None:
    def dotted(numbers: "tuple[int, ...]") -> str:
        return ".".join(map(str, numbers))

    if not OLDEST <= tuple(version) <= NEWEST:
        raise SetUpFailed(
            f"Python {dotted(OLDEST)} to {dotted(NEWEST)} is needed,"
            f" this is {dotted(version)} ({sys.executable})"
        )


def is_inside() -> bool:
    return os.path.realpath(sys.prefix) == os.path.realpath(ENVIRONMENT)


def is_stamped() -> bool:
    """Whether the environment was built whole from this lock, for this Python, at this place."""
    return read_stamp() == wanted_stamp() and os.access(environment_python(), os.X_OK)


def read_stamp() -> "list[str]":
    try:
        with open(STAMP, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def wanted_stamp() -> "list[str]":
    """The place and Python the environment is for, and what is installed in it."""
    with open(LOCK, "rb") as file:
        lock = file.read()
    # Scripts in the environment name their interpreter by absolute path, so a moved copy is built anew.
    place = "{}.{} {}".format(*sys.version_info[:2], ROOT).encode("utf-8", "surrogateescape")
    return [hashlib.sha256(content).hexdigest() for content in (place, lock)]


def environment_python() -> str:
    return os.path.join(ENVIRONMENT, "bin", "python")


@contextlib.contextmanager
def exclusive(path: str) -> "Iterator[None]":
    """Hold an advisory lock on the file: a second set-up waits, then finds the work done."""
    import fcntl

    try:
        file = open(path, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise SetUpFailed(f"cannot read {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build() -> None:
    try:
        # Of a whole environment only the packages are outgrown; running processes keep their files.
        if read_stamp()[:1] == wanted_stamp()[:1] and os.access(environment_python(), os.X_OK):
            say("bringing .venv up to date")
            os.remove(STAMP)
        else:
            say("building .venv (the first time only)")
            make_environment()
        pip = find_pip()
        if not install_with_uv(pip):
            install_with_pip(pip)
        with open(STAMP + ".new", "w", encoding="utf-8") as file:
            file.write("\n".join(wanted_stamp()))
        os.replace(STAMP + ".new", STAMP)
    except OSError as error:
        raise SetUpFailed(f"{error.filename or ENVIRONMENT}: {error.strerror or error}") from error
    say(".venv is ready")


def make_environment() -> None:
    """Make an empty environment in the place of an interrupted one, or of another Python's."""
    if os.path.lexists(ENVIRONMENT):
        if os.path.islink(ENVIRONMENT) or not os.path.isdir(ENVIRONMENT):
            raise SetUpFailed(f"{ENVIRONMENT} is in the way, remove it")
        if os.path.exists(STAMP):
            os.remove(STAMP)
        shutil.rmtree(ENVIRONMENT)
    run([base_python(), "-m", "venv", "--without-pip", ENVIRONMENT], "python -m venv")


def base_python() -> str:
    """The Python outside any environment, so that `.venv` never depends on another one."""
    return getattr(sys, "_base_executable", None) or sys.executable


def find_pip() -> "list[str]":
    """A command that runs pip: the base Python's own, else one unpacked into the environment."""
    own = [base_python(), "-m", "pip"]
    if attempt([*own, "--version"]).returncode == 0:
        return own
    if attempt([environment_python(), "-m", "ensurepip", "--default-pip"]).returncode != 0:
        raise SetUpFailed(
            "this Python has neither pip nor ensurepip (on Debian: apt-get install python3-venv)"
        )
    return [environment_python(), "-m", "pip"]


def install_with_uv(pip: "list[str]") -> bool:
    """Install uv by its hash, then the lock with it; False where either cannot be had, and pip must do."""
    target = os.path.join(ENVIRONMENT, "uv")
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="controlplane-set-up-") as folder:
        requirement = os.path.join(folder, "uv.lock")
        with open(requirement, "w", encoding="utf-8") as file:
            file.write(locked("uv"))
        fetch = [*pip, "install", "--quiet", "--no-deps", *HASHED_WHEELS, "--target", target]
        if attempt([*fetch, "--requirement", requirement]).returncode != 0:
            return False
    command = [os.path.join(target, "bin", "uv"), "pip", "sync", "--quiet", "--compile-bytecode"]
    try:
        done = attempt([*command, *HASHED_WHEELS, "--python", environment_python(), LOCK], uv_settings(pip))
        problem = last_line(done.stderr) if done.returncode != 0 else ""
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        say(f"uv could not install the lock ({problem}), trying pip")
    return not problem


def install_with_pip(pip: "list[str]") -> None:
    if pip[0] != environment_python():
        pip = [*pip, "--python", environment_python()]
    run([*pip, "install", "--quiet", *HASHED_WHEELS, "--requirement", LOCK], "pip install")


def locked(name: str) -> str:
    """The lines of the lock that pin one package, with its hashes."""
    with open(LOCK, encoding="utf-8") as file:
        found = re.search(rf"^{re.escape(name)}==.*(?:\n[ ]+--hash=.*)+", file.read(), re.MULTILINE)
    if not found:
        raise SetUpFailed(f"{LOCK} does not pin {name}")
    return found.group() + "\n"


def uv_settings(pip: "list[str]") -> "dict[str, str]":
    """Follow pip's index and the system's certificates; never fetch a Python; do without a home."""
    settings = {"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy", "UV_SYSTEM_CERTS": "true"}
    # Whichever index has the pinned version will do: the hash says whether it is the right one.
    settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    listed = attempt([*pip, "config", "list"]).stdout.decode("utf-8", "replace")
    for variable, option in (("UV_DEFAULT_INDEX", "index-url"), ("UV_INDEX", "extra-index-url")):
        found = re.findall(rf"\.{option}='(.+)'$", listed, re.MULTILINE)
        if found:
            settings[variable] = found[-1].replace("\\n", " ").strip()
    cache = os.environ.get("UV_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~")
    if not os.access(cache, os.W_OK):
        settings["UV_NO_CACHE"] = "1"
    return {name: os.environ.get(name, value) for name, value in settings.items()}


def attempt(command: "list[str]", settings: "dict[str, str]" = {}) -> "subprocess.CompletedProcess[bytes]":  # noqa: B006
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in MISLEADING and not name.startswith("PYTHON")
    }
    environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_ROOT_USER_ACTION="ignore")
    environment.update(settings)
    return subprocess.run(command, capture_output=True, check=False, env=environment)


def run(command: "list[str]", what: str) -> None:
    done = attempt(command)
    if done.returncode != 0:
        raise SetUpFailed(f"{what}: {last_line(done.stderr or done.stdout)}")


def last_line(output: bytes) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def say(text: str) -> None:
    sys.stderr.write(f"set-up: {text}\n")
    sys.stderr.flush()
