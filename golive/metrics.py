"""Metrics of permission, and the names of those that are read from the database at each scrape.

A truth is never kept in a process: what is not readable is absent, and absent is what alerts watch.
"""

from dataclasses import dataclass

from prometheus_client import Counter

CANARY_ANSWERS = Counter(
    "preflight_canary_answers", "Canaries of the pre-flight that this host's workers have answered"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A gauge whose value is read when it is asked for."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()


TRUTHS = {
    truth.name: truth
    for truth in (
        Truth(name="database_up", documentation="1 if the database answered this scrape"),
        Truth(name="redis_up", documentation="1 if Redis answered this scrape"),
        Truth(name="broker_queue_length", documentation="Tasks that wait in the broker's queue"),
        Truth(
            name="process_heartbeat_age_seconds",
            documentation="Wall time since the process last showed life; +Inf if it never did",
            labels=("process",),
        ),
        Truth(
            name="ess_state",
            documentation="Trading state of a scope: 0 ACTIVE, 1 REDUCING, 2 HALTED",
            labels=("scope",),
        ),
        Truth(
            name="ess_drill_age_seconds",
            documentation="Wall time since this code last passed a rehearsed stop; +Inf if it never did",
        ),
        Truth(name="global_risk_level", documentation="Global risk: 0 OK, 1 WARNING, 2 CRITICAL or stale"),
        Truth(
            name="global_risk_age_seconds",
            documentation="Wall time since global risk was last assessed; +Inf if it never was",
        ),
        Truth(
            name="reconciliation_age_seconds",
            documentation="Wall time since the account's book was compared with the venue's; the oldest"
            " venue counts, +Inf if it never was",
            labels=("account",),
        ),
        Truth(
            name="exchange_health",
            documentation="1 if the venue gave prices lately, 0 if not",
            labels=("venue",),
        ),
        Truth(
            name="risk_headroom_ratio",
            documentation="Unused share of a limit, 0 to 1; absent where the use is not known",
            labels=("account", "limit"),
        ),
        Truth(
            name="unprotected_positions",
            documentation="Open positions whose stop is not verified at the venue",
            labels=("account",),
        ),
        Truth(
            name="permit_lease_seconds",
            documentation="Wall time until the account's permit lapses; 0 without a permit",
            labels=("account",),
        ),
        Truth(
            name="golive_phase",
            documentation="1 for the phase the account is in",
            labels=("account", "phase"),
        ),
        Truth(
            name="preflight_check_status",
            documentation="1 if the check passed in the latest run, 0 if not or never run",
            labels=("check",),
        ),
        Truth(
            name="preflight_age_seconds",
            documentation="Wall time since the latest complete pre-flight; +Inf if there was none",
        ),
        Truth(
            name="audit_last_checkpoint_age_seconds",
            documentation="Wall time since the audit log was last anchored outside; +Inf if it never was",
        ),
        Truth(
            name="audit_last_seal_age_seconds",
            documentation="Wall time since records were last sealed into the audit log; +Inf if never",
        ),
        Truth(name="alerts_undelivered", documentation="Open alerts that no channel has accepted"),
    )
}
