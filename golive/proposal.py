"""What a change request binds: everything that is to be activated, read now, as plain values.

The same is read again in the activating transaction; whatever differs refuses under its own code.
"""

import json
from typing import Any

from controlplane.audit.canonical import canonical_text
from controlplane.code_version import get_code_version
from golive.ceiling import ensure_effective_limits, require_config
from golive.core.direction import find_direction, list_changes
from golive.impact import preview_impact
from golive.models import Programme, ValidationReport
from golive.programme_facts import (
    find_baseline,
    find_cumulative_growth,
    find_live_profile,
    find_proposed_limits,
)
from golive.programme_rules import get_programme_rules
from risk.limits import get_limits
from trading.core.values import Clocks
from trading.models import Permit
from trading.selectors import get_active_permit

# What differs -> the code of the refusal; anything else is "subject_changed".
CHANGED = {
    "base": "base_changed",
    "config": "config_changed",
    "freeze": "freeze_changed",
    "rules": "rules_changed",
    "guards": "rules_changed",
    "limit_set": "limits_changed",
    "code_version": "code_changed",
}
SUBJECT_CHANGED = "subject_changed"


def bind(programme: Programme, clocks: Clocks) -> dict[str, Any]:
    """What must still be the same at activation, as plain JSON. Raises ConfigMissing, YamlError."""
    account, rules = programme.account, get_programme_rules()
    permit, proposed = get_active_permit(account), find_proposed_limits(programme.profile)
    base = None if permit is None else get_limits(permit.limit_set_digest)
    bound = {
        "account": account.name,
        "environment": account.environment,
        "programme": programme.pk,
        "profile": programme.profile,
        "base": _describe_base(permit),
        "limit_set": proposed.digest,
        "config": require_config().digest,
        "freeze": "" if programme.freeze is None else programme.freeze.digest,
        "rules": rules.digest,
        "guards": rules.guards_digest,
        "code_version": get_code_version(),
        "direction": find_direction(base, proposed),
        "changes": [] if base is None else list(list_changes(base, proposed)),
        "cumulative": _describe_growth(programme, clocks),
        "authors": sorted(list_authors(programme)),
    }
    return make_plain(bound)


def make_plain(value: dict[str, Any]) -> dict[str, Any]:
    """As the subject of a request is kept."""
    return dict(json.loads(canonical_text(value)))


def list_authors(programme: Programme) -> set[str]:
    """Who wrote what is proposed: none of them approves it where another person must."""
    return {programme.opened_by, require_config().loaded_by}


def _describe_base(permit: Permit | None) -> dict[str, Any]:
    if permit is None:
        return {"permit": None, "kind": "", "profile": "", "limit_set": ""}
    return {
        "permit": permit.pk,
        "kind": permit.kind,
        "profile": find_live_profile(permit) or "",
        "limit_set": permit.limit_set_digest,
    }


def _describe_growth(programme: Programme, clocks: Clocks) -> dict[str, Any]:
    """Against what was confirmed before the window, not against the step before this one."""
    rules = get_programme_rules()
    baseline = find_baseline(programme.account, rules, clocks.wall_at)
    growth = find_cumulative_growth(programme.account, programme.profile, rules, clocks.wall_at)
    return {
        "baseline": "" if baseline is None else baseline.limit_set_digest,
        "limit": "" if growth is None else growth.limit,
        "ratio": None if growth is None else growth.ratio,
        "window_days": rules.cumulative_window.days,
    }


def make_subject(programme: Programme, *, actor: str, clocks: Clocks) -> dict[str, Any]:
    """The subject of the request: what is bound, the report if there is one, and the impact preview.

    The proposed limits are stored, so that whoever approves can look at every number.
    """
    rules = get_programme_rules()
    ensure_effective_limits(
        profile=programme.profile, actor=actor, reason="proposed in a request for activation"
    )
    impact = preview_impact(
        programme.account,
        find_proposed_limits(programme.profile),
        now=clocks.wall_at,
        window=rules.impact_window,
        newest=rules.impact_decisions,
    )
    report = ValidationReport.objects.filter(programme=programme).order_by("-id").first()
    return bind(programme, clocks) | make_plain(
        {"report": "" if report is None else report.digest, "impact": impact}
    )


def find_difference(asked: dict[str, Any], now: dict[str, Any]) -> tuple[str, str]:
    """The first thing that is not as it was asked, and the refusal's code; ("", "") where nothing is."""
    changed = [name for name in now if asked.get(name) != now[name]]
    first = next((name for name in CHANGED if name in changed), changed[0] if changed else "")
    return first, CHANGED.get(first, SUBJECT_CHANGED) if first else ""
