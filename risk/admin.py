"""Judgements, limits and stops: evidence, to be read."""

import json
from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import display

from controlplane.audit.admin import ReadOnlyAdmin
from risk import models
from risk.selectors import list_breaches
from trading.admin import money

VERDICTS = {"allowed": "success", "denied": "danger"}
LEVELS = {"OK": "success", "WARNING": "warning", "CRITICAL": "danger"}
PROGRESS = {"STOPPED": "success", "STOPPING": "danger"}
STEPS = {"done": "success", "pending": "info", "retrying": "warning", "failed": "danger"}


@admin.register(models.Decision)
class DecisionAdmin(ReadOnlyAdmin):
    list_display = ("id", "decided_at", "verdict", "reason", "account", "intent", money("max_quantity"))
    list_filter = ("account", "allowed")
    search_fields = ("=id", "=intent__client_ref")
    search_help_text = "Decision id or client reference, exactly"
    list_select_related = ("account", "intent")
    ordering = ("-id",)
    fields = (
        "intent",
        "account",
        "verdict",
        "reason",
        "what_was_breached",
        "max_quantity",
        "what_was_known",
        "what_each_rule_said",
        "limit_set_digest",
        "account_version",
        "code_version",
        "market_at",
        "decided_at",
    )
    readonly_fields = fields

    @display(description="verdict", label=VERDICTS, ordering="allowed")  # type: ignore[untyped-decorator]
    def verdict(self, row: models.Decision) -> str:
        return "allowed" if row.allowed else "denied"

    @admin.display(description="breaches")
    def what_was_breached(self, row: models.Decision) -> SafeString | str:
        return (
            format_html_join(
                "",
                "<p><b>{}</b>: measured {}, limit {}. {}</p>",
                (
                    (item["code"], item["measured"], item["limit"], item["text"])
                    for item in list_breaches(row)
                ),
            )
            or "none"
        )

    @admin.display(description="inputs")
    def what_was_known(self, row: models.Decision) -> SafeString:
        return _show_json(row.inputs)

    @admin.display(description="rules")
    def what_each_rule_said(self, row: models.Decision) -> SafeString:
        return _show_json(row.outcomes)


def _show_json(text: str) -> SafeString:
    shown = json.dumps(json.loads(text or "{}"), indent=2)
    return format_html('<pre style="white-space:pre-wrap;word-break:break-word">{}</pre>', shown)


@admin.register(models.LimitSet)
class LimitSetAdmin(ReadOnlyAdmin):
    list_display = (
        "profile",
        "digest",
        money("max_position_notional"),
        money("max_leverage"),
        "max_positions",
        "max_trades_per_day",
        "loaded_by",
        "loaded_at",
    )
    list_filter = ("profile",)
    search_fields = ("digest__startswith",)
    ordering = ("-id",)


@admin.register(models.AccountBook)
class AccountBookAdmin(ReadOnlyAdmin):
    list_display = ("account", "version", "minute_started_at", "minute_count")
    list_select_related = ("account",)
    ordering = ("account__name",)


@admin.register(models.GlobalRisk)
class GlobalRiskAdmin(ReadOnlyAdmin):
    list_display = ("since_at", "checked_at", "shown_level", "reasons", "market_at")
    list_filter = ("level",)
    ordering = ("-id",)

    @display(description="level", label=LEVELS, ordering="level")  # type: ignore[untyped-decorator]
    def shown_level(self, row: models.GlobalRisk) -> str:
        return str(row.level)


class StopStepInline(TabularInline):  # type: ignore[misc]
    model = models.StopStep
    fields = readonly_fields = (
        "venue",
        "account",
        "symbol",
        "action",
        "subject",
        "status",
        "attempts",
        "detail",
        "updated_at",
    )
    ordering = ("id",)
    extra = 0
    can_delete = False

    def has_add_permission(self, *_: Any) -> bool:
        return False


@admin.register(models.StopEvent)
class StopEventAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "tripped_at",
        "scope",
        "shown_progress",
        "source",
        "actor",
        "reason",
        "stopped_at",
        "ended_at",
    )
    list_filter = ("source", "progress", ("ended_at", admin.EmptyFieldListFilter))
    search_fields = ("scope__startswith",)
    ordering = ("-id",)
    inlines = (StopStepInline,)

    @display(description="progress", label=PROGRESS, ordering="progress")  # type: ignore[untyped-decorator]
    def shown_progress(self, row: models.StopEvent) -> str:
        return str(row.progress)


@admin.register(models.StopStep)
class StopStepAdmin(ReadOnlyAdmin):
    list_display = (
        "event",
        "venue",
        "account",
        "symbol",
        "action",
        "shown_status",
        "attempts",
        "detail",
        "updated_at",
    )
    list_filter = ("status", "action")
    list_select_related = ("event",)
    ordering = ("-id",)

    @display(description="status", label=STEPS, ordering="status")  # type: ignore[untyped-decorator]
    def shown_status(self, row: models.StopStep) -> str:
        return str(row.status)
