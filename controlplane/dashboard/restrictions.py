"""What is stopped or may only reduce, and why; and a person's word where one is needed."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from controlplane.approvals.selectors import actor_of_user
from controlplane.dashboard.requests import DecisionForm
from controlplane.errors import Conflict, DomainError, NotPermitted
from risk.core.consequences import Release
from risk.core.emergency_stop import Cause
from risk.models import Restriction, StopEvent
from risk.reducing.releases import find_release_request, request_release
from risk.reducing.restrictions import acknowledge_restriction, list_restrictions, release_of
from trading.selectors import get_clocks

LIFTED_BY = {
    Cause.DAILY_LOSS: "the next UTC day, a loss of the last 24 h below the limit, and a person's word",
    Cause.WEEKLY_LOSS: "a new promotion",
    Cause.MAINTENANCE_MARGIN: "maintenance margin below half of equity for 60 s",
    Cause.OVERSIZE: "a position inside the limits",
    Cause.UNPROTECTED: "a stop at the venue, and a comparison with the venue that finds nothing",
    Cause.MISMATCH: "a comparison with the venue that finds nothing",
    Cause.FORCED_FILL: "a person's word",
    Cause.STALE_READING: "readings of equity that agree",
    Cause.STALE_DATA: "everything fresh for 60 s",
    Cause.REARMED: "the time of reducing after a re-arming, with clean books",
    Cause.DRIFT: "what is loaded being what was frozen again",
    Cause.NOT_ENABLED: "activation_enabled in the loaded config/go_live.yaml",
}
QUORUM = "the next UTC day, a loss of the last 24 h below the limit, and the word of two people"


class PromotionNeeded(Conflict):
    """Only a new promotion ends this."""

    code = "promotion_needed"


def describe(row: Restriction) -> dict[str, object]:
    """One row as shown: whose word it takes, whether it was given, what it waits for."""
    release = release_of(row)
    lifted_by = QUORUM if release is Release.QUORUM else LIFTED_BY[Cause(row.cause)]
    is_waiting = row.needs_acknowledgement and row.acknowledged_at is None
    asked = find_release_request(row) if is_waiting and release is Release.QUORUM else None
    return {
        "row": row,
        "lifted_by": lifted_by,
        "asked": asked,
        "may_say": is_waiting and release is Release.PERSON,
        "may_ask": is_waiting and release is Release.QUORUM and asked is None,
    }


@never_cache
@require_safe
def show_all(request: HttpRequest) -> HttpResponse:
    """Every standing stop and restriction."""
    context = {
        **admin.site.each_context(request),
        "title": "Stopped or reducing",
        "stops": StopEvent.objects.filter(ended_at__isnull=True).order_by("tripped_at"),
        "rows": [describe(row) for row in list_restrictions()],
        "wall_at": get_clocks().wall_at,
    }
    return TemplateResponse(request, "desk/restrictions.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def say(request: HttpRequest, restriction_id: int) -> HttpResponse:
    """Show on GET; on POST note the person's word, or ask for the quorum's."""
    row = get_object_or_404(Restriction, pk=restriction_id)
    form = DecisionForm(request.POST if request.method == "POST" else None)
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            return _carry_out(request, row, form.cleaned_data["reason"])
        except DomainError as error:
            refusal = error
    status = 422 if form.is_bound else 200
    if refusal is not None:
        status = 403 if isinstance(refusal, NotPermitted) else 409
    context = {
        **admin.site.each_context(request),
        "title": "Reducing",
        "form": form,
        "refusal": refusal,
        "wall_at": get_clocks().wall_at,
        **describe(row),
    }
    return TemplateResponse(request, "desk/restriction.html", context, status=status)


def _carry_out(request: HttpRequest, row: Restriction, reason: str) -> HttpResponse:
    actor = actor_of_user(request.user)  # type: ignore[arg-type]
    release = release_of(row)
    if release is Release.PROMOTION:
        raise PromotionNeeded("a weekly loss ends with a new promotion")
    if release is Release.QUORUM:
        asked = request_release(restriction_id=row.pk, reason=reason, actor=actor)
        return redirect("admin:approvals_approvalrequest_change", asked.pk)
    acknowledge_restriction(restriction_id=row.pk, reason=reason, actor=actor)
    return redirect("restrictions")
