"""Read-only pages of alerts; acknowledging goes through the service."""

from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, CharField, Func, Model, QuerySet, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline

from controlplane.alerts.models import Alert, ChannelHealth, Delivery
from controlplane.audit.admin import ReadOnlyAdmin
from controlplane.audit.pages import find_by_words

DELIVERY = ("channel", "kind", "round", "state", "attempts", "next_at", "sent_at", "error")


class HoldsWords(Func):
    """Whether the text holds all the words, by the index alerts_alert_words."""

    template = "to_tsvector('simple', text) @@ plainto_tsquery('simple', %(expressions)s)"
    output_field = BooleanField()


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
        "seen",
        "code",
        "scope",
        "text",
        "owner",
        "escalated_at",
        "resolved_at",
    )
    list_filter = ("severity", ("resolved_at", admin.EmptyFieldListFilter))
    search_fields = ("code", "scope", "correlation_id")
    search_help_text = "A code, a scope or a correlation id, exactly, or words of the text"
    ordering = ("-id",)
    inlines = (DeliveryInline,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        text = search_term.strip()
        found, _ = super().get_search_results(request, queryset, text)
        if not text or found.exists():
            return found, False
        return find_by_words(queryset, HoldsWords(Value(text, output_field=CharField()))), False

    @admin.display(description="seen by")
    def seen(self, alert: Alert) -> str:
        """Who has seen it, or the way to say so."""
        if alert.acknowledged_by:
            return alert.acknowledged_by
        return format_html('<a href="{}">I have seen it</a>', reverse("alert_seen", args=[alert.pk]))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("alert", *DELIVERY)
    list_filter = ("state",)
    list_select_related = ("alert",)
    ordering = ("-pk",)


@admin.register(ChannelHealth)
class ChannelHealthAdmin(ReadOnlyAdmin):
    list_display = ("channel", "sent_at", "failing_since", "error")
    list_filter = (("failing_since", admin.EmptyFieldListFilter),)
    ordering = ("channel",)
