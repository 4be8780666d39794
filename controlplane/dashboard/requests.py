"""Deciding on a request: a page that shows all of it, and a POST with a reason and a code that does it."""

import json
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from controlplane.approvals import requests, voting
from controlplane.approvals.core import Actor, VoteDecision
from controlplane.approvals.describing import describe_request
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.selectors import actor_of_user, get_request
from controlplane.errors import DomainError, NotFound, NotPermitted

VERBS = {
    "approve": "Approve",
    "reject": "Reject",
    "revoke": "Take my approval back",
    "withdraw": "Withdraw",
}


class DecisionForm(forms.Form):
    """Why, the code, and the digest of what was shown."""

    reason = forms.CharField(
        max_length=500,
        strip=True,
        error_messages={"required": "Say why, in fifteen characters or more."},
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    otp = forms.CharField(
        max_length=12,
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )
    digest = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: HttpRequest, request_id: UUID, verb: str) -> HttpResponse:
    """Show on GET; vote or withdraw on POST."""
    if verb not in VERBS:
        raise Http404
    try:
        row = get_request(request_id)
    except NotFound as missing:
        raise Http404 from missing
    form = DecisionForm(request.POST if request.method == "POST" else None, initial={"digest": row.digest})
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            carry_out(row, verb, form.cleaned_data, actor_of_user(request.user))  # type: ignore[arg-type]
            return redirect("admin:approvals_approvalrequest_change", row.pk)
        except DomainError as error:
            refusal = error
    return show(request, row, verb, form, refusal)


def carry_out(row: ApprovalRequest, verb: str, said: dict[str, Any], actor: Actor) -> None:
    if verb == "withdraw":
        requests.withdraw_request(request_id=row.pk, reason=said["reason"], actor=actor)
        return
    voting.vote_on_request(
        request_id=row.pk,
        decision=VoteDecision(verb),
        otp=said["otp"],
        reason=said["reason"],
        digest=said["digest"],
        actor=actor,
    )


def show(
    request: HttpRequest, row: ApprovalRequest, verb: str, form: DecisionForm, refusal: DomainError | None
) -> HttpResponse:
    row = get_request(row.pk)
    status = 200 if not form.is_bound else 422
    if refusal is not None:
        status = 403 if isinstance(refusal, NotPermitted) else 409
    context = {
        **admin.site.each_context(request),
        "title": VERBS[verb],
        "request_row": row,
        "facts": describe_request(row),
        "subject": json.dumps(row.subject, indent=2, ensure_ascii=False),
        "is_as_asked": requests.compute_digest(row, KINDS.get(row.kind)) == row.digest,
        "verb": verb,
        "form": form,
        "refusal": refusal,
    }
    return TemplateResponse(request, "desk/request.html", context, status=status)
