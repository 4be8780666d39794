"""Pre-flight runs and what they measured: evidence, to be read."""

import json
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import display

from controlplane.audit.admin import ReadOnlyAdmin
from golive import models

VERDICTS = {"passed": "success", "failed": "danger", "running": "info"}
STATUSES = {"pass": "success", "fail": "danger", "inconclusive": "warning", "not_applicable": "info"}


class PreflightCheckInline(TabularInline):  # type: ignore[misc]
    model = models.PreflightCheck
    fields = readonly_fields = ("name", "status", "reason", "text", "next_command", "seconds", "is_counted")
    ordering = ("id",)
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, *_: Any) -> bool:
        return False


@admin.register(models.PreflightRun)
class PreflightRunAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "started_at",
        "verdict",
        "purpose",
        "account",
        "passed_count",
        "failed_count",
        "seconds",
        "actor",
        "environment",
    )
    list_filter = ("purpose", "is_passed")
    ordering = ("-id",)
    inlines = (PreflightCheckInline,)

    @display(description="verdict", label=VERDICTS, ordering="is_passed")  # type: ignore[untyped-decorator]
    def verdict(self, row: models.PreflightRun) -> str:
        return {None: "running", True: "passed", False: "failed"}[row.is_passed]


@admin.register(models.PreflightCheck)
class PreflightCheckAdmin(ReadOnlyAdmin):
    list_display = ("run", "name", "shown_status", "reason", "seconds", "next_command")
    list_filter = ("status", "name")
    list_select_related = ("run",)
    ordering = ("-id",)
    fields = (
        "run",
        "name",
        "shown_status",
        "reason",
        "text",
        "next_command",
        "evidence",
        "seconds",
        "is_counted",
        "definition_version",
    )
    readonly_fields = fields

    @display(description="status", label=STATUSES, ordering="status")  # type: ignore[untyped-decorator]
    def shown_status(self, row: models.PreflightCheck) -> str:
        return str(row.status)

    @admin.display(description="evidence")
    def evidence(self, row: models.PreflightCheck) -> SafeString:
        text = json.dumps(row.details, indent=2)
        return format_html('<pre style="white-space:pre-wrap;word-break:break-word">{}</pre>', text)


@admin.register(models.Canary)
class CanaryAdmin(ReadOnlyAdmin):
    list_display = ("nonce", "asked_at", "answered_at", "answered_by")
    ordering = ("-asked_at",)


@admin.register(models.StressResult)
class StressResultAdmin(ReadOnlyAdmin):
    list_display = ("scenario", "is_passed", "code_version", "environment", "finished_at")
    list_filter = ("scenario", "is_passed")
    ordering = ("-id",)
