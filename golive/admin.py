"""Pre-flight runs, programmes, activations, rollbacks and what they stand on: evidence, to be read."""

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
PRE = '<pre style="white-space:pre-wrap;word-break:break-word">{}</pre>'


def show_json(value: object) -> SafeString:
    return format_html(PRE, json.dumps(value, indent=2, ensure_ascii=False))


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
        return show_json(row.details)


@admin.register(models.Canary)
class CanaryAdmin(ReadOnlyAdmin):
    list_display = ("nonce", "asked_at", "answered_at", "answered_by")
    ordering = ("-asked_at",)


@admin.register(models.StressResult)
class StressResultAdmin(ReadOnlyAdmin):
    list_display = ("scenario", "is_passed", "code_version", "environment", "finished_at")
    list_filter = ("scenario", "is_passed")
    ordering = ("-id",)


PHASES = {
    "validation": "info",
    "freeze": "info",
    "activation": "warning",
    "observation": "warning",
    "handover": "success",
}
STATES = {
    "open": "warning",
    "observing": "warning",
    "confirmed": "success",
    "superseded": "info",
    "withdrawn": "info",
    "rolled_back": "danger",
    "running": "warning",
    "done": "success",
    "failed": "danger",
}
GUARD_VERDICTS = {"pass": "success", "fail": "danger", "inconclusive": "warning", "error": "danger"}
RECOMMENDATIONS = {"promote": "success", "hold": "warning", "demote": "danger"}


@admin.register(models.GoLiveConfig)
class GoLiveConfigAdmin(ReadOnlyAdmin):
    list_display = ("id", "__str__", "environment", "activation_enabled", "loaded_by", "reason", "loaded_at")
    search_fields = ("digest__startswith",)
    ordering = ("-id",)


@admin.register(models.Freeze)
class FreezeAdmin(ReadOnlyAdmin):
    list_display = ("id", "__str__", "short_code_version", "taken_by", "taken_at")
    fields: Any = ("digest", "shown_groups", "code_version", "taken_by", "taken_at", "body")
    readonly_fields = ("shown_groups",)
    search_fields = ("digest__startswith", "code_version__startswith")
    ordering = ("-id",)

    @admin.display(description="code version")
    def short_code_version(self, row: models.Freeze) -> str:
        return row.code_version[:12]

    @admin.display(description="groups")
    def shown_groups(self, row: models.Freeze) -> SafeString:
        return show_json(row.groups)


@admin.register(models.Programme)
class ProgrammeAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "profile", "shown_phase", "shown_state", "opened_by", "opened_at")
    list_filter = ("state", "phase", "profile")
    list_select_related = ("account",)
    search_fields = ("account__name",)
    ordering = ("-id",)

    @display(description="phase", label=PHASES, ordering="phase")  # type: ignore[untyped-decorator]
    def shown_phase(self, row: models.Programme) -> str:
        return row.phase

    @display(description="state", label=STATES, ordering="state")  # type: ignore[untyped-decorator]
    def shown_state(self, row: models.Programme) -> str:
        return row.state


@admin.register(models.Activation)
class ActivationAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "account",
        "profile",
        "shown_state",
        "requested_by",
        "shown_approved_by",
        "activated_by",
        "approval_words",
        "activated_at",
        "ended_at",
    )
    list_filter = ("state", "profile")
    list_select_related = ("account",)
    search_fields = ("account__name", "request_digest__startswith")
    ordering = ("-id",)

    @display(description="state", label=STATES, ordering="state")  # type: ignore[untyped-decorator]
    def shown_state(self, row: models.Activation) -> str:
        return row.state

    @admin.display(description="approved by")
    def shown_approved_by(self, row: models.Activation) -> str:
        return ", ".join(row.approved_by)


class VerdictAdmin(ReadOnlyAdmin):
    """A row of a guard's verdict on an activation."""

    list_filter = ("verdict",)
    list_select_related = ("activation__account",)
    ordering = ("-id",)

    @display(description="verdict", label=GUARD_VERDICTS, ordering="verdict")  # type: ignore[untyped-decorator]
    def shown_verdict(self, row: Any) -> str:
        return str(row.verdict)


