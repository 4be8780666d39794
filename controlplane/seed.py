"""The demo desk: users, one token, one paper account with its strategies, limits, scopes and permit."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

import golive.services
import risk.services
from controlplane.approvals import people
from controlplane.approvals import services as approvals
from controlplane.approvals.core import BOOTSTRAP, Mode, Role, TokenScope, hash_token
from controlplane.approvals.models import ApiToken
from controlplane.approvals.selectors import find_user, get_user
from controlplane.audit import services as audit
from controlplane.errors import NotPermitted
from trading import services as trading
from trading.models import Account
from trading.selectors import list_assignments, list_venue_accounts

ACCOUNT = "paper-main"
PROFILE = "MICRO"
STRATEGIES = ("reversion", "trend")
TOKEN = "demo"  # noqa: S105
TOKEN_USER = "operator"  # noqa: S105
REASON = "bootstrap of the demo desk"
USERS: Mapping[str, tuple[Role, ...]] = {
    "operator": (Role.REQUESTER, Role.OPERATOR),
    "approver": (Role.APPROVER,),
    "auditor": (Role.AUDITOR,),
    "admin": (Role.ADMIN,),
}


class NotOnPaper(NotPermitted):
    """The demo desk exists in the paper environment only."""

    code = "paper_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """The desk's file, and whether its secrets had to be made anew."""

    content: dict[str, Any]
    reset: bool


@transaction.atomic
def seed_demo(
    *,
    earlier: Mapping[str, Any] | None,
    url: str,
    environment: str,
    venues: Sequence[str],
    symbols: Sequence[str],
    wall_at: datetime,
) -> Seeded:
    """Make what is missing of the demo desk and return what its file must say.

    `earlier` is the file as it is now. Its secrets are kept while its token is the one in the
    database; a file that is lost, damaged or another desk's gets new ones. Raises NotOnPaper.
    """
    if environment != "paper":
        raise NotOnPaper(f"seed_demo: the demo desk is for paper, this is {environment}")
    if earlier is not None and not is_complete(earlier):
        earlier = None
    token = ApiToken.objects.filter(name=TOKEN, revoked_at__isnull=True).first()
    reset = token is not None and (earlier is None or token.token_sha256 != hash_token(earlier["api_token"]))
    content = make_content(None if reset else earlier, url=url, venues=venues)
    _seed_users(content, reset=reset)
    if token is None or reset:
        _seed_token(content["api_token"], replaced=reset)
    # A desk that has loaded its configuration keeps it: only people load another.
    golive.services.ensure_config(actor=BOOTSTRAP.audit_name, reason=REASON)
    _seed_account(venues=venues, symbols=symbols, wall_at=wall_at)
    return Seeded(content=content, reset=reset)


def make_content(earlier: Mapping[str, Any] | None, *, url: str, venues: Sequence[str]) -> dict[str, Any]:
    """The file's content, with the earlier secrets or new ones."""
    users = earlier["users"] if earlier is not None else {name: _make_secrets() for name in USERS}
    return {
        "url": url,
        "users": {
            name: {
                "password": users[name]["password"],
                "totp_secret": users[name]["totp_secret"],
                "roles": [role.value for role in roles],
            }
            for name, roles in USERS.items()
        },
        "api_token": earlier["api_token"] if earlier is not None else secrets.token_urlsafe(32),
        "accounts": [ACCOUNT],
        "strategies": list(STRATEGIES),
        "venues": list(venues),
    }


def _make_secrets() -> dict[str, str]:
    return {"password": secrets.token_urlsafe(12), "totp_secret": approvals.generate_totp_secret()}


def is_complete(content: Mapping[str, Any]) -> bool:
    """Whether the mapping holds every secret that `seed_demo` writes."""
    try:
        secret = [content["users"][name][key] for name in USERS for key in ("password", "totp_secret")]
        return all(isinstance(value, str) for value in (*secret, content["api_token"]))
    except (KeyError, TypeError):
        return False


def _seed_users(content: Mapping[str, Any], *, reset: bool) -> None:
    """The people, then the first start; a desk that was started keeps its mode and designations."""
    for name in USERS:
        _seed_user(name, content["users"][name], reset=reset)
    if not people.was_started():
        people.hold_first_start(mode=Mode.DUAL, people=USERS, reason=REASON)
    approvals.ensure_viewers()


def _seed_user(name: str, secret: Mapping[str, str], *, reset: bool) -> None:
    user = find_user(name)
    fresh = user is None
    if user is None:
        user = approvals.create_user(name=name, password=secret["password"], actor=BOOTSTRAP, reason=REASON)
    elif reset:
        approvals.set_password(user=user, password=secret["password"], actor=BOOTSTRAP, reason=REASON)
    if fresh or reset:
        approvals.enrol_second_factor(
            user=user, totp_secret=secret["totp_secret"], actor=BOOTSTRAP, reason=REASON
        )


def _seed_token(raw: str, *, replaced: bool) -> None:
    if replaced:
        approvals.revoke_token(name=TOKEN, actor=BOOTSTRAP, reason=REASON)
    approvals.create_token(
        name=TOKEN,
        user=get_user(TOKEN_USER),
        scopes=tuple(TokenScope),
        actor=BOOTSTRAP,
        reason=REASON,
        raw=raw,
    )


def _seed_account(*, venues: Sequence[str], symbols: Sequence[str], wall_at: datetime) -> None:
    account = trading.open_account(name=ACCOUNT, environment="paper", venues=venues)
    before = describe_account(account)
    for strategy in STRATEGIES:
        trading.assign_strategy(account=account, strategy=strategy, symbols=symbols)
    risk.services.ensure_scopes_for_account(account=account, actor=BOOTSTRAP.audit_name)
    golive.services.issue_paper_permit(
        account=account, profile=PROFILE, actor=BOOTSTRAP.audit_name, wall_at=wall_at
    )
    if (after := describe_account(account)) != before:
        audit.record(
            action="desk.seed",
            actor=BOOTSTRAP.audit_name,
            subject_type="account",
            subject_id=ACCOUNT,
            reason=REASON,
            detail=after,
        )


def describe_account(account: Account) -> dict[str, object]:
    """Where the account trades and what: its venues in order, and each strategy's symbols."""
    return {
        "venues": [row.venue for row in list_venue_accounts(account)],
        "strategies": {row.strategy: row.symbols for row in list_assignments(account)},
    }
