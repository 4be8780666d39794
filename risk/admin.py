"""Judgements, limits and stops: evidence, to be read."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import display

from controlplane.audit.admin import ReadOnlyAdmin
from controlplane.audit.pages import Lead
from risk import models
from risk.global_risk import page as global_risk_page
from risk.selectors import list_breaches
from trading.admin import FactAdmin, money
from trading.models import Account

VERDICTS = {"allowed": "success", "denied": "danger"}
LEVELS = {"OK": "success", "WARNING": "warning", "CRITICAL": "danger"}
PROGRESS = {"STOPPED": "success", "STOPPING": "danger"}
STEPS = {"done": "success", "pending": "info", "retrying": "warning", "failed": "danger"}


@admin.register(models.Decision)
class DecisionAdmin(FactAdmin):
    list_display = ("id", "decided_at", "verdict", "reason", "account", "intent", money("max_quantity"))
    list_filter = ("account", "allowed")
    search_fields = ("id", "intent__client_ref")
    search_leads: ClassVar[Mapping[str, Lead]] = {"intent__client_ref": ("intent__account", Account)}
    search_help_text = "Decision id or client reference, exactly"
    list_select_related = ("account", "intent")
    ordering = ("-id",)
    fields = (
        "intent",
        "account",
        "verdict",
        "reason",
        "what_was_breached",
        "requested_quantity",
        "quantity",
        "max_quantity",
        "override_id",
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
class LimitSetAdmin(FactAdmin):
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
    list_display = ("account", "version")
    list_select_related = ("account",)
    ordering = ("account__name",)


@admin.register(models.Override)
class OverrideAdmin(FactAdmin):
    list_display = (
        "starts_at",
        "account",
        "limit",
        money("value"),
        "used",
        "max_uses",
        "expires_at",
        "requested_by",
        "approved_by",
        "ended_at",
    )
    list_filter = ("account", "limit", ("ended_at", admin.EmptyFieldListFilter))
    list_select_related = ("account",)
    ordering = ("-id",)


@admin.register(models.Activity)
class ActivityAdmin(ReadOnlyAdmin):
    list_display = ("account", "strategy", "symbol", "entries", "window_started_at", "throttled_at", "remedy")
    list_filter = ("account", "strategy", ("throttled_at", admin.EmptyFieldListFilter))
    list_select_related = ("account",)
    ordering = ("account__name", "strategy", "symbol")
    fields: Any = (*list_display, "last_signal_at", "last_side")
    readonly_fields = ("remedy",)

    @admin.display(description="what can be done")
    def remedy(self, row: models.Activity) -> SafeString | str:
        if row.throttled_at is None:
            return "nothing: it may enter"
        place = reverse("throttle_reenable", args=[row.pk])
        return format_html('<a href="{}">Let it enter again…</a>', place)


@admin.register(models.Allotment)
class AllotmentAdmin(FactAdmin):
    list_display = ("account", "scope", money("max_notional"), "divided_at")
    list_filter = ("account",)
    list_select_related = ("account",)
    search_fields = ("scope__startswith",)
    ordering = ("scope", "account__name")


@admin.register(models.ExposureLimits)
class ExposureLimitsAdmin(ReadOnlyAdmin):
    list_display = ("digest", "loaded_by", "loaded_at")
    ordering = ("-loaded_at",)


@admin.register(models.Correlation)
class CorrelationAdmin(FactAdmin):
    list_display = ("first", "second", "value", "samples", "computed_at")
    search_fields = ("first__startswith", "second__startswith")
    ordering = ("first", "second")


@admin.register(models.GlobalRisk)
class GlobalRiskAdmin(ReadOnlyAdmin):
    list_display = ("since_at", "checked_at", "shown_level", "gravest", "market_at")
    list_filter = ("level",)
    ordering = ("-id",)
    fields = ("shown_level", "findings", "measures", "last_day", "since_at", "checked_at", "market_at")
    readonly_fields = fields

    @admin.display(description="gravest finding")
    def gravest(self, row: models.GlobalRisk) -> str:
        return global_risk_page.tell_gravest(row)

    @admin.display(description="out of bounds")
    def findings(self, row: models.GlobalRisk) -> SafeString | str:
        return global_risk_page.show_findings(row)

    @admin.display(description="measured")
    def measures(self, row: models.GlobalRisk) -> SafeString | str:
        return global_risk_page.show_measures(row)

    @admin.display(description="the last 24 hours")
    def last_day(self, row: models.GlobalRisk) -> SafeString:
        return global_risk_page.show_day(row)

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


@admin.register(models.Restriction)
class RestrictionAdmin(ReadOnlyAdmin):
    list_display = (
        "scope",
        "cause",
        "reason",
        "since_at",
        "needs_acknowledgement",
        "acknowledged_by",
        "lifted_at",
        "lifted_because",
    )
    list_filter = ("cause", ("lifted_at", admin.EmptyFieldListFilter))
    search_fields = ("scope__startswith",)
    ordering = ("-id",)


@admin.register(models.Watch)
class WatchAdmin(ReadOnlyAdmin):
    list_display = ("trigger", "scope", "measured", "threshold", "breaches", "read_at", "absent_since")
    list_filter = ("trigger",)
    search_fields = ("scope__startswith",)
    ordering = ("trigger", "scope")


@admin.register(models.CapitalBase)
class CapitalBaseAdmin(FactAdmin):
    list_display = ("account", money("equity"), "market_at", "set_by", "set_at", "ended_at", "reason")
    list_filter = ("account", ("ended_at", admin.EmptyFieldListFilter))
    list_select_related = ("account",)
    ordering = ("-id",)


@admin.register(models.RearmCheck)
class RearmCheckAdmin(ReadOnlyAdmin):
    list_display = ("run_id", "account", "environment", "is_passed", "started_at", "finished_at")
    list_filter = ("is_passed", "environment")
    ordering = ("-id",)


@admin.register(models.Drill)
class DrillAdmin(FactAdmin):
    list_display = ("event", "account", "is_passed", "seconds", "finished_at")
    list_filter = ("is_passed", "account")
    list_select_related = ("event",)
    ordering = ("-id",)
