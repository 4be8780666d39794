"""Deciding on a request: a page that shows all of it, and a POST with a reason and a code that does it."""

import json
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from controlplane.approvals import requests, voting
from controlplane.approvals.core import OPEN_STATES, Actor, Mode, RequestState, VoteDecision
from controlplane.approvals.describing import describe_request
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.selectors import actor_of_user, find_mode, get_request
from controlplane.dashboard.golive_request import (
    ACTIVATE,
    activate_request,
    add_typed_limits,
    describe_permission,
    list_typed_fields,
)
from controlplane.errors import DomainError, NotFound, NotPermitted
from golive.activation import ACTIVATION
from trading.selectors import get_clocks

VERBS = {
    "approve": "Approve",
    "reject": "Reject",
    "revoke": "Take my approval back",
    "withdraw": "Withdraw",
    ACTIVATE: "Activate",
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
    """Show on GET, and again what changes for the poll; vote, withdraw or activate on POST."""
    row = find_shown(request_id, verb)
    if "HX-Request" in request.headers:
        return TemplateResponse(request, "desk/request_live.html", describe_live(row))
    form = DecisionForm(request.POST if request.method == "POST" else None, initial={"digest": row.digest})
    if verb == ACTIVATE:
        add_typed_limits(form, row)
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            actor = actor_of_user(request.user)  # type: ignore[arg-type]
            return redirect(carry_out(row, verb, form.cleaned_data, actor))
        except DomainError as error:
            refusal = error
    return show(request, row, verb, form, refusal)


def find_shown(request_id: UUID, verb: str) -> ApprovalRequest:
    """The request; only what stays approved until it is carried out can be activated."""
    try:
        row = get_request(request_id)
    except NotFound as missing:
        raise Http404 from missing
    if verb not in VERBS or (verb == ACTIVATE and row.kind != ACTIVATION):
        raise Http404
    return row


def list_verbs(row: ApprovalRequest) -> list[tuple[str, str]]:
    """What can be said of the request in its state, by verb and title; who may is judged when it is said."""
    if row.state == RequestState.PROPOSED:
        names = ["approve", "reject", "withdraw"]
    elif row.state == RequestState.APPROVED:
        names = ["reject", "revoke", "withdraw"]
        names = [ACTIVATE, *names] if row.kind == ACTIVATION else names
    else:
        names = []
    return [(name, VERBS[name]) for name in names]


def carry_out(row: ApprovalRequest, verb: str, said: dict[str, Any], actor: Actor) -> str:
    """Do it; returns where to look next."""
    if verb == ACTIVATE:
        return activate_request(row, said, actor)
    after = reverse("admin:approvals_approvalrequest_change", args=[row.pk])
    if verb == "withdraw":
        requests.withdraw_request(request_id=row.pk, reason=said["reason"], actor=actor)
        return after
    voting.vote_on_request(
        request_id=row.pk,
        decision=VoteDecision(verb),
        otp=said["otp"],
        reason=said["reason"],
        digest=said["digest"],
        actor=actor,
    )
    return after


def describe_live(row: ApprovalRequest) -> dict[str, Any]:
    """What changes while somebody looks: the state, the votes, what is left of the time, the conditions."""
    found = describe_request(row)
    return {
        "request_row": row,
        "facts": found,
        "missing": [item for item in found["conditions"] if not item["is_met"]],
        "met": [item for item in found["conditions"] if item["is_met"]],
        "wall_at": get_clocks().wall_at,
        "is_open": row.state in OPEN_STATES,
        "opens_at": row.proposed_at + KINDS.get(row.kind).wait_in(Mode(row.mode)),
    }


def show(
    request: HttpRequest, row: ApprovalRequest, verb: str, form: DecisionForm, refusal: DomainError | None
) -> HttpResponse:
    row, kind = get_request(row.pk), KINDS.get(row.kind)
    status = 200 if not form.is_bound else 422
    if refusal is not None:
        status = 403 if isinstance(refusal, NotPermitted) else 409
    context = {
        **admin.site.each_context(request),
        "title": VERBS[verb],
        **describe_live(row),
        **describe_permission(row, verb),
        "typed_fields": list_typed_fields(form),
        "verbs": [item for item in list_verbs(row) if item[0] != verb],
        "subject": json.dumps(row.subject, indent=2, ensure_ascii=False),
        "is_as_asked": requests.compute_digest(row, kind) == row.digest and row.mode == find_mode(),
        "verb": verb,
        "form": form,
        "refusal": refusal,
    }
    return TemplateResponse(request, "desk/request.html", context, status=status)
