"""Runs one command of `manage.py` with the settings it needs: its own, the running desk's, or none."""

import os
import secrets
import sys
from collections.abc import Sequence

from controlplane.desk import DeskError, find_desk, get_state_dir
from controlplane.env import NO_DATABASE, SettingError, is_set

USAGE_ERROR = 2
# These start servers of their own before there are settings.
BEFORE_SETTINGS = {
    "up": "controlplane.management.commands.up",
    "test": "controlplane.management.commands.test",
}
WITHOUT_DESK = {
    "help", "version", "check", "makemigrations", "replay", "simulated_venue",
    "diffsettings", "export_openapi_schema",
}  # fmt: skip
WITH_OWNER = {"migrate", "sqlmigrate", "showmigrations"}


def run_command(argv: Sequence[str]) -> int:
    """Run `manage.py COMMAND …` and return its exit code; anticipated trouble is one line and exit 2."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    try:
        if len(argv) > 1 and argv[1] in BEFORE_SETTINGS and not asks_for_help(argv):
            return run_before_settings(argv)
        choose_settings(argv)
        from django.core.management import execute_from_command_line

        execute_from_command_line(list(argv))
    except (SettingError, DeskError) as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    return 0


def run_before_settings(argv: Sequence[str]) -> int:
    from importlib import import_module

    command = import_module(BEFORE_SETTINGS[argv[1]]).Command()
    command.run_from_argv(list(argv))
    return 0


def choose_settings(argv: Sequence[str]) -> None:
    """Set the environment for the command, unless it is set already."""
    if is_offline_stop(argv):
        take_running_desk()
        fill_missing_settings()
        return
    if is_set("DATABASE_URL"):
        return
    if needs_no_desk(argv):
        fill_missing_settings()
        return
    state_dir = get_state_dir()
    desk = find_desk(state_dir)
    if desk is None:
        raise DeskError(
            f"no desk is running in {state_dir}: start one with `python3 manage.py up`,"
            " or set DATABASE_URL and REDIS_URL"
        )
    environment = dict(desk["environment"])
    if argv[1] in WITH_OWNER:
        environment["DATABASE_OWNER_URL"] = desk["database_owner_url"]
    os.environ.update(environment)


def is_offline_stop(argv: Sequence[str]) -> bool:
    """A stop that must work whatever else is down."""
    return list(argv[1:2]) == ["emergency_stop"] and "--offline" in argv


def take_running_desk() -> None:
    """The running desk's settings, its venues' addresses and keys among them, where there are none here."""
    try:
        desk = find_desk(get_state_dir())
    except DeskError as error:
        print(error, file=sys.stderr)
        return
    for name, value in dict({} if desk is None else desk["environment"]).items():
        os.environ.setdefault(name, value)


def fill_missing_settings() -> None:
    for name, value in (
        ("DATABASE_URL", NO_DATABASE),
        ("REDIS_URL", "redis://127.0.0.1:6379/0"),
        ("SECRET_KEY", secrets.token_urlsafe(50)),
    ):
        if not is_set(name):
            os.environ[name] = value


def needs_no_desk(argv: Sequence[str]) -> bool:
    if argv[1:2] == ["replay"] and "--recorded" in argv:
        return asks_for_help(argv)
    if len(argv) < 2 or asks_for_help(argv) or argv[1] in WITHOUT_DESK or argv[1] == "--version":
        return True
    # A file can be verified anywhere; the live log only where it lives.
    words = [word for word in argv[2:] if not word.startswith("-")]
    return argv[1] == "audit" and words[:1] == ["verify"] and len(words) > 1


def asks_for_help(argv: Sequence[str]) -> bool:
    return "-h" in argv[1:] or "--help" in argv[1:]
