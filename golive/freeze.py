"""What an activation stands on: every group of what decides, measured, frozen and compared.

*Loaded* is what is in force: rows for what is loaded into the database, and what this process first read
for files that are read when a process starts. *Filed* is what the files say now.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from controlplane.alerts import rules as alert_rules
from controlplane.approvals.core import MEASURING_ROLES, Actor
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.requests import require_reason
from controlplane.approvals.selectors import find_mode
from controlplane.approvals.services import require_any_role
from controlplane.audit import services as audit
from controlplane.audit.canonical import canonical_text, digest_of
from controlplane.code_version import ROOT, digest_tree, get_code_version
from controlplane.errors import DomainError, Unavailable
from golive import advancement_rules, checklist_rules, programme_rules
from golive.ceiling import CEILING_ACTOR
from golive.config_file import read_config_file, values_of
from golive.core.differences import list_changes
from golive.core.words import LADDER
from golive.models import Freeze
from golive.selectors import get_active_config
from risk.exposure import get_exposure, load_exposure
from risk.global_risk import limits as global_risk
from risk.limits import load_profiles
from risk.models import LimitSet
from risk.stops import rules as stop_rules
from trading.models import Account
from trading.selectors import list_assignments, list_venue_accounts
from trading.strategies import STRATEGIES
from trading.venue_config import load_venue_config

GROUP_DOMAIN = "freeze-group-v1"
DIGEST_DOMAIN = "freeze-v1"
# Of this group an account's own part is compared: another account's change is not its drift.
ACCOUNTS = "accounts"
STRATEGY_FILES = "trading/strategies/*.py"
PROMETHEUS_FILES = "config/prometheus/*.yml"
LOCK = "deploy/requirements.lock"
SHOWN = 5


class NothingLoaded(Unavailable):
    """A group of which nothing was ever loaded cannot be frozen."""

    code = "nothing_loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group as measured: its value as plain JSON, named by the digest."""

    name: str
    digest: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A group that differs: from what was frozen, or the file from what is loaded."""

    group: str
    text: str

    def __str__(self) -> str:
        return f"{self.group}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How a group is measured: what is loaded and, where there is a file, what that says now."""

    loaded: Callable[[], object]
    filed: Callable[[], object] | None = None


def _load_go_live() -> object:
    row = get_active_config()
    if row is None:
        raise NothingLoaded("go_live.yaml was never loaded")
    return values_of(row)


def _load_exposure_limits() -> object:
    exposure = get_exposure()
    if exposure is None:
        raise NothingLoaded("no limits of exposure were ever loaded")
    return {"limits": exposure.limits, "defaults": exposure.defaults}


def _file_exposure_limits() -> object:
    exposure = load_exposure()
    return {"limits": exposure.limits, "defaults": exposure.defaults}


def _file_profiles() -> object:
    return {name: limits.digest for name, limits in load_profiles().items()}


def _load_profiles() -> object:
    """Each profile's stored limits: the file's where they are stored, or else those stored last."""
    try:
        filed = {name: limits.digest for name, limits in load_profiles().items()}
    except DomainError:
        filed = {}
    stored = set(LimitSet.objects.filter(digest__in=filed.values()).values_list("digest", flat=True))
    return {name: filed[name] if filed.get(name) in stored else _find_stored(name) for name in LADDER}


def _find_stored(profile: str) -> str:
    rows = LimitSet.objects.filter(profile=profile).exclude(loaded_by=CEILING_ACTOR).order_by("-id")
    return rows.values_list("digest", flat=True).first() or "not loaded"


def _describe_accounts() -> object:
    return {account.name: _describe_account(account) for account in Account.objects.order_by("name")}


def _describe_account(account: Account) -> object:
    """Where it trades, in the order of the venues, and what its strategies trade."""
    return {
        "venues": [row.venue for row in list_venue_accounts(account)],
        "strategies": {row.strategy: sorted(row.symbols) for row in list_assignments(account)},
    }


