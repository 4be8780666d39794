"""What is held, and closing it by hand: a page that says what will happen, a POST that asks for it."""

from dataclasses import dataclass
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from controlplane import closing
from controlplane.approvals.core import STOPPING_ROLES, has_any_role
from controlplane.approvals.selectors import actor_of_user
from controlplane.errors import DomainError, NotFound, NotPermitted
from trading import selectors
from trading.schemas import PositionOut, describe_positions

RECENT = 10


class CloseForm(forms.Form):
    """Why."""

    reason = forms.CharField(
        max_length=500,
        strip=True,
        initial="closed by hand from the admin",
        error_messages={"required": "Say why, in a few words."},
        widget=forms.Textarea(attrs={"rows": 2}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One open position with the account that holds it."""

    account: str
    position: PositionOut


def list_held() -> list[Held]:
    places = selectors.list_venue_accounts().filter(account__environment=settings.TRADING_ENVIRONMENT)
    return [
        Held(account=place.account.name, position=row)
        for place in places
        for row in describe_positions(place)
    ]


@never_cache
@require_safe
def show_all(request: HttpRequest) -> HttpResponse:
    """Every open position, and what became of the last closings by hand."""
    context = {
        **admin.site.each_context(request),
        "title": "Open positions",
        "held": list_held(),
        "closings": [closing.get_closing(row.pk) for row in closing.list_closings()[:RECENT]],
    }
    return TemplateResponse(request, "desk/positions.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def close(request: HttpRequest, account: str, venue: str, symbol: str) -> HttpResponse:
    """Ask on GET; on POST have it judged and sent by the guard or a worker."""
    form = CloseForm(request.POST if request.method == "POST" else None)
    refusal: DomainError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            asked = closing.queue_close(
                position=closing.find_position(account=account, symbol=symbol, venue=venue),
                reason=form.cleaned_data["reason"],
                actor=actor_of_user(request.user),  # type: ignore[arg-type]
            )
            return redirect("closing", asked.intent.pk)
        except DomainError as error:
            refusal = error
    shown = [
        row
        for row in list_held()
        if (row.account, row.position.venue, row.position.symbol) == (account, venue, symbol)
    ]
    permitted = has_any_role(actor_of_user(request.user), STOPPING_ROLES)  # type: ignore[arg-type]
    context = {
        **admin.site.each_context(request),
        "title": f"Close {symbol}",
        "form": form,
        "held": shown[0] if shown else None,
        "names": {"account": account, "venue": venue, "symbol": symbol},
        "permitted": permitted,
        "refusal": refusal,
    }
    status = _choose_status(form, refusal, permitted=permitted, is_held=bool(shown))
    return TemplateResponse(request, "desk/close.html", context, status=status)


def _choose_status(form: CloseForm, refusal: DomainError | None, *, permitted: bool, is_held: bool) -> int:
    if isinstance(refusal, NotPermitted) or not permitted:
        return 403
    if refusal is not None:
        return 404 if isinstance(refusal, NotFound) else 409
    if form.is_bound:
        return 422
    return 200 if is_held else 404


@never_cache
@require_safe
def show_closing(request: HttpRequest, intent_id: UUID) -> HttpResponse:
    """What became of one closing; asked again until it is settled."""
    try:
        found = closing.get_closing(intent_id)
    except NotFound as missing:
        raise Http404 from missing
    clocks = selectors.get_clocks()
    valid_until = found.intent.valid_until
    context = {
        **admin.site.each_context(request),
        "title": f"Close {found.intent.symbol}",
        "closing": found,
        "is_late": found.order is None and valid_until is not None and valid_until < clocks.wall_at,
    }
    template = "desk/closing_state.html" if "HX-Request" in request.headers else "desk/closing.html"
    return TemplateResponse(request, template, context)
