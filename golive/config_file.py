"""From config/go_live.yaml to the values that it gives, and from there to the row in force.

Percentages live in the file only. What is loaded takes effect in the same transaction: permits above the
ceiling are lowered, overrides above it end, and activated accounts only reduce where it does not enable
them.
"""

from dataclasses import fields
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from controlplane.approvals.core import Actor, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.requests import require_reason
from controlplane.approvals.services import require_any_role
from controlplane.audit import services as audit
from controlplane.audit.canonical import canonical_text, digest_of
from controlplane.yaml_file import YamlMap, load_yaml
from golive.ceiling import find_raised_above, lower_permits
from golive.core.ceiling import GoLiveValues
from golive.core.words import LADDER
from golive.models import GoLiveConfig
from golive.selectors import get_active_config
from golive.standing import follow_enabled
from risk.core.values import RiskLevel
from risk.limits import load_profiles
from risk.overrides import end_above
from risk.registration import store_limit_set
from trading.core.values import Environment
from trading.selectors import get_clocks

__all__ = ["ensure_config", "get_active_config", "get_config_path", "load_config", "read_config_file"]

DIGEST_DOMAIN = "go-live-config-v1"
SUBJECT = "go_live_config"
MAY_LOAD = frozenset({Role.REQUESTER, Role.OPERATOR, Role.ADMIN})
FIRST = "first configuration of the desk"
_LOAD_LOCK = 7_430_003

ENVIRONMENTS = {
    "paper": Environment.PAPER,
    "demo": Environment.DEMO,
    "production": Environment.LIVE,
}
RISK_STATES = {"OK": RiskLevel.OK, "WARNING": RiskLevel.WARNING}
# An activation without these is no activation: the file may say so, and may not say otherwise.
ONLY_TRUE = ("required_preflight", "require_testnet_history", "require_ess_inactive")
LEAST_TRADES = 3
MOST_USD, MOST_LEVERAGE, DECIMALS = 10**9, 1000, 6
KEYS = (
    "environment",
    "activation_enabled",
    "required_preflight",
    "allowed_profiles",
    "default_profile",
    "require_testnet_history",
    "min_testnet_trades",
    "require_risk_state",
    "require_ess_inactive",
    "max_position_size_usd",
    "max_leverage",
    "max_portfolio_risk_percent",
    "max_account_risk_percent",
)


def get_config_path() -> Path:
    return Path(settings.CONFIG_DIR) / "go_live.yaml"


def read_config_file(path: Path | None = None) -> GoLiveValues:
    """The file as it is now; raises YamlError for anything unknown, missing or not enforced."""
    file = load_yaml(path or get_config_path())
    file.require_keys(KEYS)
    for key in ONLY_TRUE:
        if not file.flag(key):
            raise file.error(key, "can only be true: no activation goes without it")
    allowed = _read_profiles(file)
    return GoLiveValues(
        environment=_read_environment(file),
        activation_enabled=file.flag("activation_enabled"),
        required_preflight=True,
        allowed_profiles=allowed,
        default_profile=_one_of(file, "default_profile", allowed),
        require_testnet_history=True,
        min_testnet_trades=_read_trades(file),
        require_risk_state=RISK_STATES[_one_of(file, "require_risk_state", tuple(RISK_STATES))],
        require_ess_inactive=True,
        max_position_notional=_positive(file, "max_position_size_usd", MOST_USD),
        max_leverage=_positive(file, "max_leverage", MOST_LEVERAGE),
        max_portfolio_risk_ratio=_percent(file, "max_portfolio_risk_percent"),
        max_trade_risk_ratio=_percent(file, "max_account_risk_percent"),
    )


def _read_environment(file: YamlMap) -> Environment:
    """What the file says must be what this process runs in."""
    found = ENVIRONMENTS[_one_of(file, "environment", tuple(ENVIRONMENTS))]
    if found != settings.TRADING_ENVIRONMENT:
        raise file.error(
            "environment", f"means {found.value}, but TRADING_ENVIRONMENT is {settings.TRADING_ENVIRONMENT}"
        )
    return found


def _read_profiles(file: YamlMap) -> tuple[str, ...]:
    profiles = file.texts("allowed_profiles")
    unknown = [name for name in profiles if name not in LADDER]
    if unknown or not profiles:
        found = ", ".join(unknown) or "nothing"
        raise file.error("allowed_profiles", f"expected some of {', '.join(LADDER)}, found {found}")
    return tuple(name for name in LADDER if name in profiles)


