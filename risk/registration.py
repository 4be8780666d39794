"""What must exist before anything can be allowed: limit sets, states, the account's book and parts."""

from dataclasses import fields

from django.db import transaction

from controlplane.audit import services as audit
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, InvalidInput
from risk import models
from risk.allotments import divide_exposure
from risk.core.values import Limits
from risk.exposure import ensure_exposure
from risk.limits import load_profiles
from trading.core.values import TradingStateName
from trading.models import Account, StrategyAssignment, TradingState, VenueAccount

REGISTRATION = "registration"


class ScopeExists(Conflict):
    """The scope already has a trading state; only a trip or a re-arm changes it."""

    code = "scope_exists"


class ProfileUnknown(InvalidInput):
    """No profile of the ladder has this name."""

    code = "profile_unknown"


@transaction.atomic
def store_limit_set(*, limits: Limits, actor: str, reason: str) -> models.LimitSet:
    """Keep the limits for ever, audited; a set that is already stored is returned as it is."""
    numbers = {field.name: getattr(limits, field.name) for field in fields(Limits)}
    row, created = models.LimitSet.objects.get_or_create(
        digest=limits.digest, defaults={**numbers, "loaded_by": actor}
    )
    if created:
        audit.record(
            action="risk.limits_load",
            actor=actor,
            subject_type="limit_set",
            subject_id=limits.digest,
            reason=reason,
            detail=numbers,
        )
    return row


def ensure_limit_set(*, profile: str, actor: str, reason: str = "profile requested") -> models.LimitSet:
    """The limits of the profile as config/profiles.yaml states them; raises ProfileUnknown, YamlError."""
    profiles = load_profiles()
    if profile not in profiles:
        raise ProfileUnknown(f"profile: expected one of {', '.join(profiles)}, found {profile!r}")
    return store_limit_set(limits=profiles[profile], actor=actor, reason=reason)


def list_account_scopes(account: Account) -> list[str]:
    """Every scope that some order of the account can fall under, widest first."""
    venues = VenueAccount.objects.filter(account=account).order_by("venue").values_list("venue", flat=True)
    assignments = StrategyAssignment.objects.filter(account=account).order_by("strategy")
    symbols = sorted({symbol for row in assignments for symbol in row.symbols})
    return [
        "all",
        *(f"venue:{venue}" for venue in venues),
        f"account:{account.name}",
        *(f"strategy:{row.strategy}" for row in assignments),
        *(f"symbol:{symbol}" for symbol in symbols),
    ]


@transaction.atomic
def ensure_scopes_for_account(*, account: Account, actor: str) -> list[str]:
    """Make the account ready to be judged; to be called again whenever a venue or an assignment is added.

    Every scope without a trading state is registered as ACTIVE, audited once each; one that has a state
    keeps it, and one whose state was lost stays HALTED. What counts entries starts at nothing, the
    limits that span accounts are loaded where none ever were, and divided anew. Returns the newly
    registered scopes.
    """
    models.AccountBook.objects.get_or_create(account=account)
    ensure_activities(account)
    ensure_exposure(actor=actor)
    divide_exposure(expected=account)
    known = set(TradingState.objects.values_list("scope", flat=True))
    missing = [scope for scope in list_account_scopes(account) if scope not in known]
    new = [scope for scope in missing if not was_registered(scope)]
    for scope in new:
        register_scope(scope=scope, actor=actor)
    return new


def ensure_activities(account: Account) -> None:
    """A count of entries for each strategy and symbol of the account; those that exist go on counting."""
    models.Activity.objects.bulk_create(
        [
            models.Activity(account=account, strategy=row.strategy, symbol=symbol)
            for row in StrategyAssignment.objects.filter(account=account).order_by("strategy")
            for symbol in row.symbols
        ],
        ignore_conflicts=True,
    )


def was_registered(scope: str) -> bool:
    """Whether the scope ever had a state: the audit log or a standing stop remembers it."""
    stands = models.StopEvent.objects.filter(scope=scope, ended_at__isnull=True).exists()
    return stands or (
        AuditEvent.objects.filter(
            subject_type="scope", subject_id=scope, action="risk.scope_register"
        ).exists()
    )


@transaction.atomic
def register_scope(*, scope: str, actor: str) -> TradingState:
    """Give a new scope its first state, ACTIVE; raises ScopeExists if it has or ever had one.

    No row means HALTED, so a lost row must not come back as ACTIVE by registering anew.
    """
    if was_registered(scope):
        raise ScopeExists(f"scope {scope} was registered before; without a state it stays HALTED")
    row, created = TradingState.objects.get_or_create(
        scope=scope,
        defaults={
            "state": TradingStateName.ACTIVE.value,
            "reason": "first registration",
            "source": REGISTRATION,
        },
    )
    if not created:
        raise ScopeExists(f"scope {scope} already is {row.state}")
    audit.record(
        action="risk.scope_register",
        actor=actor,
        subject_type="scope",
        subject_id=scope,
        reason="first registration",
        detail={"state": row.state},
    )
    return row
