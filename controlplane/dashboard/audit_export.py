"""The audit log as a file, for a person who is designated to audit it."""

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_POST

from controlplane.approvals.core import Role
from controlplane.approvals.selectors import get_user, list_roles
from controlplane.audit.exporting import export_lines
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import DomainError, InvalidInput, NotPermitted

ACTION = "audit.export"
SHORTEST_REASON = 15


@require_POST
def export_log(request: HttpRequest) -> HttpResponseBase:
    """Stream the log as JSON lines; the export is recorded before the first line leaves."""
    try:
        record_export(get_user(request.user.get_username()), request.POST.get("reason", "").strip())
    except DomainError as refusal:
        return HttpResponse(
            f"{refusal.message}\n",
            status=403 if isinstance(refusal, NotPermitted) else 422,
            content_type="text/plain",
        )
    lines = export_lines(with_rows=bool(request.POST.get("streams")))
    answer = StreamingHttpResponse(lines, content_type="application/jsonl")
    answer["Content-Disposition"] = 'attachment; filename="audit-log.jsonl"'
    return answer


def record_export(person: User, reason: str) -> None:
    """Record who takes the log along, and why; raises where they may not."""
    actor = person.get_username()
    attempt = audited_attempt(action=ACTION, actor=actor, subject_type="log", subject_id="all", reason=reason)
    with attempt, transaction.atomic(durable=True):
        if Role.AUDITOR not in list_roles(person):
            raise NotPermitted("only who is designated as auditor exports the log")
        if len(reason) < SHORTEST_REASON:
            raise InvalidInput(f"reason: at least {SHORTEST_REASON} characters")
        record(action=ACTION, actor=actor, subject_type="log", subject_id="all", reason=reason)
