"""Who may do what: looked at here, changed through services."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import display

from controlplane.approvals.core import OPEN_STATES, Mode
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import (
    ApiToken,
    ApprovalMode,
    ApprovalRequest,
    CredentialChange,
    Designation,
    SecondFactor,
    SecondFactorUse,
    Vote,
)
from controlplane.approvals.selectors import list_roles
from controlplane.audit.admin import ReadOnlyAdmin

STATES = {
    "proposed": "warning",
    "approved": "info",
    "executed": "success",
    "rejected": "danger",
    "withdrawn": "info",
    "expired": "info",
}

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ("username", "roles", "has_second_factor", "is_active", "last_login")
    fields = (
        "username",
        "roles",
        "has_second_factor",
        "is_active",
        "is_staff",
        "groups",
        "last_login",
        "date_joined",
    )
    readonly_fields = fields
    ordering = ("username",)

    @admin.display(description="designated as")
    def roles(self, user: User) -> str:
        return ", ".join(sorted(role.value for role in list_roles(user)))

    @admin.display(description="second factor", boolean=True)
    def has_second_factor(self, user: User) -> bool:
        return SecondFactor.objects.filter(user=user).exists()


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    list_display = ("name",)
    ordering = ("name",)


@admin.register(Designation)
class DesignationAdmin(ReadOnlyAdmin):
    list_display = ("user", "role", "designated_by", "valid_from", "valid_to")
    list_select_related = ("user",)
    list_filter = ("role", ("valid_to", admin.EmptyFieldListFilter))
    ordering = ("user__username", "role", "id")


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "scopes", "created_at", "last_used_at", "revoked_at")
    fields: Any = list_display
    list_select_related = ("user",)
    ordering = ("name", "-id")


@admin.register(SecondFactor)
class SecondFactorAdmin(ReadOnlyAdmin):
    list_display = ("user", "enrolled_at")
    fields: Any = list_display
    list_select_related = ("user",)
    ordering = ("user__username",)


@admin.register(ApprovalMode)
class ApprovalModeAdmin(ReadOnlyAdmin):
    list_display = ("mode", "in_words", "since_at", "set_by")
    fields: Any = list_display
    readonly_fields = ("in_words",)

    @admin.display(description="approved by")
    def in_words(self, row: ApprovalMode) -> str:
        return Mode(row.mode).words


class VoteInline(TabularInline):  # type: ignore[misc]
    model = Vote
    fk_name = "request"
    fields = readonly_fields = ("approver", "decision", "reason", "step_up_at", "decided_at", "digest")
    ordering = ("id",)
    extra = 0
    can_delete = False

    def has_add_permission(self, *_: Any) -> bool:
        return False


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(ReadOnlyAdmin):
    """Facts only; the links lead to pages that ask before they do anything."""

    list_display = ("proposed_at", "kind", "shown_state", "proposer_name", "approval", "reason", "approve_by")
    list_filter = ("state", "kind", "mode")
    search_fields = ("digest__startswith", "proposer_name")
    ordering = ("-proposed_at",)
    inlines = (VoteInline,)
    fields = (
        "what_can_be_done",
        "kind",
        "shown_state",
        "shown_subject",
        "digest",
        "approved_digest",
        "proposer_name",
        "reason",
        "approval",
        "required_approvals",
        "proposed_at",
        "approve_by",
        "execute_by",
        "closed_at",
    )
    readonly_fields = fields

    @display(description="state", label=STATES, ordering="state")  # type: ignore[untyped-decorator]
    def shown_state(self, row: ApprovalRequest) -> str:
        return row.state

    @admin.display(description="subject")
    def shown_subject(self, row: ApprovalRequest) -> SafeString:
        shown = json.dumps(row.subject, indent=2, ensure_ascii=False)
        return format_html('<pre style="white-space:pre-wrap;word-break:break-word">{}</pre>', shown)

    @admin.display(description="approved by")
    def approval(self, row: ApprovalRequest) -> str:
        return Mode(row.mode).words

    @admin.display(description="what can be done")
    def what_can_be_done(self, row: ApprovalRequest) -> SafeString | str:
        if row.state not in OPEN_STATES:
            return "nothing: it is closed"
        verbs = ["approve", "reject", "revoke", "withdraw"]
        if KINDS.get(row.kind).effect is None:
            verbs.append("activate")
        links = ((reverse("request_decide", args=[row.pk, verb]), verb) for verb in verbs)
        return format_html_join(" · ", '<a href="{}">{}…</a>', links)


@admin.register(Vote)
class VoteAdmin(ReadOnlyAdmin):
    list_display = ("decided_at", "request", "approver", "decision", "reason", "mode")
    list_filter = ("decision", "mode")
    list_select_related = ("request", "approver")
    ordering = ("-id",)


@admin.register(SecondFactorUse)
class SecondFactorUseAdmin(ReadOnlyAdmin):
    list_display = ("used_at", "user", "action", "digest")
    list_select_related = ("user",)
    ordering = ("-id",)


@admin.register(CredentialChange)
class CredentialChangeAdmin(ReadOnlyAdmin):
    list_display = ("changed_at", "person", "what", "role")
    list_filter = ("what",)
    ordering = ("-id",)

    @admin.display(description="person")
    def person(self, row: CredentialChange) -> str:
        user = User.objects.filter(pk=row.user_id).first()
        return f"person {row.user_id}" if user is None else user.get_username()
