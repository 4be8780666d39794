"""Ending a stop from the admin: what is met and what is not, live, and a form that asks for it.

Approving is another page (controlplane.dashboard.requests) and another person.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

import risk.services
from controlplane.approvals.core import Actor, Mode, has_any_role
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.selectors import actor_of_user, find_mode
from controlplane.errors import DomainError, NotPermitted
from risk.core.emergency_stop import StopSource
from risk.models import StopEvent
from risk.stops.rearm import REARM, describe_conditions, find_rearm_request
from risk.stops.rearm_facts import find_trigger


class RearmForm(forms.Form):
    """What it was, and why trading may go on; the code is asked for where one person approves alone."""

    root_cause = forms.CharField(
        max_length=2000,
        strip=True,
        error_messages={"required": "Say what it was, in fifteen characters or more."},
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    reason = forms.CharField(
        max_length=500,
        strip=True,
        error_messages={"required": "Say why, in fifteen characters or more."},
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    rebase = forms.BooleanField(required=False)
    otp = forms.CharField(
        max_length=12,
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def rearm(request: HttpRequest, event_id: int) -> HttpResponse:
    """Show on GET; ask on POST."""
    event = get_object_or_404(StopEvent, pk=event_id)
    if "HX-Request" in request.headers:
        return TemplateResponse(request, "desk/rearm_conditions.html", describe(event))
    form = RearmForm(request.POST if request.method == "POST" else None)
    refusal: DomainError | None = None
    actor = actor_of_user(request.user)  # type: ignore[arg-type]
    if request.method == "POST" and form.is_valid():
        try:
            row = ask(event, form.cleaned_data, actor)
            return redirect("admin:approvals_approvalrequest_change", row.pk)
        except DomainError as error:
            refusal = error
    status = 422 if form.is_bound else 200
    if refusal is not None:
        status = 403 if isinstance(refusal, NotPermitted) else 409
    context = {
        **admin.site.each_context(request),
        **describe(event),
        "title": "Re-arm",
        "form": form,
        "refusal": refusal,
        "permitted": has_any_role(actor, KINDS.get(REARM).requester_roles),
        "asks_code": find_mode() is Mode.SOLO,
        "may_rebase": find_trigger(event) is StopSource.CAPITAL_LOSS and event.scope.startswith("account:"),
    }
    return TemplateResponse(request, "desk/rearm.html", context, status=status)


def ask(event: StopEvent, said: dict[str, Any], actor: Actor) -> Any:
    return risk.services.request_rearm(
        event_id=event.pk,
        root_cause=said["root_cause"],
        reason=said["reason"],
        rebase=said["rebase"],
        otp=said["otp"] or None,
        actor=actor,
    )


def describe(event: StopEvent) -> dict[str, Any]:
    """The stop, the request that waits, and every condition as it is now; an ended stop has none."""
    if event.ended_at is not None:
        return {"event": event, "waiting": None, "conditions": [], "is_ready": False}
    waiting = find_rearm_request(event)
    rebases = waiting is not None and bool(waiting.subject["rebase"])
    conditions = describe_conditions(event, rebases=rebases)
    return {
        "event": event,
        "waiting": waiting,
        "conditions": conditions,
        "is_ready": all(item["is_met"] for item in conditions),
    }
