"""What a check is told, and the words it answers with."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from controlplane.desk import is_desk_held
from golive.core.values import CheckName, Finding, Purpose
from trading import models
from trading.selectors import list_accounts

SILENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Why and about whom; `account` "" means every account of the environment.

    A scheduled run takes a recent proof of alert delivery instead of waking people.
    """

    purpose: Purpose
    account: str = ""
    is_scheduled: bool = False


def list_subjects(context: Context) -> list[models.Account]:
    rows = list_accounts().filter(environment=settings.TRADING_ENVIRONMENT)
    return list(rows.filter(name=context.account) if context.account else rows)


# Servers that are not ours, by the name of their service outside the embedded desk.
SERVERS = {"postgres": "postgresql", "valkey": "valkey"}


def restart(process: str) -> str:
    """The command that comes next for a process that is gone.

    A running embedded desk restarts it by itself, so its log says why it does not stay up.
    """
    if settings.TRADING_ENVIRONMENT != "paper":
        return f"systemctl restart {SERVERS.get(process, f'controlplane-{process}')}"
    if is_desk_held(settings.STATE_DIR):
        return f"tail -n 50 '{settings.STATE_DIR}/log/{process}.log'"
    return "python3 manage.py up"


def missing_account(context: Context) -> Finding:
    if context.account:
        return Finding(
            reason="account_not_found",
            text=f"no account named {context.account!r} in {settings.TRADING_ENVIRONMENT}",
            next="python3 manage.py preflight",
        )
    return Finding(
        reason="no_account",
        text=f"no account trades in {settings.TRADING_ENVIRONMENT}",
        next="python3 manage.py seed_demo",
    )


def unreadable_database(error: Exception, name: CheckName) -> Finding:
    """What a check says when it cannot read rows; the database's own has nobody to point at."""
    return Finding(
        reason="database_unreachable",
        text=first_line(error),
        next="python3 manage.py preflight --check check_database_redis",
        depends_on=() if name is CheckName.DATABASE else (CheckName.DATABASE,),
    )


def first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


Details = dict[str, Any]
