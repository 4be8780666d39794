"""The site's addresses."""

from django.contrib import admin
from django.urls import path, re_path

from controlplane.api import api
from controlplane.problems import not_found

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    re_path(r"^api/", not_found),
]