def _describe_approvals() -> object:
    mode = find_mode()
    return {
        "mode": None if mode is None else mode.value,
        "kinds": {kind.name: kind.policy for kind in KINDS.list()},
    }


def _describe_strategies(files: object) -> object:
    return {
        "files": files,
        "strategies": {
            name: {
                "version": strategy.version,
                "interval": strategy.interval,
                "lookback": strategy.lookback,
                "parameters": _list_parameters(strategy),
            }
            for name, strategy in STRATEGIES.items()
        },
    }


def _list_parameters(strategy: object) -> dict[str, str]:
    if not is_dataclass(strategy):
        return {}
    return {field.name: str(getattr(strategy, field.name)) for field in fields(strategy)}


def _describe_settings() -> object:
    """What changes how the desk behaves and is the same in each of its processes; nothing secret."""
    return {
        "trading_environment": settings.TRADING_ENVIRONMENT,
        "simulated_venues": sorted(settings.SIMULATED_VENUES),
        "https_only": settings.HTTPS_ONLY,
        "session_seconds": settings.SESSION_COOKIE_AGE,
        "schedule": {name: str(entry["schedule"]) for name, entry in settings.CELERY_BEAT_SCHEDULE.items()},
    }


def _digest_files(pattern: str) -> dict[str, str]:
    """{path: SHA-256} of the files as they are now."""
    return {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(ROOT.glob(pattern))
    }


@lru_cache(maxsize=8)
def _first_digest_files(pattern: str) -> dict[str, str]:
    """The same as this process first read them."""
    return _digest_files(pattern)


def _describe_dependencies(files: object) -> object:
    return {"lock": files, "python": ".".join(str(part) for part in sys.version_info[:2])}


def _path(name: str) -> Path:
    return Path(settings.CONFIG_DIR) / name


SOURCES: dict[str, Source] = {
    "go_live": Source(loaded=_load_go_live, filed=read_config_file),
    "profiles": Source(loaded=_load_profiles, filed=_file_profiles),
    "exposure": Source(loaded=_load_exposure_limits, filed=_file_exposure_limits),
    "global_risk": Source(
        loaded=lambda: global_risk.get_global_risk_limits(),
        filed=lambda: global_risk.load_global_risk_limits(global_risk.get_global_risk_path()),
    ),
    "emergency_stop": Source(
        loaded=lambda: stop_rules.get_stop_rules(),
        filed=lambda: stop_rules.load_stop_rules(stop_rules.get_stop_rules_path()),
    ),
    "programme": Source(
        loaded=lambda: programme_rules.get_programme_rules(),
        filed=lambda: programme_rules.load_programme_rules(programme_rules.get_programme_rules_path()),
    ),
    "advancement": Source(
        loaded=lambda: advancement_rules.get_advancement_rules(),
        filed=lambda: advancement_rules.load_advancement_rules(advancement_rules.get_advancement_path()),
    ),
    "checklist": Source(
        loaded=lambda: checklist_rules.get_checklist_rules(),
        filed=lambda: checklist_rules.load_checklist_rules(checklist_rules.get_checklist_path()),
    ),
    "alerts": Source(
        loaded=lambda: alert_rules.get_alert_rules(),
        filed=lambda: alert_rules.load_alert_rules(_path("alerts.yaml")),
    ),
    "prometheus": Source(
        loaded=lambda: _first_digest_files(PROMETHEUS_FILES), filed=lambda: _digest_files(PROMETHEUS_FILES)
    ),
    # Read anew at every use: what the file says is in force.
    "venues": Source(loaded=lambda: load_venue_config()),
    ACCOUNTS: Source(loaded=_describe_accounts),
    "strategies": Source(
        loaded=lambda: _describe_strategies(_first_digest_files(STRATEGY_FILES)),
        filed=lambda: _describe_strategies(_digest_files(STRATEGY_FILES)),
    ),
    "approvals": Source(loaded=_describe_approvals),
    "settings": Source(loaded=_describe_settings),
    "dependencies": Source(
        loaded=lambda: _describe_dependencies(_first_digest_files(LOCK)),
        filed=lambda: _describe_dependencies(_digest_files(LOCK)),
    ),
    "code": Source(loaded=get_code_version, filed=lambda: digest_tree(ROOT)),
}


