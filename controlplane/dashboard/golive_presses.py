"""What a person may press for an account: each says what will happen, who may, and calls one service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from controlplane.approvals.core import MEASURING_ROLES, STOPPING_ROLES, Actor, Mode, Role, has_any_role
from controlplane.approvals.selectors import actor_of_user, find_mode
from controlplane.dashboard.golive_facts import Card, get_card, measure_card
from controlplane.errors import DomainError, NotFound, NotPermitted
from golive.activation import confirm_activation, request_activation
from golive.checklist import HUMAN, list_lines, sign_line
from golive.core.words import LADDER, Phase
from golive.evaluation import evaluate_account
from golive.handover import CONFIRMING_ROLES
from golive.holds import request_release
from golive.programme import (
    BEFORE_ACTIVATION,
    CARRYING_ROLES,
    advance_programme,
    find_open_programme,
    get_open_programme,
    open_programme,
    withdraw_programme,
)
from golive.rollback import roll_back
from trading.models import Account
from trading.selectors import get_account, get_clocks

ROLLED_BACK = "rolled back by hand from the admin"

Carry = Callable[[Account, Mapping[str, Any], Actor], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """One thing to press. `applies`: whether it makes sense for the account now; who may is `roles`."""

    verb: str
    title: str
    button: str
    happens: tuple[str, ...]
    roles: frozenset[Role]
    applies: Callable[[Card], bool]
    carry_out: Carry
    is_red: bool = False
    asks_reason: bool = True
    asks_profile: bool = False
    asks_code_alone: bool = False
    shows_conditions: bool = False
    reason: str = ""


class PressForm(forms.Form):
    """Why, and what else the press asks for."""

    reason = forms.CharField(
        label="Why",
        max_length=500,
        strip=True,
        error_messages={"required": "Say why, in fifteen characters or more."},
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    profile = forms.ChoiceField(
        choices=[(name, name) for name in LADDER], initial=LADDER[0], widget=forms.RadioSelect
    )
    otp = forms.CharField(
        max_length=12,
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )

    def __init__(self, press: Press, data: Any, profile: str) -> None:
        super().__init__(data, initial={"reason": press.reason, "profile": profile})
        if not press.asks_reason:
            del self.fields["reason"]
        if not press.asks_profile:
            del self.fields["profile"]
        if not (press.asks_code_alone and find_mode() is Mode.SOLO):
            del self.fields["otp"]


def require_account(name: str) -> Account:
    try:
        return get_account(name)
    except NotFound as missing:
        raise Http404 from missing


def to_account(account: Account) -> str:
    return reverse("golive_account", args=[account.name])


def to_request(row: Any) -> str:
    return reverse("request_decide", args=[row.pk, "approve"])


# What each one does -----------------------------------------------------------------------------


def _open(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    open_programme(account=account, profile=said["profile"], actor=actor, reason=said["reason"])
    return to_account(account)


def _advance(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    advance_programme(programme=get_open_programme(account), actor=actor)
    return to_account(account)


def _request(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    row = request_activation(
        programme=get_open_programme(account),
        reason=said["reason"],
        actor=actor,
        otp=said.get("otp") or None,
    )
    return to_request(row)


def _confirm(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    confirm_activation(account=account, actor=actor, reason=said["reason"])
    return to_account(account)


def _withdraw(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    withdraw_programme(programme=get_open_programme(account), actor=actor, reason=said["reason"])
    return to_account(account)


def _roll_back(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    roll_back(account=account, actor=actor, reason=said["reason"])
    return f"{to_account(account)}#rollbacks"


def _release(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    row = request_release(account=account, reason=said["reason"], actor=actor, otp=said.get("otp") or None)
    return to_request(row)


def _evaluate(account: Account, said: Mapping[str, Any], actor: Actor) -> str:
    evaluate_account(account=account, actor=actor.audit_name, clocks=get_clocks())
    return f"{to_account(account)}#evaluation"


# When each one makes sense ----------------------------------------------------------------------


def _is_in(*phases: Phase) -> Callable[[Card], bool]:
    return lambda card: card.programme is not None and card.programme.phase in phases


BEFORE = _is_in(*BEFORE_ACTIVATION)
PRESSES = (
    Press(
        verb="open",
        title="Open programme",
        button="Open programme",
        happens=(
            "The account begins its way to the profile you choose, with phase 1, Validation.",
            "Nothing goes live by this: what may be traded stays as it is.",
        ),
        roles=CARRYING_ROLES,
        applies=lambda card: card.programme is None,
        carry_out=_open,
        asks_profile=True,
    ),
    Press(
        verb="advance",
        title="Go on",
        button="Go on to the next phase",
        happens=(
            "Every condition of this phase is measured again now; whatever is missing refuses.",
            "Leaving Validation freezes configuration, limits, rules and code by their digests.",
            "If something frozen has changed, it is frozen anew and that phase begins again.",
        ),
        roles=CARRYING_ROLES,
        applies=_is_in(Phase.VALIDATION, Phase.FREEZE, Phase.OBSERVATION),
        carry_out=_advance,
        asks_reason=False,
        shows_conditions=True,
    ),
    Press(
        verb="request",
        title="Request activation",
        button="Request activation",
        happens=(
            "The programme is brought as far as its evidence carries it; what is missing refuses.",
            "Limits, configuration, freeze, rules and code are bound by their digests: an edit voids it.",
            "Another person sees all of it, and approves with a code. Nothing goes live by asking.",
        ),
        roles=CARRYING_ROLES,
        applies=lambda card: BEFORE(card) and not card.is_asked,
        carry_out=_request,
        asks_code_alone=True,
        shows_conditions=True,
    ),
    Press(
        verb="confirm",
        title="Confirm",
        button="Confirm the activation",
        happens=(
            "You say that what was observed is well; the programme ends as confirmed.",
            "From now on a rollback of a later activation goes back to these limits.",
        ),
        roles=CONFIRMING_ROLES,
        applies=_is_in(Phase.OBSERVATION, Phase.HANDOVER),
        carry_out=_confirm,
        shows_conditions=True,
    ),
    Press(
        verb="release",
        title="Ask for release",
        button="Ask for release",
        happens=(
            "Another person sees why the account is held, and approves with a code.",
            "The release ends the hold and begins nothing: going live again takes a new programme.",
        ),
        roles=CARRYING_ROLES,
        applies=lambda card: card.hold is not None,
        carry_out=_release,
        asks_code_alone=True,
    ),
    Press(
        verb="evaluate",
        title="Evaluate",
        button="Evaluate now",
        happens=(
            "Each criterion of the next rung is computed from the ledger, and kept with its evidence.",
            "It recommends; nothing is promoted by it.",
        ),
        roles=MEASURING_ROLES,
        applies=lambda card: card.is_live,
        carry_out=_evaluate,
        asks_reason=False,
    ),
    Press(
        verb="withdraw",
        title="Withdraw programme",
        button="Withdraw programme",
        happens=(
            "The programme ends. What was asked on it cannot be activated any more.",
            "What may be traded stays as it is.",
        ),
        roles=CARRYING_ROLES,
        applies=BEFORE,
        carry_out=_withdraw,
    ),
    Press(
        verb="rollback",
        title="Roll back",
        button="Roll back now",
        happens=(
            "From this moment the account has the last confirmed limits, never more than now.",
            "If nothing was confirmed before, it is halted. What is held keeps its stop-loss.",
            "Resting entry orders are cancelled at every venue.",
            "It is held until two people release it. Nobody's approval and no code is needed.",
        ),
        roles=STOPPING_ROLES,
        applies=lambda card: card.permit is not None and card.rollback is None,
        carry_out=_roll_back,
        is_red=True,
        reason=ROLLED_BACK,
    ),
)


def list_presses(card: Card, actor: Actor) -> list[Press]:
    """What makes sense for the account now and this person may do."""
    return [press for press in PRESSES if press.applies(card) and has_any_role(actor, press.roles)]


def find_press(verb: str) -> Press:
    for press in PRESSES:
        if press.verb == verb:
            return press
    raise Http404


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def press(request: HttpRequest, account: str, verb: str) -> HttpResponse:
    """Ask on GET; do it on POST."""
    found, asked = require_account(account), find_press(verb)
    actor = actor_of_user(request.user)  # type: ignore[arg-type]
    clocks = get_clocks()
    card = get_card(found, clocks)
    if asked.shows_conditions:
        card = measure_card(card, clocks)
    data = request.POST if request.method == "POST" else None
    form = PressForm(asked, data, _next_profile(card))
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(asked.carry_out(found, form.cleaned_data, actor))
        except DomainError as error:
            refusal = error
    permitted = has_any_role(actor, asked.roles)
    context = {
        "title": asked.title,
        "card": card,
        "press": asked,
        "form": form,
        "refusal": refusal,
        "permitted": permitted,
        "roles": " or ".join(sorted(asked.roles)),
        "action": reverse("golive_press", args=[found.name, verb]),
    }
    return show_form(request, context)


def show_form(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """The confirmation page; what was refused or left out is said with its status."""
    form, refusal = context["form"], context["refusal"]
    status = 422 if form.is_bound else 200
    if refusal is not None:
        status = 403 if isinstance(refusal, NotPermitted) else 409
    full = {**admin.site.each_context(request), "wall_at": get_clocks().wall_at, **context}
    return TemplateResponse(request, "desk/golive_press.html", full, status=status)


def _next_profile(card: Card) -> str:
    """The rung above what is live, or the first one."""
    if card.permit is None or not card.is_live or card.permit.profile not in LADDER:
        return LADDER[0]
    return LADDER[min(LADDER.index(card.permit.profile) + 1, len(LADDER) - 1)]


# Signing a line of the checklist --------------------------------------------------------------------


class SignForm(forms.Form):
    """What a person vouches for."""

    is_met = forms.ChoiceField(
        label="It is so",
        choices=[("yes", "Yes, I looked and it is so"), ("no", "No, it is not so")],
        widget=forms.RadioSelect,
        error_messages={"required": "Say yes or no."},
    )
    reason = forms.CharField(
        label="What did you look at",
        max_length=500,
        strip=True,
        error_messages={"required": "Say what you looked at, in fifteen characters or more."},
        widget=forms.Textarea(attrs={"rows": 2}),
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign(request: HttpRequest, account: str, line: str) -> HttpResponse:
    """Show the line on GET; on POST keep what the person says of it."""
    found, clocks = require_account(account), get_clocks()
    programme = find_open_programme(found)
    shown = next((row for row in list_lines(programme) if row.name == line), None) if programme else None
    if programme is None or shown is None or shown.kind != HUMAN:
        raise Http404
    actor = actor_of_user(request.user)  # type: ignore[arg-type]
    form = SignForm(request.POST if request.method == "POST" else None)
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            sign_line(
                programme=programme,
                line=line,
                is_met=form.cleaned_data["is_met"] == "yes",
                note=form.cleaned_data["reason"],
                actor=actor,
            )
            return redirect(f"{to_account(found)}#checklist")
        except DomainError as error:
            refusal = error
    happens = (shown.text, "Your name and what you say are kept for ever; the newest word counts.")
    context = {
        "title": f"Sign: {shown.name}",
        "card": get_card(found, clocks),
        "press": {"happens": happens, "button": "Sign"},
        "form": form,
        "refusal": refusal,
        "permitted": bool(actor.roles),
        "roles": "anything",
        "action": reverse("golive_sign", args=[found.name, line]),
    }
    return show_form(request, context)
