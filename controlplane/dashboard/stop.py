"""The red button: a page that says what will happen, a POST that does it, a page of what is outstanding."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

import risk.services
from controlplane.approvals.core import STOPPING_ROLES, has_any_role
from controlplane.approvals.selectors import actor_of_user
from controlplane.errors import NotPermitted
from risk.models import StopEvent
from risk.selectors import list_stop_steps, list_trading_states
from trading.core.values import TradingStateName
from trading.selectors import get_clocks

DEFAULT_REASON = "stopped by hand from the admin"
KINDS = {"all": 0, "account": 1, "venue": 2, "strategy": 3, "symbol": 4}


class StopForm(forms.Form):
    """Which scope, and why."""

    scope = forms.ChoiceField(widget=forms.RadioSelect, initial="all")
    reason = forms.CharField(
        max_length=500,
        initial=DEFAULT_REASON,
        strip=True,
        error_messages={"required": "Say why, in a few words."},
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast("forms.ChoiceField", self.fields["scope"]).choices = list_scopes()


def list_scopes() -> list[tuple[str, str]]:
    """Every registered scope, the widest first, with its present state."""
    found = {"all": "Everything"}
    for row in list_trading_states():
        if row.scope != "all":
            active = row.state is TradingStateName.ACTIVE
            found[row.scope] = row.scope if active else f"{row.scope} (now {row.state})"
    order = sorted(found.items(), key=lambda item: (KINDS.get(item[0].partition(":")[0], 5), item[0]))
    return list(order)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_stop(request: HttpRequest) -> HttpResponse:
    """Ask on GET; stop on POST. Anyone designated as operator, approver or admin may."""
    form = StopForm(request.POST) if request.method == "POST" else StopForm()
    if request.method == "POST" and form.is_valid():
        try:
            event = risk.services.trip_emergency_stop(
                scope=form.cleaned_data["scope"],
                reason=form.cleaned_data["reason"],
                actor=actor_of_user(request.user),  # type: ignore[arg-type]
                clocks=get_clocks(),
            )
        except NotPermitted:
            return _show(request, "desk/stop.html", {"form": form, "permitted": False}, status=403)
        return redirect("stop_event", event.pk)
    permitted = has_any_role(actor_of_user(request.user), STOPPING_ROLES)  # type: ignore[arg-type]
    status = 403 if not permitted else 422 if form.is_bound else 200
    return _show(request, "desk/stop.html", {"form": form, "permitted": permitted}, status=status)


@never_cache
@require_safe
def show_stop(request: HttpRequest, event_id: int) -> HttpResponse:
    """How far a stop is: what the venues have confirmed and what is outstanding."""
    event = get_object_or_404(StopEvent, pk=event_id)
    context = {"event": event, "steps": list_stop_steps(event), "wall_at": get_clocks().wall_at}
    template = "desk/stop_steps.html" if "HX-Request" in request.headers else "desk/stop_event.html"
    return _show(request, template, context)


def _show(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    full = {**admin.site.each_context(request), "title": "Emergency stop", **context}
    return TemplateResponse(request, template, full, status=status)
