"""Django Unfold's hooks: the environment on every page, the first page, what the header shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

LABELS = {"paper": ("Paper", "info"), "demo": ("Demo", "warning"), "live": ("LIVE", "danger")}


def environment_callback(request: HttpRequest) -> tuple[str, str]:
    """The coloured label of every page."""
    return LABELS[settings.TRADING_ENVIRONMENT]


def global_callback(request: HttpRequest) -> dict[str, Any]:
    """What every page needs to know: the desk's state, what the person may press, which limits are raised."""
    from controlplane.approvals.core import MEASURING_ROLES, STOPPING_ROLES
    from controlplane.approvals.selectors import list_roles
    from controlplane.dashboard.strip import gather_strip
    from risk.overrides import list_active_overrides

    roles = list_roles(request.user) if request.user.is_authenticated else frozenset()
    return {
        "may_stop": not STOPPING_ROLES.isdisjoint(roles),
        "may_measure": not MEASURING_ROLES.isdisjoint(roles),
        "strip": gather_strip() if request.user.is_authenticated else None,
        "raised_limits": list_active_overrides().count() if request.user.is_authenticated else 0,
    }


def dashboard_callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    from controlplane.dashboard.page import gather_page

    context["title"] = "Overview"
    context["page"] = gather_page()
    return context
