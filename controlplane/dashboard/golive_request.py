"""What a request to go live asks for: limits beside one another, digests, and the impact as recorded."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from django import forms
from django.urls import reverse
from django.utils.safestring import SafeString

from controlplane.approvals.core import Actor, Mode
from controlplane.approvals.eligibility import DigestMismatch
from controlplane.approvals.models import ApprovalRequest
from controlplane.dashboard.golive_charts import Pair, draw_pairs
from controlplane.dashboard.golive_diff import Diff, compare_limits, title_of
from controlplane.wire import money_text
from golive.activation import ACTIVATION, TYPED_LIMITS, activate
from golive.models import Freeze, GoLiveConfig, ValidationReport
from risk.limits import get_limits
from risk.models import LimitSet
from trading.models import Account
from trading.selectors import get_active_permit

ACTIVATE = "activate"
TYPED = "typed_"


class Digest(NamedTuple):
    """Something that the request is bound to; `link` is the page of what it names."""

    name: str
    digest: str
    link: str


def describe_permission(row: ApprovalRequest, verb: str) -> dict[str, Any]:
    """What the page shows besides of a request to go live; of other kinds nothing.

    On a desk of one person the new limits are typed in at activation, and so are not shown there.
    """
    if row.kind != ACTIVATION:
        return {}
    asked = row.subject
    hides = verb == ACTIVATE and row.mode == Mode.SOLO
    impact = asked.get("impact", {})
    return {
        "asked": asked,
        "diff": None if hides else make_diff(asked),
        "hides_limits": hides,
        "impact": impact,
        "impact_chart": draw_impact(impact),
        "digests": list_digests(asked),
        "report": ValidationReport.objects.filter(digest=asked.get("report") or "none").first(),
    }


def make_diff(asked: Mapping[str, Any]) -> Diff | None:
    """None where the proposed limits are not stored, so that they cannot be looked at."""
    proposed = get_limits(asked["limit_set"])
    if proposed is None:
        return None
    account = Account.objects.filter(name=asked["account"]).first()
    permit = None if account is None else get_active_permit(account)
    base = get_limits(asked["base"]["limit_set"])
    return compare_limits(base, proposed, None if permit is None else get_limits(permit.limit_set_digest))


def list_digests(asked: Mapping[str, Any]) -> list[Digest]:
    """Everything that must still be the same at activation, by its digest."""
    found = {"limit_set": LimitSet, "config": GoLiveConfig, "freeze": Freeze}
    rows = []
    for name in ("limit_set", "config", "freeze", "rules", "guards", "code_version"):
        digest = str(asked.get(name, ""))
        model = found.get(name)
        row = None if model is None else model._default_manager.filter(digest=digest).order_by("-pk").first()
        link = "" if row is None else _link(row)
        rows.append(Digest(name=name.replace("_", " "), digest=digest, link=link))
    return rows


def _link(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def draw_impact(impact: Mapping[str, Any]) -> SafeString | None:
    """Recorded decisions as they were and as they would be; None where nothing was recorded."""
    if not impact.get("judged"):
        return None
    judged = int(impact["judged"])
    allowed, would = int(impact["allowed_then"]), int(impact["allowed_now"])
    result, lost = Decimal(impact["recorded_pnl"]), Decimal(impact["lost"])
    pairs = (
        _count("Allowed", allowed, would),
        _count("Denied", judged - allowed, judged - would),
        _money("Result, USDT", result, result - lost, is_good=result - lost >= result),
        _peak(impact),
    )
    return draw_pairs(pairs, f"Impact on {judged} recorded decisions")


def _count(name: str, then: int, now: int) -> Pair:
    rises = now > then if name == "Allowed" else now < then
    return Pair(
        name=name,
        then=Decimal(then),
        now=Decimal(now),
        then_text=f"{then:,}",
        now_text=f"{now:,}",
        tone="warn" if rises else "good",
    )


def _money(name: str, then: Decimal, now: Decimal, *, is_good: bool) -> Pair:
    tone = "good" if is_good else "bad"
    return Pair(name=name, then=then, now=now, then_text=f"{then:,.2f}", now_text=f"{now:,.2f}", tone=tone)


def _peak(impact: Mapping[str, Any]) -> Pair:
    then, now = Decimal(impact["peak_exposure_then"]), Decimal(impact["peak_exposure_now"])
    return _money("Peak exposure, USDT", then, now, is_good=now <= then)


# Activating ---------------------------------------------------------------------------------------


def add_typed_limits(form: forms.Form, row: ApprovalRequest) -> None:
    """On a desk of one person: the new limits, to be typed in without being shown (RISK.md 3.1)."""
    if row.kind != ACTIVATION or row.mode != Mode.SOLO:
        return
    for name in TYPED_LIMITS:
        form.fields[TYPED + name] = forms.CharField(label=f"New {title_of(name)}", max_length=30)


def list_typed_fields(form: forms.Form) -> list[forms.BoundField]:
    return [form[name] for name in form.fields if name.startswith(TYPED)]


def activate_request(row: ApprovalRequest, said: Mapping[str, Any], actor: Actor) -> str:
    """Carry it out; returns where to look next."""
    if said["digest"] != row.digest:
        raise DigestMismatch("what is stored is not what was shown; look again")
    typed = {
        name.removeprefix(TYPED): money_text(Decimal(value)) if _is_number(value) else value
        for name, value in said.items()
        if name.startswith(TYPED)
    }
    activation = activate(
        request_id=row.pk, otp=said["otp"], actor=actor, reason=said["reason"], typed=typed or None
    )
    return reverse("golive_account", args=[activation.account.name])


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
