"""The embedded servers, really started, killed and started again."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from controlplane.desk import DeskError, hold_desk, load_secrets, make_state_dir
from controlplane.embedded import place as embedded

ROOT = Path(__file__).resolve().parent.parent
SUPERVISOR = """
import sys, time
from pathlib import Path
from controlplane.desk import hold_desk, load_secrets, make_state_dir
from controlplane.embedded import Postgres, Valkey, choose_place

state_dir = Path(sys.argv[1])
make_state_dir(state_dir)
with hold_desk(state_dir):
    place = choose_place(state_dir)
    postgres, valkey = Postgres(place, load_secrets(state_dir)), Valkey(place)
    pids = valkey.start().pid, postgres.start().pid
    postgres.ensure_database()
    print(postgres.url("app"), postgres.url("owner"), valkey.url(), *pids, flush=True)
    sys.stdin.read()
    postgres.stop()
    valkey.stop()
    place.remove_sockets()
"""


def wait_until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def desk_dir() -> Iterator[Path]:
    """Not pytest's own folder, which other users cannot enter: the servers may have to run as one."""
    with tempfile.TemporaryDirectory(prefix="a desk ") as folder:
        yield Path(folder)


@pytest.fixture
def supervise(desk_dir: Path) -> Iterator[Callable[[], tuple["subprocess.Popen[str]", list[str]]]]:
    """Starts a process that runs both servers for a folder with a space in its name."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple["subprocess.Popen[str]", list[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(desk_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().split()

    yield start
    for process in started:
        process.communicate(timeout=30)


def test_what_was_written_survives_the_killing_of_the_supervisor(supervise):
    process, (app, owner, cache, *pids) = supervise()
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id int); GRANT SELECT, INSERT ON kept TO app")
    with psycopg.connect(app, autocommit=True) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        assert connection.execute(
            "SELECT current_setting('fsync'), current_setting('timezone')"
        ).fetchone() == (
            "on",
            "UTC",
        )
    with redis.Redis.from_url(cache) as client:
        client.set("kept", "1")
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        client.execute_command("WAITAOF", 1, 0, 5000)
    process.kill()
    wait_until(lambda: all(is_gone(int(pid)) for pid in pids))

    _, (app, _, cache, *_) = supervise()
    with psycopg.connect(app) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(1,)]
    with redis.Redis.from_url(cache) as client:
        assert client.get("kept") == b"1"


def test_the_application_role_can_neither_make_tables_nor_read_files(supervise):
    _, (app, *_) = supervise()
    for statement in ("CREATE TABLE mine (id int)", "COPY (SELECT 1) TO '/tmp/x'", "CREATE ROLE other"):
        with psycopg.connect(app) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_a_killed_postgres_with_a_stale_pid_file_starts_again(supervise, desk_dir):
    process, (*_, pid) = supervise()
    os.kill(int(pid), signal.SIGKILL)
    process.kill()
    wait_until(lambda: is_gone(int(pid)))
    pid_file = desk_dir / "pg" / "postmaster.pid"
    # The number now belongs to a program that has nothing to do with the desk, and must be left alone.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        lines = pid_file.read_text().splitlines(keepends=True)
        pid_file.write_text("".join([f"{other.pid}\n", *lines[1:]]))
        _, (app, *_) = supervise()
        with psycopg.connect(app) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert other.poll() is None


def test_secrets_and_sockets_are_for_their_owner_only(supervise, desk_dir):
    _, (app, *_) = supervise()
    assert (desk_dir / "secrets.json").stat().st_mode & 0o777 == 0o600
    socket_dir = Path(app.partition("host=")[2])
    assert socket_dir.stat().st_mode & 0o777 == 0o700
    assert len(str(socket_dir / ".s.PGSQL.5432.lock")) < 100


def test_one_folder_holds_one_desk(tmp_path):
    make_state_dir(tmp_path)
    with (
        hold_desk(tmp_path),
        pytest.raises(DeskError, match=r"^a desk is already running in .*; stop it first$"),
        hold_desk(tmp_path),
    ):
        pass
    with hold_desk(tmp_path):
        pass


def test_two_folders_have_two_places(tmp_path):
    first, second = (embedded.make_socket_dir(tmp_path / name, os.geteuid()) for name in ("one", "two"))
    assert first != second
    assert first == embedded.make_socket_dir(tmp_path / "one", os.geteuid())
    for path in (first, second):
        path.rmdir()


def test_a_socket_folder_that_others_can_enter_is_refused(tmp_path):
    path = embedded.make_socket_dir(tmp_path, os.geteuid())
    path.chmod(0o755)
    with pytest.raises(DeskError, match="is not a private folder of ours; remove it"):
        embedded.make_socket_dir(tmp_path, os.geteuid())
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(DeskError):
        embedded.make_socket_dir(tmp_path, os.geteuid())
    path.unlink()


def test_secrets_that_are_lost_are_not_made_anew_over_an_existing_cluster(tmp_path):
    (tmp_path / "pg").mkdir()
    with pytest.raises(DeskError, match=r"secrets\.json is missing or incomplete.*--fresh starts over"):
        load_secrets(tmp_path)


def test_secrets_stay_the_same(tmp_path):
    assert load_secrets(tmp_path) == load_secrets(tmp_path)
