"""The site's addresses."""

from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView

from controlplane.api import api
from controlplane.dashboard import (
    alerts,
    audit_export,
    golive,
    golive_presses,
    positions,
    preflight,
    rearm,
    requests,
    restrictions,
    throttles,
)
from controlplane.dashboard.stop import confirm_stop, show_stop
from controlplane.dashboard.strip import show_strip
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
    path("admin/strip/", show_strip, name="desk_strip"),
    path("admin/audit-export/", admin.site.admin_view(audit_export.export_log), name="audit_export"),
    path("admin/positions/", admin.site.admin_view(positions.show_all), name="positions"),
    path(
        "admin/positions/<slug:account>/<slug:venue>/<slug:symbol>/close/",
        admin.site.admin_view(positions.close),
        name="position_close",
    ),
    path("admin/closings/<uuid:intent_id>/", admin.site.admin_view(positions.show_closing), name="closing"),
    path("admin/restrictions/", admin.site.admin_view(restrictions.show_all), name="restrictions"),
    path(
        "admin/restrictions/<int:restriction_id>/",
        admin.site.admin_view(restrictions.say),
        name="restriction",
    ),
    path("admin/golive/", admin.site.admin_view(golive.show_all), name="golive"),
    path(
        "admin/golive/account/<slug:account>/",
        admin.site.admin_view(golive.show_account),
        name="golive_account",
    ),
    path(
        "admin/golive/account/<slug:account>/sign/<slug:line>/",
        admin.site.admin_view(golive_presses.sign),
        name="golive_sign",
    ),
    path(
        "admin/golive/account/<slug:account>/<slug:verb>/",
        admin.site.admin_view(golive_presses.press),
        name="golive_press",
    ),
    path("admin/stop/", admin.site.admin_view(confirm_stop), name="stop"),
    path("admin/stop/<int:event_id>/", admin.site.admin_view(show_stop), name="stop_event"),
    path("admin/stop/<int:event_id>/rearm/", admin.site.admin_view(rearm.rearm), name="stop_rearm"),
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
