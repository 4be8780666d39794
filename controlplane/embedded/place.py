"""Where a desk keeps its servers, and as whom they run."""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from controlplane.desk import DeskError
from controlplane.embedded.binaries import find_postgres

NOBODY = 65534
# The kernel allows about 107 bytes for the path of a socket.
LONGEST_SOCKET_DIR = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """How a server that refuses to run as root is run: a wrapper, another user, or neither."""

    wrapper: tuple[str, ...] = ()
    user: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one desk's servers keep their data, their sockets and their logs."""

    state_dir: Path
    socket_dir: Path
    isolation: Isolation

    @property
    def log_dir(self) -> Path:
        return self.state_dir / "log"

    def remove_sockets(self) -> None:
        """After the servers have stopped, leave nothing in the folder for temporary files."""
        shutil.rmtree(self.socket_dir, ignore_errors=True)


def choose_place(state_dir: Path) -> Place:
    isolation = choose_isolation()
    owner = os.geteuid() if isolation.user is None else isolation.user
    if isolation.user is not None:
        # The servers' user must reach its own folders in here, and sees nothing else.
        state_dir.chmod(state_dir.stat().st_mode | 0o011)
        check_reachable(state_dir)
        check_reachable(find_postgres())
    return Place(state_dir=state_dir, socket_dir=make_socket_dir(state_dir, owner), isolation=isolation)


def check_reachable(path: Path) -> None:
    """Raise DeskError where a folder on the way is closed to other users."""
    for folder in (path, *path.resolve().parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise DeskError(
                "PostgreSQL refuses to run as root, user namespaces are not allowed here, and"
                f" {folder} is closed to uid {NOBODY}: run as an ordinary user, or move the project"
                " and CONTROLPLANE_HOME"
            )


def choose_isolation() -> Isolation:
    """PostgreSQL refuses uid 0; a user namespace hides it and leaves the files root's own."""
    if os.geteuid() != 0:
        return Isolation()
    wrapper = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
    with contextlib.suppress(OSError):
        if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode == 0:
            return Isolation(wrapper=wrapper)
    return Isolation(user=NOBODY)


def make_socket_dir(state_dir: Path, owner: int) -> Path:
    """A folder only we can enter, short enough for a socket path, the same for the same desk."""
    digest = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:12]
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > LONGEST_SOCKET_DIR - 32 or re.search(r"[^\w./-]", str(base)):
        base = Path("/tmp")  # noqa: S108 - the folder made in it is private and checked
    path = base / f"cp-{os.geteuid()}-{digest}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if owner != os.geteuid():
            os.chown(path, owner, owner, follow_symlinks=False)
        found = path.lstat()
    except OSError as error:
        raise DeskError(f"{path}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
        raise DeskError(f"{path} is not a private folder of ours; remove it")
    return path
