"""Slows the guessing of passwords down, and lets people change their own as an audited act.

Failures are counted in the memory of the process, by the name and the address together and by the
address alone: a stranger elsewhere locks nobody out. While somebody must wait, no password is looked at
and one event tells of it; what is never behind a sign-in is the stop by command.
"""

import math
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from controlplane.approvals.selectors import actor_of_user
from controlplane.approvals.services import set_password
from controlplane.audit import services as audit
from controlplane.rate_limits import Allowance

# (failures, seconds): so many at once, and as many in that time on average.
BY_NAME_AND_ADDRESS = (5, 300)
BY_ADDRESS = (30, 300)
EVENTS = (1, 60)
LONGEST_NAME = 150
TOO_MANY = "too_many_attempts"
OWN_PASSWORD = "own password, changed in the admin"  # noqa: S105

_failures = Allowance("sign_in")
_events = Allowance("sign_in_events")


class SignInForm(AuthenticationForm):  # type: ignore[misc]
    """The admin's form; whoever failed too often waits before the next password is looked at."""

    def clean(self) -> dict[str, Any]:
        address = str(self.request.META.get("REMOTE_ADDR", ""))
        name = str(self.cleaned_data.get("username", ""))[:LONGEST_NAME]
        pair = f"{address} {name.casefold()}"
        wait = max(
            _failures.seconds_until(pair, BY_NAME_AND_ADDRESS), _failures.seconds_until(address, BY_ADDRESS)
        )
        if wait:
            _record_waiting(address, name)
            raise ValidationError(
                f"{too_many(wait)} The emergency stop by command needs no sign-in.", code=TOO_MANY
            )
        try:
            return dict(super().clean())
        except ValidationError:
            _failures.take(pair, BY_NAME_AND_ADDRESS)
            _failures.take(address, BY_ADDRESS)
            raise


def too_many(wait: float) -> str:
    return f"Too many failed attempts. Try again in {math.ceil(wait)} seconds."


def _record_waiting(address: str, name: str) -> None:
    """One event a minute and address, however often somebody knocks."""
    if _events.take(address, EVENTS) > 0:
        return
    with transaction.atomic():
        audit.record(
            action="approvals.sign_in.denied",
            actor="system:unknown",
            subject_type="user",
            subject_id=name or "unknown",
            detail={"code": TOO_MANY, "address": address},
        )


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]
    """Old password, new password twice."""

    user: User

    def clean_old_password(self) -> str:
        """A session somebody else got hold of guesses no faster than a sign-in."""
        key = f"own password of {self.user.pk}"
        if wait := _failures.seconds_until(key, BY_NAME_AND_ADDRESS):
            raise ValidationError(too_many(wait), code=TOO_MANY)
        try:
            return str(super().clean_old_password())
        except ValidationError:
            _failures.take(key, BY_NAME_AND_ADDRESS)
            raise

    def save(self, commit: bool = True) -> User:
        set_password(
            user=self.user,
            password=self.cleaned_data["new_password1"],
            actor=actor_of_user(self.user),
            reason=OWN_PASSWORD,
        )
        return self.user


def change_own_password(request: HttpRequest) -> HttpResponseBase:
    """The admin's page of that name; other sessions of the person end with the old password."""
    view = PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        success_url=reverse("admin:password_change_done"),
        extra_context=admin.site.each_context(request),
    )
    return view(request)
