"""Settings come from the environment, and doubt stops the process with one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from controlplane import env, launch

ROOT = Path(__file__).resolve().parent.parent
LONG_KEY = "q7-w8x_e9" * 8
SOUND = {
    "DATABASE_URL": "postgres://app:pw@db.internal:5432/desk?sslmode=require",
    "REDIS_URL": "rediss://cache.internal:6379/0",
    "SECRET_KEY": LONG_KEY,
    "TRADING_ENVIRONMENT": "live",
    "ALLOWED_HOSTS": "desk.internal",
}


def manage(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "CONTROLPLANE_NO_BOOTSTRAP": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_production_environment_passes_the_deployment_checks():
    done = manage("check", "--deploy", "--fail-level", "WARNING", **SOUND)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "System check identified no issues (0 silenced).\n"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set (nor SECRET_KEY_FILE)"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY: at least 50 characters, found 5"),
        (
            {"SECRET_KEY_FILE": "/nonexistent", "SECRET_KEY": None},
            "SECRET_KEY_FILE: cannot read /nonexistent",
        ),
        ({"SECRET_KEY": None}, "SECRET_KEY is not set (nor SECRET_KEY_FILE)"),
        ({"REDIS_URL": None}, "REDIS_URL is not set (nor REDIS_URL_FILE)"),
        ({"REDIS_URL": "amqp://x"}, "REDIS_URL: expected redis://, rediss:// or unix://, found amqp://"),
        ({"DEBUG": "on"}, "DEBUG must be off where TRADING_ENVIRONMENT is live"),
        ({"DEBUG": "perhaps"}, "DEBUG: expected true or false, found 'perhaps'"),
        (
            {"TRADING_ENVIRONMENT": "prod"},
            "TRADING_ENVIRONMENT: expected one of paper, demo, live, found 'prod'",
        ),
        ({"DATABASE_URL": "sqlite:///db"}, "DATABASE_URL: only postgres:// is supported, found sqlite://"),
        ({"DATABASE_URL": "db"}, "DATABASE_URL: only postgres:// is supported, found nothing://"),
        ({"DATABASE_URL": "postgres://db"}, "DATABASE_URL: names no database"),
        ({"DATABASE_URL": "postgres://db:x/y"}, "DATABASE_URL: Port could not be cast to integer"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS: name the hosts, * is for paper only"),
        ({"SIMULATED_VENUES": "v=http://x"}, "SIMULATED_VENUES belongs to paper only"),
        ({"SIMULATED_VENUES": "v"}, "SIMULATED_VENUES: expected name=value,name=value"),
        ({"PORT": "x"}, "PORT: expected a whole number, found 'x'"),
    ],
)
def test_doubt_stops_the_process_with_one_line(variables, message):
    wanted = {name: value for name, value in (SOUND | variables).items() if value is not None}
    refused = manage("check", **wanted)
    assert refused.returncode == 2
    assert refused.stderr.startswith(message)
    assert refused.stderr.count("\n") == 1


def test_an_empty_value_is_none(monkeypatch):
    monkeypatch.setenv("SOME_NAME", "")
    assert env.env_choice("SOME_NAME", ("paper", "live"), "paper") == "paper"
    with pytest.raises(env.SettingError, match="SOME_NAME is not set"):
        env.env_str("SOME_NAME")


def test_a_value_may_come_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert env.env_str("SOME_KEY") == "from a file"


def test_addresses_of_sockets_reach_django_and_celery():
    database = env.database_from_url("DATABASE_URL", "postgres://app:p%40w@/desk?host=/run/a%20b")
    assert (database["HOST"], database["PASSWORD"], database["PORT"]) == ("/run/a b", "p@w", "")
    assert env.broker_from_url("REDIS_URL", "unix:///tmp/x?db=3") == "redis+socket:///tmp/x?virtual_host=3"
    assert env.broker_from_url("REDIS_URL", "redis://host:1/2") == "redis://host:1/2"


def test_every_setting_is_in_the_example():
    named = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read: set[str] = set()
    for path in (ROOT / "controlplane").glob("*.py"):
        read |= set(re.findall(r'(?:env_\w+|pairs_from_list)\(\s*"([A-Z_]+)"', path.read_text()))
    assert "TRADING_ENVIRONMENT" in read
    assert read <= named


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ((), True),
        (("help", "preflight"), True),
        (("preflight", "--help"), True),
        (("--version",), True),
        (("replay", "--candles", "x"), True),
        (("makemigrations", "--check"), True),
        (("audit", "verify", "export.jsonl"), True),
        (("audit", "verify"), False),
        (("audit", "verify", "--json"), False),
        (("preflight",), False),
        (("emergency_stop", "trip"), False),
        (("migrate",), False),
    ],
)
def test_only_some_commands_need_no_desk(arguments, answer):
    assert launch.needs_no_desk(["manage.py", *arguments]) is answer


def test_a_command_without_a_desk_is_one_line(tmp_path):
    refused = manage("preflight", CONTROLPLANE_HOME=str(tmp_path))
    assert refused.returncode == 2
    assert refused.stderr == (
        f"no desk is running in {tmp_path}: start one with `python3 manage.py up`,"
        " or set DATABASE_URL and REDIS_URL\n"
    )


def test_nothing_is_missing_in_the_migrations():
    done = manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "identifier"),
    [
        ({"TIME_ZONE": "Europe/Berlin"}, "controlplane.E001"),
        ({"CELERY_TASK_ACKS_LATE": False}, "controlplane.E003"),
    ],
)
def test_a_shaky_foundation_is_an_error(changes, identifier):
    with override_settings(**changes):
        assert identifier in [message.id for message in run_checks()]


@pytest.mark.django_db
def test_the_database_the_tests_use_passes_its_own_checks():
    assert [
        message for message in run_checks(databases=["default"]) if message.id.startswith("controlplane")
    ] == []
