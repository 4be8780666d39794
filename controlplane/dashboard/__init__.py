"""Django Unfold's hooks: the environment on every page, the first page, what the header shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

LABELS = {"paper": ("Paper", "info"), "demo": ("Demo", "warning"), "live": ("LIVE", "danger")}


def environment_callback(request: HttpRequest) -> tuple[str, str]:
    """The coloured label of every page."""
    return LABELS[settings.TRADING_ENVIRONMENT]


def global_callback(request: HttpRequest) -> dict[str, Any]:
    """What the header needs on every page: whether this person may stop."""
    from controlplane.approvals.core import STOPPING_ROLES
    from controlplane.approvals.selectors import list_roles

    user = request.user
    may_stop = user.is_authenticated and not STOPPING_ROLES.isdisjoint(list_roles(user))
    return {"may_stop": may_stop}


def dashboard_callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    from controlplane.dashboard.page import gather_page

    context["title"] = "Overview"
    context["page"] = gather_page()
    return context
