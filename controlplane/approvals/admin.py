"""Who may do what: looked at here, changed through services."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User

from controlplane.approvals.models import ApiToken, Designation, SecondFactor
from controlplane.approvals.selectors import list_roles
from controlplane.audit.admin import ReadOnlyAdmin

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