def measure_groups() -> dict[str, Group]:
    """Every group as it is loaded; raises NothingLoaded, YamlError."""
    return {name: _measure(name, source.loaded) for name, source in SOURCES.items()}


def _measure(name: str, read: Callable[[], object]) -> Group:
    value = json.loads(canonical_text(read()))
    return Group(name=name, digest=_digest(name, value), value=value)


def _digest(name: str, value: object) -> str:
    return digest_of(GROUP_DOMAIN, {"group": name, "value": value})


def freeze_desk(*, actor: Actor, reason: str) -> Freeze:
    """A person keeps a snapshot; it lets nobody trade. Raises NoPerson, NotDesignated, ReasonTooShort."""
    with audit.audited_attempt(
        action="golive.freeze",
        actor=actor.audit_name,
        subject_type="freeze",
        subject_id="desk",
        reason=reason,
    ):
        require_person(actor)
        require_any_role(actor, MEASURING_ROLES)
        return take_freeze(actor.audit_name, require_reason(reason))


def take_freeze(actor: str, reason: str = "") -> Freeze:
    """Measure every group and keep it for ever, audited; raises NothingLoaded, YamlError."""
    groups = measure_groups()
    values = {name: group.value for name, group in groups.items()}
    digests = {name: group.digest for name, group in groups.items()}
    with transaction.atomic():
        row = Freeze.objects.create(
            digest=digest_of(DIGEST_DOMAIN, digests),
            groups=digests,
            body=canonical_text(values),
            code_version=values["code"],
            taken_by=actor,
        )
        audit.record(
            action="golive.freeze",
            actor=actor,
            subject_type="freeze",
            subject_id=row.digest,
            reason=reason,
            detail={"freeze": row.pk, "groups": digests},
        )
    return row


def find_drift(freeze: Freeze, account: Account | None = None) -> list[Drift]:
    """Every group of which another value is loaded now than was frozen; one that cannot be read is one.

    With an account, of the accounts only that one is compared.
    """
    body = json.loads(freeze.body)
    found = []
    for name, source in SOURCES.items():
        if name not in freeze.groups:
            found.append(Drift(group=name, text="was not frozen"))
            continue
        was = body[name]
        if drift := _compare(name, _narrow(name, was, account), source.loaded, account):
            found.append(drift)
    gone = [name for name in freeze.groups if name not in SOURCES]
    return found + [Drift(group=name, text="is not measured any more") for name in gone]


def find_unloaded() -> list[Drift]:
    """Every group whose file says something else than what is loaded; one that cannot be read is one."""
    found = []
    for name, source in SOURCES.items():
        if source.filed is None:
            continue
        try:
            loaded = _measure(name, source.loaded).value
        except NothingLoaded as refusal:
            found.append(Drift(group=name, text=refusal.message))
            continue
        if drift := _compare(name, loaded, source.filed, None):
            found.append(drift)
    return found


def _compare(name: str, before: object, read: Callable[[], object], account: Account | None) -> Drift | None:
    try:
        after = _narrow(name, _measure(name, read).value, account)
    except (DomainError, OSError) as refusal:
        return Drift(group=name, text=f"cannot be read: {refusal}")
    changes = list_changes(before, after)
    if not changes:
        return None
    text = "; ".join(str(change) for change in changes[:SHOWN])
    more = len(changes) - SHOWN
    return Drift(group=name, text=f"{text}; and {more} more" if more > 0 else text)


def _narrow(name: str, value: Any, account: Account | None) -> Any:
    if name != ACCOUNTS or account is None:
        return value
    return value.get(account.name)