def _one_of(file: YamlMap, key: str, known: tuple[str, ...]) -> str:
    text = file.text(key)
    if text not in known:
        raise file.error(key, f"expected one of {', '.join(known)}, found {text!r}")
    return text


def _read_trades(file: YamlMap) -> int:
    number = file.whole("min_testnet_trades")
    if number < LEAST_TRADES:
        raise file.error("min_testnet_trades", f"must be at least {LEAST_TRADES}, found {number}")
    return number


def _positive(file: YamlMap, key: str, most: int) -> Decimal:
    """A number that its column keeps exactly."""
    number = file.number(key)
    if number <= 0:
        raise file.error(key, f"must be above 0, found {number}")
    if number > most:
        raise file.error(key, f"must be at most {most}, found {number}")
    if number != round(number, DECIMALS):
        raise file.error(key, f"at most {DECIMALS} decimals are kept, found {number}")
    return number


def _percent(file: YamlMap, key: str) -> Decimal:
    return _positive(file, key, 100) / 100


def values_of(row: GoLiveConfig) -> GoLiveValues:
    """The frozen values of a loaded row."""
    found = {field.name: getattr(row, field.name) for field in fields(GoLiveValues)}
    found |= {
        "environment": Environment(row.environment),
        "allowed_profiles": tuple(row.allowed_profiles),
        "require_risk_state": RiskLevel(row.require_risk_state),
    }
    return GoLiveValues(**found)


def load_config(*, actor: Actor, reason: str, path: Path | None = None) -> GoLiveConfig:
    """Put the file in force, audited; values that are in force already are not loaded again.

    One person may: it takes risk away from what trades, or leaves it as it is. Raises YamlError, NoPerson,
    NotDesignated and ReasonTooShort.
    """
    with audit.audited_attempt(
        action="golive.config_load",
        actor=actor.audit_name,
        subject_type=SUBJECT,
        subject_id=(path or get_config_path()).name,
        reason=reason,
    ):
        require_person(actor)
        require_any_role(actor, MAY_LOAD)
        said = require_reason(reason)
        values = read_config_file(path)
        with transaction.atomic():
            return _put_in_force(values, actor.audit_name, said)


def ensure_config(*, actor: str, reason: str = FIRST) -> GoLiveConfig:
    """What is in force or, where nothing ever was, the file; raises YamlError."""
    with transaction.atomic():
        hold_config()
        return get_active_config() or _put_in_force(read_config_file(), actor, reason)


def hold_config() -> None:
    """Until the caller's commit nothing else is loaded: each load names the one it replaces."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOAD_LOCK])


def _keep_ladder(actor: str, reason: str) -> None:
    """With the first version every profile is stored, so that another one later is a change."""
    for limits in load_profiles().values():
        store_limit_set(limits=limits, actor=actor, reason=reason)


def _put_in_force(values: GoLiveValues, actor: str, reason: str) -> GoLiveConfig:
    hold_config()
    body, newest = canonical_text(values), get_active_config()
    if newest is not None and newest.body == body:
        return newest
    if newest is None:
        _keep_ladder(actor, reason)
    replaces = "" if newest is None else newest.digest
    columns = {field.name: getattr(values, field.name) for field in fields(values)}
    row = GoLiveConfig.objects.create(
        # The digest covers what it replaces, so that values may come back.
        digest=digest_of(DIGEST_DOMAIN, {"values": values, "replaces": replaces}),
        **columns
        | {
            "environment": values.environment.value,
            "allowed_profiles": list(values.allowed_profiles),
            "require_risk_state": values.require_risk_state.value,
        },
        body=body,
        loaded_by=actor,
        reason=reason,
    )
    effects = {
        "lowered_permits": lower_permits(row),
        "ended_overrides": end_above(find_raised_above, reason=reason, actor=actor),
    }
    follow_enabled(config=row, clocks=get_clocks())
    audit.record(
        action="golive.config_load",
        actor=actor,
        subject_type=SUBJECT,
        subject_id=row.digest,
        reason=reason,
        detail={"values": values, "replaces": replaces, **effects},
    )
    return row
