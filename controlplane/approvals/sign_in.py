"""Sign-ins, sign-outs and failed attempts are events of the audit log."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction

from controlplane.audit import services as audit

UNKNOWN = "unknown"
LONGEST_NAME = 150


def _record(action: str, name: str, detail: dict[str, object] | None = None) -> None:
    with transaction.atomic():
        audit.record(
            action=action, actor=name, subject_type="user", subject_id=name, reason="", detail=detail or {}
        )


def _signed_in(*, user: Any, **_: Any) -> None:
    _record("approvals.sign_in", user.get_username())


def _signed_out(*, user: Any, **_: Any) -> None:
    if user is not None:
        _record("approvals.sign_out", user.get_username())


def _sign_in_failed(*, credentials: dict[str, Any], **_: Any) -> None:
    """The name as typed is detail only: it is a claim, and may be anything."""
    typed = str(credentials.get("username", ""))[:LONGEST_NAME]
    with transaction.atomic():
        audit.record(
            action="approvals.sign_in.denied",
            actor=f"system:{UNKNOWN}",
            subject_type="user",
            subject_id=typed or UNKNOWN,
            reason="",
            detail={"code": "wrong_credentials"},
        )


def connect() -> None:
    """Listen to Django's own sign-in signals; called once, when the app is ready."""
    user_logged_in.connect(_signed_in, dispatch_uid="approvals.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="approvals.signed_out")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="approvals.sign_in_failed")
