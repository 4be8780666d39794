"""Letting a throttled strategy enter again: a page that says what that means, and a POST that does it."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from controlplane.approvals.selectors import actor_of_user
from controlplane.dashboard.requests import DecisionForm
from controlplane.errors import DomainError, NotPermitted
from risk.models import Activity
from risk.throttles import digest_of_throttle, reenable_throttle


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reenable(request: HttpRequest, activity_id: int) -> HttpResponse:
    """Show on GET; count from nothing again on POST."""
    row = get_object_or_404(Activity.objects.select_related("account"), pk=activity_id)
    if row.throttled_at is None and request.method != "POST":
        raise Http404
    initial = {"digest": digest_of_throttle(row)}
    form = DecisionForm(request.POST if request.method == "POST" else None, initial=initial)
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            reenable_throttle(
                account=row.account,
                strategy=row.strategy,
                symbol=row.symbol,
                reason=form.cleaned_data["reason"],
                otp=form.cleaned_data["otp"],
                digest=form.cleaned_data["digest"],
                actor=actor_of_user(request.user),  # type: ignore[arg-type]
            )
            return redirect("admin:risk_activity_changelist")
        except DomainError as error:
            refusal = error
            row.refresh_from_db(fields=["entries", "throttled_at"])
    status = 422 if form.is_bound else 200
    if refusal is not None:
        status = 403 if isinstance(refusal, NotPermitted) else 409
    context = {
        **admin.site.each_context(request),
        "title": "Let it enter again",
        "row": row,
        "form": form,
        "refusal": refusal,
    }
    return TemplateResponse(request, "desk/throttle.html", context, status=status)