@admin.register(models.Observation)
class ObservationAdmin(VerdictAdmin):
    list_display = ("id", "activation", "minute", "shown_verdict", "due_market_at", "market_at", "taken_at")
    fields: Any = (*list_display, "shown_guards", "shown_facts")
    readonly_fields = fields

    @admin.display(description="guards")
    def shown_guards(self, row: models.Observation) -> SafeString:
        return show_json(row.guards)

    @admin.display(description="facts")
    def shown_facts(self, row: models.Observation) -> SafeString:
        return show_json(row.facts)


@admin.register(models.GuardCount)
class GuardCountAdmin(VerdictAdmin):
    list_display = (
        "activation",
        "guard",
        "shown_verdict",
        "fails",
        "inconclusives",
        "errors",
        "measured",
        "threshold",
        "checked_at",
    )


@admin.register(models.GuardTrip)
class GuardTripAdmin(VerdictAdmin):
    list_display = ("at", "activation", "guard", "shown_verdict", "measured", "threshold", "market_at")


@admin.register(models.Hold)
class HoldAdmin(ReadOnlyAdmin):
    list_display = ("account", "reason", "since_at", "released_at", "release_request")
    list_filter = (("released_at", admin.EmptyFieldListFilter),)
    list_select_related = ("account",)
    ordering = ("-id",)


@admin.register(models.Rollback)
class RollbackAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "shown_state", "trigger", "actor", "reason", "started_at", "finished_at")
    list_filter = ("state", "trigger")
    list_select_related = ("account",)
    search_fields = ("account__name",)
    ordering = ("-id",)
    fields: Any = (
        *list_display,
        "from_limit_set_digest",
        "to_limit_set_digest",
        "is_clamped",
        "shown_steps",
        "shown_impact",
        "market_at",
        "resolved_by",
    )
    readonly_fields = fields

    @display(description="state", label=STATES, ordering="state")  # type: ignore[untyped-decorator]
    def shown_state(self, row: models.Rollback) -> str:
        return row.state

    @admin.display(description="steps")
    def shown_steps(self, row: models.Rollback) -> SafeString:
        return show_json(row.steps)

    @admin.display(description="impact")
    def shown_impact(self, row: models.Rollback) -> SafeString:
        return show_json(row.impact)


@admin.register(models.ChecklistSignature)
class ChecklistSignatureAdmin(ReadOnlyAdmin):
    list_display = ("signed_at", "programme", "line", "is_met", "signed_by", "note")
    list_filter = ("is_met", "line")
    list_select_related = ("programme__account",)
    ordering = ("-id",)


@admin.register(models.Evaluation)
class EvaluationAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "profile", "shown_recommendation", "market_at", "evaluated_at")
    list_filter = ("recommendation", "profile")
    list_select_related = ("account",)
    ordering = ("-id",)
    fields: Any = (*list_display, "shown_criteria", "code_version")
    readonly_fields = fields

    @display(description="recommendation", label=RECOMMENDATIONS, ordering="recommendation")  # type: ignore[untyped-decorator]
    def shown_recommendation(self, row: models.Evaluation) -> str:
        return row.recommendation

    @admin.display(description="criteria")
    def shown_criteria(self, row: models.Evaluation) -> SafeString:
        return show_json(row.criteria)


@admin.register(models.ValidationReport)
class ValidationReportAdmin(ReadOnlyAdmin):
    list_display = ("id", "__str__", "programme", "run_id", "made_at")
    list_select_related = ("programme__account",)
    search_fields = ("digest__startswith",)
    ordering = ("-id",)
    fields: Any = ("digest", "programme", "run_id", "made_at", "text")
    readonly_fields = fields

    @admin.display(description="report")
    def text(self, row: models.ValidationReport) -> SafeString:
        return format_html(PRE, row.markdown)


@admin.register(models.UptimeSlot)
class UptimeSlotAdmin(ReadOnlyAdmin):
    list_display = ("slot_at", "account", "is_up", "worker_age", "data_age", "book_age")
    list_filter = ("is_up",)
    list_select_related = ("account",)
    ordering = ("-id",)


@admin.register(models.Demotion)
class DemotionAdmin(ReadOnlyAdmin):
    list_display = ("at", "account", "from_profile", "to_profile", "barred_until", "restriction")
    list_select_related = ("account", "restriction")
    ordering = ("-id",)
