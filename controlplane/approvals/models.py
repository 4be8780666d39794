"""Who is designated to what, the tokens of outside programs, second factors, and what is asked and voted.

Votes, uses of a second factor and changes of credentials are append-only (triggers and grants).
A request moves along its transitions only, under a trigger that counts the votes itself.
"""

import json
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Length, Now, Trim
from django.db.models.lookups import GreaterThanOrEqual

from controlplane.approvals.core import MIN_REASON, SOLO_DELAY, Mode, RequestState, Role, VoteDecision

ROLE_CHOICES = [(role.value, role.value) for role in Role]
MODE_CHOICES = [(mode.value, mode.value) for mode in Mode]
STATE_CHOICES = [(state.value, state.value) for state in RequestState]
DECISION_CHOICES = [(decision.value, decision.value) for decision in VoteDecision]
# Spaces around it are no reason.
SAYS_WHY = GreaterThanOrEqual(Length(Trim(models.F("reason"))), MIN_REASON)


class Designation(models.Model):
    """A person holds a role from one moment to another; a designation is ended, never deleted."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="designations")
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)
    designated_by = models.CharField(max_length=150)
    valid_from = models.DateTimeField(db_default=Now())
    valid_to = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="designation_one_open", fields=("user", "role"), condition=Q(valid_to__isnull=True)
            ),
            models.CheckConstraint(
                name="designation_known_role", condition=Q(role__in=[role.value for role in Role])
            ),
            models.CheckConstraint(
                name="designation_ends_after_start",
                condition=Q(valid_to__isnull=True) | Q(valid_to__gte=models.F("valid_from")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"


class ApiToken(models.Model):
    """An outside program's key. Only the SHA-256 is kept; the token is shown once."""

    name = models.SlugField(max_length=40)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens")
    token_sha256 = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "API token"
        constraints = (
            models.UniqueConstraint(
                name="apitoken_one_living", fields=("name",), condition=Q(revoked_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return self.name


class SecondFactor(models.Model):
    """A person's TOTP secret (base32)."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="second_factor"
    )
    totp_secret = models.CharField(max_length=64)
    enrolled_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"second factor of {self.user}"


class IdempotentAnswer(models.Model):
    """The first answer to a request that carried an Idempotency-Key, given again to its repetitions.

    A row without a status is a request still in progress, or one whose process died.
    """

    owner = models.CharField(max_length=64)
    key = models.CharField(max_length=128)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    content_type = models.CharField(max_length=60, blank=True)
    body = models.TextField(blank=True)
    claimed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(name="idempotent_key_once", fields=("owner", "key")),)
        indexes = (models.Index(name="idempotent_age", fields=("claimed_at",)),)

    def __str__(self) -> str:
        return self.key


class ApprovalMode(models.Model):
    """How this desk approves. One row, written at first start; no row means that nothing can be asked."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    mode = models.CharField(max_length=4, choices=MODE_CHOICES)
    since_at = models.DateTimeField(db_default=Now())
    set_by = models.CharField(max_length=170)

    class Meta:
        verbose_name = "approval mode"
        constraints = (
            models.CheckConstraint(name="approvalmode_one_row", condition=Q(id=1)),
            models.CheckConstraint(
                name="approvalmode_known", condition=Q(mode__in=[mode.value for mode in Mode])
            ),
        )

    def __str__(self) -> str:
        return self.mode


class ApprovalRequest(models.Model):
    """What somebody asks others to approve: a subject that never changes, named by its digest.

    `subject_text` is canonical JSON. `proposer` is the person behind it (for a token, the token's
    user); guards and the system have none. Only state, version, approved_digest and closed_at move.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    kind = models.CharField(max_length=60)
    subject_text = models.TextField()
    digest = models.CharField(max_length=64)
    approved_digest = models.CharField(max_length=64, blank=True, default="")
    proposer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="approval_requests"
    )
    proposer_name = models.CharField(max_length=170)
    reason = models.TextField()
    mode = models.CharField(max_length=4, choices=MODE_CHOICES)
    required_approvals = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=9, choices=STATE_CHOICES, default=RequestState.PROPOSED.value)
    version = models.PositiveIntegerField(default=1)
    proposed_at = models.DateTimeField(db_default=Now())
    approve_by = models.DateTimeField()
    execute_by = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(name="request_reason_says_why", condition=SAYS_WHY),
            models.CheckConstraint(
                name="request_known_state", condition=Q(state__in=[state.value for state in RequestState])
            ),
            models.CheckConstraint(
                name="request_known_mode", condition=Q(mode__in=[mode.value for mode in Mode])
            ),
            models.CheckConstraint(name="request_needs_somebody", condition=Q(required_approvals__gte=1)),
            models.CheckConstraint(
                name="request_approved_as_asked",
                condition=~Q(state__in=["approved", "executed"]) | Q(approved_digest=models.F("digest")),
            ),
            models.CheckConstraint(
                name="request_times_in_order",
                condition=Q(approve_by__gt=models.F("proposed_at"))
                & Q(execute_by__gte=models.F("approve_by")),
            ),
        )
        indexes = (
            models.Index(
                name="request_open", fields=("kind",), condition=Q(state__in=["proposed", "approved"])
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {str(self.pk)[:8]}"

    @property
    def subject(self) -> dict[str, Any]:
        """The subject as plain JSON: texts, whole numbers, lists and mappings."""
        return dict(json.loads(self.subject_text))


class Vote(models.Model):
    """Append-only: what one person said of one digest.

    A trigger copies proposer, proposed_at and mode from the request and sets decided_at, so that the
    constraint below judges facts and not claims.
    """

    request = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, related_name="votes")
    proposer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    proposed_at = models.DateTimeField(db_default=Now())
    mode = models.CharField(max_length=4, choices=MODE_CHOICES)
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="votes")
    decision = models.CharField(max_length=7, choices=DECISION_CHOICES)
    digest = models.CharField(max_length=64)
    reason = models.TextField()
    step_up_at = models.DateTimeField()
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(name="vote_once", fields=("request", "approver", "digest", "decision")),
            models.CheckConstraint(name="vote_reason_says_why", condition=SAYS_WHY),
            models.CheckConstraint(
                name="vote_known_decision",
                condition=Q(decision__in=[decision.value for decision in VoteDecision]),
            ),
            models.CheckConstraint(
                name="vote_not_by_the_proposer",
                condition=Q(proposer__isnull=True)
                | ~Q(approver=models.F("proposer"))
                | (Q(mode="solo") & Q(decided_at__gte=models.F("proposed_at") + SOLO_DELAY)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.approver}: {self.decision}"


class SecondFactorUse(models.Model):
    """Append-only: a code is good for one action on one digest, once."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="second_factor_uses"
    )
    step = models.BigIntegerField()
    action = models.CharField(max_length=60)
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(name="second_factor_use_once", fields=("user", "step")),)

    def __str__(self) -> str:
        return f"{self.user}: {self.action}"


class CredentialChange(models.Model):
    """Append-only, written by triggers: when a password, second factor, designation or account changed.

    It starts the cooling-off whichever way the change was made. No foreign key: it outlives what it
    tells of. `what` is password, second_factor, activation or designation (then with its role).
    """

    user_id = models.BigIntegerField()
    what = models.CharField(max_length=13)
    role = models.CharField(max_length=10, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="credential_change_of", fields=("user_id", "-changed_at")),)

    def __str__(self) -> str:
        return f"{self.what} of {self.user_id}"
