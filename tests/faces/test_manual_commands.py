"""Every command of the manuals is understood as it stands; those that a seeded desk can carry out are run."""

import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands, load_command_class

from controlplane.audit.models import AuditEvent
from golive.models import Evaluation, Programme
from tests.factories import HeartbeatFactory
from trading.models import TradingState

DOCS = Path(settings.BASE_DIR) / "docs"
MANUALS = ("OPERATOR_MANUAL.md", "GO_LIVE_ROLLBACK.md")
PREFIX = "python3 manage.py "
WORDS = {"ACCOUNT": "paper-main", "NAME": "operator", "CODE": "123456"}


def list_commands(name: str) -> list[str]:
    text = (DOCS / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


COMMANDS = sorted({line for name in MANUALS for line in list_commands(name)})
NOBODYS_REQUEST = "00000000-0000-0000-0000-000000000000"
# What needs more than rows: a running web, worker and venue, what a person did before, or no database.
NOT_RUN = (
    "preflight",
    "reconcile",
    "positions close",
    "emergency_stop trip --offline",
    "emergency_stop rearm-request",
    "emergency_stop acknowledge",
    "golive advance",
    "golive config adopt",
    "golive request",
    "golive confirm",
    "golive report",
    "golive release",
    "golive rollback",
    "desk designate",
    "desk end-designation",
)


def words_of(line: str) -> list[str]:
    assert line.startswith(PREFIX), line
    words = shlex.split(line.removeprefix(PREFIX))
    return [re.sub(r"ACCOUNT|NAME|CODE", lambda found: WORDS[found.group()], word) for word in words]


def is_run(line: str) -> bool:
    """A request of this moment is named by nought in the manuals."""
    return NOBODYS_REQUEST not in line and not line.removeprefix(PREFIX).startswith(NOT_RUN)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_exists_and_takes_these_arguments(line):
    name, *arguments = words_of(line)
    command = load_command_class(get_commands()[name], name)
    parsed = command.create_parser("manage.py", name).parse_args(arguments)
    assert callable(command.handle)
    assert vars(parsed)


def test_nothing_is_left_out_and_nothing_excused_that_is_not_there():
    assert len(COMMANDS) > 30
    for start in NOT_RUN:
        assert any(line.startswith(PREFIX + start) for line in COMMANDS), start
    for name in MANUALS:
        text = (DOCS / name).read_text(encoding="utf-8")
        assert text.count(PREFIX) == len(list_commands(name)), f"{name}: a command outside of a block"


@pytest.fixture
def seeded(transactional_db, tmp_path, settings):
    settings.STATE_DIR = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    call_command("seed_demo", stdout=StringIO())
    # Otherwise a trip starts a process that sweeps.
    HeartbeatFactory(name="guard:sweep")


def run(line: str) -> tuple[int, str]:
    """The command's exit code, and what it said."""
    out = StringIO()
    try:
        call_command(*words_of(line), stdout=out)
    except CommandError as refusal:
        return refusal.returncode, str(refusal)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_a_seeded_desk_carries_them_out_in_the_order_of_the_manuals(seeded):
    """Looking first and stopping last, as a stopped desk refuses what comes after."""
    lines = list(dict.fromkeys(line for name in MANUALS for line in list_commands(name) if is_run(line)))
    stops = [line for line in lines if " trip " in line]
    after = [line for line in lines if "rearm-status" in line]
    for line in [*(one for one in lines if one not in {*stops, *after}), *stops, *after]:
        code, said = run(line)
        assert code == 0, f"{line}: {code}: {said}"
        assert said.strip(), line
    assert Programme.objects.filter(state="open").count() == 1
    assert Evaluation.objects.count() == 1
    assert TradingState.objects.get(scope="all").state == "HALTED"
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"golive.programme_open", "golive.checklist_sign", "golive.evaluate", "risk.stop_trip"} <= actions
