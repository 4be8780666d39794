"""The desk-wide ceiling on rows: effective limits, what is above it, and who is brought below it."""

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

import risk.services
from controlplane.errors import Conflict, NotPermitted
from golive.core.ceiling import ALLOWED_PROFILES, Above, apply_ceiling, find_above, find_numbers_above
from golive.models import GoLiveConfig
from golive.selectors import get_active_config
from risk.core.emergency_stop import parse_scope
from risk.core.values import Limits, RiskLevel
from risk.limits import get_limits, load_profiles, with_digest
from risk.models import LimitSet
from risk.overrides import bump_book
from risk.registration import ProfileUnknown, list_account_scopes, store_limit_set
from risk.selectors import get_risk_state
from risk.stops.emergency import lapse_entries
from trading.core.values import Clocks, TradingStateName
from trading.models import Account, Permit, TradingState

# Who stores limits that the ceiling lowered; the event of whatever asked for them names a person.
CEILING_ACTOR = "system:ceiling"
LOWERED = "lowered to the desk's ceiling (go_live.yaml)"


class ConfigMissing(Conflict):
    """config/go_live.yaml was never loaded: nothing is permitted by it."""

    code = "go_live_not_loaded"


class ActivationDisabled(NotPermitted):
    """go_live.yaml as loaded allows no activation."""

    code = "activation_disabled"


class AboveCeiling(NotPermitted):
    """More is asked than go_live.yaml allows; the text names each key."""

    code = "above_ceiling"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCondition:
    """What one key of go_live.yaml demands of an activation now."""

    key: str
    is_met: bool
    text: str


def require_config() -> GoLiveConfig:
    """The ceiling in force; raises ConfigMissing."""
    config = get_active_config()
    if config is None:
        raise ConfigMissing("go_live.yaml was never loaded; `manage.py golive config load` does that")
    return config


def is_enabled(config: GoLiveConfig | None) -> bool:
    """Whether accounts may be activated, and those that are may add risk."""
    return (
        config is not None
        and config.activation_enabled
        and config.environment == settings.TRADING_ENVIRONMENT
    )


def require_enabled(config: GoLiveConfig) -> None:
    """Raises ActivationDisabled."""
    if not is_enabled(config):
        raise ActivationDisabled(
            f"activation_enabled is {str(config.activation_enabled).lower()} and environment is"
            f" {config.environment} in go_live.yaml as loaded ({settings.TRADING_ENVIRONMENT} here)"
        )


def require_within_ceiling(limits: Limits, config: GoLiveConfig) -> None:
    """What may be asked for; raises AboveCeiling naming every key that says less."""
    if above := find_above(limits, config):
        raise AboveCeiling("; ".join(str(item) for item in above))


def list_key_conditions(
    account: Account, limits: Limits, config: GoLiveConfig, clocks: Clocks
) -> list[KeyCondition]:
    """Every key that can be seen in the desk's state now; evidence of trades and pre-flight is elsewhere."""
    above = {item.key: str(item) for item in find_above(limits, config)}
    fits = config.environment == settings.TRADING_ENVIRONMENT
    level = RiskLevel(get_risk_state(clocks)["global_risk"]["level"])
    calm = level.severity <= RiskLevel(config.require_risk_state).severity
    halted = list_halted(account)
    enabled = str(config.activation_enabled).lower()
    return [
        KeyCondition(key="environment", is_met=fits, text=f"go_live.yaml is for {config.environment}"),
        KeyCondition(
            key="activation_enabled",
            is_met=config.activation_enabled,
            text=f"activation_enabled is {enabled}",
        ),
        KeyCondition(
            key=ALLOWED_PROFILES,
            is_met=ALLOWED_PROFILES not in above,
            text=above.pop(ALLOWED_PROFILES, f"{limits.profile} is allowed"),
        ),
        KeyCondition(
            key="ceiling", is_met=not above, text="; ".join(above.values()) or "no limit is above the ceiling"
        ),
        KeyCondition(
            key="require_risk_state",
            is_met=calm,
            text=f"global risk is {level.value}, at most {config.require_risk_state} is allowed",
        ),
        KeyCondition(
            key="require_ess_inactive",
            is_met=not halted,
            text=f"stopped: {', '.join(halted)}" if halted else "no emergency stop stands",
        ),
    ]


def list_halted(account: Account) -> list[str]:
    """The account's scopes that are stopped; one without a state is."""
    scopes = list_account_scopes(account)
    states = dict(TradingState.objects.filter(scope__in=scopes).values_list("scope", "state"))
    return [scope for scope in scopes if states.get(scope, "HALTED") == TradingStateName.HALTED]


def get_profile_limits(profile: str) -> Limits:
    """The profile as config/profiles.yaml states it; raises ProfileUnknown, YamlError."""
    profiles = load_profiles()
    if profile not in profiles:
        raise ProfileUnknown(f"profile: expected one of {', '.join(profiles)}, found {profile!r}")
    return profiles[profile]


def get_effective_limits(limits: Limits) -> Limits:
    """The limits under the ceiling in force, named by their own digest; without one, as they are."""
    config = get_active_config()
    return limits if config is None else _lower(limits, config)


def _lower(limits: Limits, config: GoLiveConfig) -> Limits:
    lowered = apply_ceiling(limits, config)
    return lowered if lowered is limits else with_digest(lowered)


def ensure_effective_limits(*, profile: str, actor: str, reason: str) -> LimitSet:
    """The stored limits under which an account of the profile trades now; the profile's own besides."""
    own = risk.services.ensure_limit_set(profile=profile, actor=actor, reason=reason)
    limits = get_profile_limits(profile)
    effective = get_effective_limits(limits)
    return own if effective.digest == own.digest else _store(effective)


def _store(limits: Limits) -> LimitSet:
    return store_limit_set(limits=limits, actor=CEILING_ACTOR, reason=LOWERED)


@transaction.atomic
def lower_permits(config: GoLiveConfig) -> dict[str, str]:
    """Bring every active permit that is above the ceiling below it, at once; {account: its new digest}.

    What was approved under the higher limits and not yet sent lapses. Only ever lowers: what a higher
    ceiling would allow takes an activation.
    """
    lowered = {}
    for permit in Permit.objects.select_for_update().filter(active=True).order_by("id"):
        limits = get_limits(permit.limit_set_digest)
        if limits is None or (fitting := _lower(limits, config)).digest == limits.digest:
            continue
        _store(fitting)
        Permit.objects.filter(pk=permit.pk).update(limit_set_digest=fitting.digest)
        bump_book(permit.account)
        lapse_entries(parse_scope(f"account:{permit.account.name}"))
        lowered[permit.account.name] = fitting.digest
    return lowered


def find_raised_above(limits: Limits) -> list[Above]:
    """What of raised limits is above the ceiling in force; the question that risk asks of an override."""
    config = get_active_config()
    return [] if config is None else find_numbers_above(limits, config)
