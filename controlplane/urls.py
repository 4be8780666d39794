"""The site's addresses."""

from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView

from controlplane.api import api
from controlplane.dashboard import alerts, preflight, requests, throttles
from controlplane.dashboard.stop import confirm_stop, show_stop
from controlplane.dashboard.views import show_live
from controlplane.health import show_liveness, show_readiness
from controlplane.observability import show_metrics
from controlplane.problems import not_found
from controlplane.sign_in_guard import change_own_password

urlpatterns = [
    path("health/live", show_liveness, name="health_live"),
    path("health/ready", show_readiness, name="health_ready"),
    path("metrics", show_metrics, name="metrics"),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url="/static/controlplane/icon.svg")),
    path("admin/live/", show_live, name="desk_live"),
    path("admin/stop/", admin.site.admin_view(confirm_stop), name="stop"),
    path("admin/stop/<int:event_id>/", admin.site.admin_view(show_stop), name="stop_event"),
    path("admin/preflight/", admin.site.admin_view(preflight.start), name="preflight_start"),
    path(
        "admin/requests/<uuid:request_id>/<slug:verb>/",
        admin.site.admin_view(requests.decide),
        name="request_decide",
    ),
    path(
        "admin/throttles/<int:activity_id>/",
        admin.site.admin_view(throttles.reenable),
        name="throttle_reenable",
    ),
    path("admin/alerts/<int:alert_id>/seen/", admin.site.admin_view(alerts.acknowledge), name="alert_seen"),
    path("admin/password_change/", admin.site.admin_view(change_own_password)),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    re_path(r"^api/", not_found),
]
