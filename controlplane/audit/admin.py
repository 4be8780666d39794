"""Read-only pages of the log: evidence is looked at, never edited."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from controlplane.audit.models import AuditEvent, AuditHead, Seal


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Nothing can be added, changed, deleted or acted upon."""

    actions = None
    # Counting a table of a million rows costs more than reading a page of it.
    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50
    list_fullwidth = True

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = (
        "seq",
        "occurred_at",
        "action",
        "actor",
        "actor_kind",
        "subject_type",
        "subject_id",
        "reason",
    )
    list_filter = ("actor_kind", "environment", "occurred_at")
    search_fields = ("=seq", "action", "actor", "subject_id", "correlation_id", "hash__startswith")
    ordering = ("-seq",)
    fields = (*list_display, "correlation_id", "environment", "body", "prev_hash", "hash")


@admin.register(Seal)
class SealAdmin(ReadOnlyAdmin):
    list_display = ("event", "stream", "first_id", "last_id", "row_count", "digest")
    list_filter = ("stream",)
    list_select_related = ("event",)
    search_fields = ("stream", "digest__startswith")
    ordering = ("-event",)


@admin.register(AuditHead)
class AuditHeadAdmin(ReadOnlyAdmin):
    list_display = ("seq", "hash", "occurred_at")
