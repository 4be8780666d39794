"""One PostgreSQL beside the desk."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from controlplane.desk import DeskError, write_private
from controlplane.embedded.binaries import (
    find_postgres,
    last_line,
    last_log_line,
    postgres_version,
    server_environment,
)
from controlplane.embedded.place import Place
from controlplane.process import start_child, stop_child, tie_to_this_process

DATABASE = "controlplane"
START_SECONDS = 60.0


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
