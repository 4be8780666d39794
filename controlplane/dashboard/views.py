"""The live part of the first page."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from controlplane.dashboard import global_callback
from controlplane.dashboard.page import gather_page


@never_cache
@require_safe
def show_live(request: HttpRequest) -> HttpResponse:
    """The page's facts again, for the poll; somebody whose session has ended is sent to sign in."""
    if not admin.site.has_permission(request):
        response = HttpResponse(status=204)
        response["HX-Redirect"] = reverse("admin:login")
        return response
    context = {"page": gather_page(), **global_callback(request)}
    return TemplateResponse(request, "desk/live.html", context)
