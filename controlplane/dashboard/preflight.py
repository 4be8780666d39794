"""The button that starts a pre-flight: a POST, which leads to the run's page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from controlplane.approvals.core import MEASURING_ROLES
from controlplane.approvals.selectors import actor_of_user
from controlplane.approvals.services import require_any_role
from controlplane.errors import NotPermitted
from golive.services import start_preflight


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Start a run, or follow the one that is under way."""
    actor = actor_of_user(request.user)  # type: ignore[arg-type]
    try:
        require_any_role(actor, MEASURING_ROLES)
    except NotPermitted as refusal:
        return HttpResponse(refusal.message, status=403, content_type="text/plain")
    run = start_preflight(actor=actor.audit_name)
    return redirect("admin:golive_preflightrun_change", run.pk)
