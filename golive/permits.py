"""The right to trade: issued, kept alive by the guard, ended."""

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Max

from controlplane.audit import services as audit
from controlplane.errors import NotPermitted
from golive.ceiling import ensure_effective_limits
from trading.core.values import Environment
from trading.models import Account, Heartbeat, Permit

LEASE = timedelta(seconds=30)
BOOTSTRAP_PROFILE = "MICRO"
BOOTSTRAP_REASON = "bootstrap: a paper account trades under MICRO limits until its first activation"
# What must have shown life within a lease for any lease to go on: the stop must be able to act.
VITAL_DUTIES = ("guard:sweep", "guard:triggers", "guard:risk")
_ISSUE_LOCK = 7_430_001


class PaperOnly(NotPermitted):
    """A bootstrap permit exists on paper only, and for MICRO only."""

    code = "paper_only"


@transaction.atomic
def issue_paper_permit(*, account: Account, profile: str, actor: str, wall_at: datetime) -> Permit:
    """The permit under which a paper account trades before its first activation; may be repeated.

    An account that was ever activated keeps what it has. A permit whose limits differ from those of
    config/profiles.yaml now is replaced. Raises PaperOnly.
    """
    if account.environment != Environment.PAPER or profile != BOOTSTRAP_PROFILE:
        raise PaperOnly(
            f"account {account.name} ({account.environment}), profile {profile}:"
            f" a permit without an activation is for paper and {BOOTSTRAP_PROFILE} only"
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ISSUE_LOCK])
    activated = Permit.objects.filter(account=account, kind="LIVE").order_by("-id").first()
    if activated is not None:
        return Permit.objects.filter(account=account, active=True).first() or activated
    limit_set = ensure_effective_limits(profile=profile, actor=actor, reason=BOOTSTRAP_REASON)
    current = Permit.objects.filter(account=account, active=True).first()
    if current is not None and current.limit_set_digest == limit_set.digest:
        Permit.objects.filter(pk=current.pk, active=True).update(lease_expires_at=wall_at + LEASE)
        current.refresh_from_db()
        return current
    if current is not None:
        end_permit(permit=current, actor=actor, reason="the profile's limits changed", wall_at=wall_at)
    return _create_paper_permit(account, profile, limit_set.digest, actor, wall_at)


def _create_paper_permit(
    account: Account, profile: str, digest: str, actor: str, wall_at: datetime
) -> Permit:
    permit = Permit.objects.create(
        account=account,
        kind="PAPER",
        environment=Environment.PAPER.value,
        profile=profile,
        limit_set_digest=digest,
        fencing_token=_next_token(),
        active=True,
        lease_expires_at=wall_at + LEASE,
    )
    audit.record(
        action="golive.permit_bootstrap",
        actor=actor,
        subject_type="account",
        subject_id=account.name,
        reason=BOOTSTRAP_REASON,
        detail={"profile": profile, "limit_set_digest": digest, "fencing_token": permit.fencing_token},
    )
    return permit


def _next_token() -> int:
    newest = Permit.objects.aggregate(token=Max("fencing_token"))["token"] or 0
    return int(newest) + 1


@transaction.atomic
def end_permit(*, permit: Permit, actor: str, reason: str, wall_at: datetime) -> bool:
    """End the permit at once; False if it had ended before. Orders under it are denied from the commit on."""
    ended = Permit.objects.filter(pk=permit.pk, active=True).update(
        active=False, ended_at=wall_at, end_reason=reason
    )
    if ended != 1:
        return False
    audit.record(
        action="golive.permit_end",
        actor=actor,
        subject_type="account",
        subject_id=permit.account.name,
        reason=reason,
        detail={"kind": permit.kind, "profile": permit.profile, "fencing_token": permit.fencing_token},
    )
    return True


@transaction.atomic
def replace_permit(
    *,
    account: Account,
    kind: str,
    profile: str,
    limit_set_digest: str,
    actor: str,
    reason: str,
    wall_at: datetime,
) -> Permit:
    """End the account's permit and begin another with a higher token; what was approved under it is refused.

    The caller answers for whether that may be.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ISSUE_LOCK])
    current = Permit.objects.select_for_update().filter(account=account, active=True).first()
    if current is not None:
        end_permit(permit=current, actor=actor, reason=reason, wall_at=wall_at)
    permit = Permit.objects.create(
        account=account,
        kind=kind,
        environment=account.environment,
        profile=profile,
        limit_set_digest=limit_set_digest,
        fencing_token=_next_token(),
        active=True,
        lease_expires_at=wall_at + LEASE,
    )
    audit.record(
        action="golive.permit_begin",
        actor=actor,
        subject_type="account",
        subject_id=account.name,
        reason=reason,
        detail={
            "kind": kind,
            "profile": profile,
            "limit_set_digest": limit_set_digest,
            "fencing_token": permit.fencing_token,
        },
    )
    return permit


# One statement: a lease goes on only while the duties that stop trading show life.
_RENEW = """
UPDATE trading_permit SET lease_expires_at = %(until)s
WHERE active AND lease_expires_at < %(until)s
  AND (SELECT count(*) FROM trading_heartbeat h
       WHERE h.name = ANY(%(vital)s) AND h.beat_at > %(since)s) = %(vital_count)s
"""


def renew_leases(*, wall_at: datetime) -> int:
    """Let every active permit live on for LEASE from now; returns how many were extended.

    None is extended while one of VITAL_DUTIES has shown no life for a lease's length: who cannot
    stop must not permit.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _RENEW,
            {
                "until": wall_at + LEASE,
                "since": wall_at - LEASE,
                "vital": list(VITAL_DUTIES),
                "vital_count": len(VITAL_DUTIES),
            },
        )
        return int(cursor.rowcount)


def can_stop(*, wall_at: datetime) -> bool:
    """Whether every duty without which no lease goes on has shown life lately."""
    living = Heartbeat.objects.filter(name__in=VITAL_DUTIES, beat_at__gt=wall_at - LEASE)
    return living.count() == len(VITAL_DUTIES)
