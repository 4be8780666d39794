"""The strip on top of every page: the strictest state, what a stop still waits for, the level of risk."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.contrib import admin
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from controlplane.approvals.core import STOPPING_ROLES
from controlplane.approvals.selectors import list_roles
from controlplane.dashboard.words import age_text, count_text
from risk.desk_state import DeskState, read_desk_state

logger = logging.getLogger(__name__)

# The guard assesses every two seconds; older than this, nobody watches.
RISK_AGE = timedelta(seconds=30)
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """What the strip says; tones are good, warn, bad or unknown. `said` is for ears."""

    state: str
    tone: str
    scope: str
    reason: str
    more: str
    stopping: str
    risk: str
    risk_tone: str
    age: str

    @property
    def said(self) -> str:
        """Without the age, so that it is only said again when something changed."""
        parts = (f"Desk {self.state}", self.scope, self.more, self.stopping, f"global risk {self.risk}")
        return ", ".join(part for part in parts if part)


NOT_KNOWN = Strip(
    state=UNKNOWN,
    tone="unknown",
    scope="",
    reason="the database does not answer: emergency_stop trip --offline needs only the venue",
    more="",
    stopping="",
    risk=UNKNOWN,
    risk_tone="unknown",
    age="",
)


def gather_strip() -> Strip:
    """One statement; where the database does not answer the state is not known, and said to be."""
    try:
        return make_strip(read_desk_state())
    except Error:
        logger.exception("the state of the desk cannot be read")
        return NOT_KNOWN


def make_strip(found: DeskState) -> Strip:
    others = found.held_back - 1
    age = None if found.checked_at is None else found.wall_at - found.checked_at
    risk, risk_tone = _tell_risk(found.level, age)
    return Strip(
        state=found.state.value,
        tone=("good", "warn", "bad")[found.state.strictness],
        scope="" if found.held_back == 0 else found.scope,
        reason="" if found.held_back == 0 else found.reason,
        more=f"and {count_text(others, 'other scope')}" if others > 0 else "",
        stopping=f"STOPPING: {count_text(found.steps, 'step')} to go" if found.stops else "",
        risk=risk,
        risk_tone=risk_tone,
        age="never assessed" if age is None else f"{age_text(age)} ago",
    )


def _tell_risk(level: str | None, age: timedelta | None) -> tuple[str, str]:
    """What is old or was never assessed denies like CRITICAL, and is named for what it is."""
    if level is None or age is None:
        return UNKNOWN, "unknown"
    if age > RISK_AGE:
        return f"{level}, old", "bad"
    return level, {"OK": "good", "WARNING": "warn"}.get(level, "bad")


@never_cache
@require_safe
def show_strip(request: HttpRequest) -> HttpResponse:
    """The strip again, for the poll; it answers whatever happens to the database."""
    try:
        if not admin.site.has_permission(request):
            response = HttpResponse(status=204)
            response["HX-Redirect"] = reverse("admin:login")
            return response
        may_stop = not STOPPING_ROLES.isdisjoint(list_roles(request.user))  # type: ignore[arg-type]
    except Error:
        logger.exception("who asks for the strip cannot be read")
        return TemplateResponse(request, "desk/strip.html", {"strip": NOT_KNOWN, "may_stop": False})
    return TemplateResponse(request, "desk/strip.html", {"strip": gather_strip(), "may_stop": may_stop})
