"""Saying that an alert was seen: a page that shows it and who was told, and a POST that notes the person."""

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from controlplane.alerts.models import Alert
from controlplane.alerts.services import acknowledge_alert
from controlplane.approvals.core import MIN_REASON
from controlplane.approvals.selectors import actor_of_user
from controlplane.errors import DomainError, NotPermitted
from trading.selectors import get_clocks


class SeenForm(forms.Form):
    """What the person does about it."""

    reason = forms.CharField(
        min_length=MIN_REASON,
        max_length=500,
        label="What you do about it",
        widget=forms.Textarea(attrs={"rows": 2}),
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def acknowledge(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Show on GET; note that it was seen on POST, which ends reminders and escalation."""
    alert = get_object_or_404(Alert.objects.prefetch_related("deliveries"), pk=alert_id)
    form = SeenForm(request.POST if request.method == "POST" else None)
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            acknowledge_alert(
                alert_id=alert.pk,
                actor=actor_of_user(request.user),  # type: ignore[arg-type]
                reason=form.cleaned_data["reason"],
                wall_at=get_clocks().wall_at,
            )
            return redirect("admin:alerts_alert_changelist")
        except DomainError as error:
            refusal = error
    status = 422 if form.is_bound else 200
    if refusal is not None:
        status = 403 if isinstance(refusal, NotPermitted) else 409
    context = {
        **admin.site.each_context(request),
        "title": "Alert",
        "alert": alert,
        "form": form,
        "refusal": refusal,
        "wall_at": get_clocks().wall_at,
    }
    return TemplateResponse(request, "desk/alert.html", context, status=status)
