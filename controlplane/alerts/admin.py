"""Read-only pages of alerts; acknowledging goes through the service."""

from typing import Any

from django.contrib import admin
from unfold.admin import TabularInline

from controlplane.alerts.models import Alert, Delivery
from controlplane.audit.admin import ReadOnlyAdmin

DELIVERY = ("channel", "round", "state", "attempts", "next_at", "sent_at", "error")


class DeliveryInline(TabularInline):  # type: ignore[misc]
    model = Delivery
    fields = readonly_fields = DELIVERY
    extra = 0
    can_delete = False

    def has_add_permission(self, *_: Any) -> bool:
        return False


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = (
        "opened_at",
        "severity",
        "code",
        "scope",
        "text",
        "owner",
        "acknowledged_by",
        "resolved_at",
    )
    list_filter = ("severity", "code", ("resolved_at", admin.EmptyFieldListFilter))
    search_fields = ("code", "scope", "text", "correlation_id")
    ordering = ("-opened_at",)
    inlines = (DeliveryInline,)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("alert", *DELIVERY)
    list_filter = ("state",)
    list_select_related = ("alert",)
    ordering = ("-pk",)
