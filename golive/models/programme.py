"""Rows of permission: configuration as loaded, what was frozen, the programme, activations, rollbacks.

GoLiveConfig, Freeze, Observation, GuardTrip, ChecklistSignature, Evaluation and ValidationReport are
append-only (triggers and grants): they are evidence. Writers: golive's services.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from golive.core.words import (
    ActivationState,
    GuardVerdict,
    Phase,
    ProgrammeState,
    Recommendation,
    RollbackState,
)
from trading.models import Account, Money, Permit
from trading.models.fields import choices


class GoLiveConfig(models.Model):
    """Append-only: config/go_live.yaml as loaded, a ceiling over every profile; the newest is in force.

    Ratios are parts of one; `body` is the canonical text that the digest names.
    """

    digest = models.CharField(max_length=64, unique=True)
    environment = models.CharField(max_length=10)
    activation_enabled = models.BooleanField()
    required_preflight = models.BooleanField()
    allowed_profiles = models.JSONField()
    default_profile = models.CharField(max_length=10)
    require_testnet_history = models.BooleanField()
    min_testnet_trades = models.PositiveIntegerField()
    require_risk_state = models.CharField(max_length=20)
    require_ess_inactive = models.BooleanField()
    max_position_notional = Money()
    max_leverage = models.DecimalField(max_digits=12, decimal_places=8)
    max_portfolio_risk_ratio = models.DecimalField(max_digits=12, decimal_places=8)
    max_trade_risk_ratio = models.DecimalField(max_digits=12, decimal_places=8)
    body = models.TextField()
    loaded_by = models.CharField(max_length=150)
    reason = models.TextField()
    loaded_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "go-live configuration"

    def __str__(self) -> str:
        return self.digest[:12]


class Freeze(models.Model):
    """Append-only: the canonical snapshot of every group that an activation stands on.

    `groups` maps a group to its digest; `body` is the canonical text of all of them, which the digest names.
    """

    digest = models.CharField(max_length=64)
    groups = models.JSONField()
    body = models.TextField()
    code_version = models.CharField(max_length=64)
    taken_by = models.CharField(max_length=150)
    taken_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.digest[:12]


class Programme(models.Model):
    """One way of one account to one profile through the five phases; at most one is open per account.

    `version` counts the moves: each is a compare-and-swap. Times: `_at` is wall, `_market_at` market time.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="programmes")
    profile = models.CharField(max_length=10)
    phase = models.CharField(max_length=12, choices=choices(Phase), default=Phase.VALIDATION.value)
    state = models.CharField(max_length=12, choices=choices(ProgrammeState), default="open")
    version = models.PositiveIntegerField(default=1)
    freeze = models.ForeignKey(Freeze, on_delete=models.PROTECT, null=True, related_name="programmes")
    request_id = models.UUIDField(null=True)
    opened_by = models.CharField(max_length=150)
    opened_at = models.DateTimeField(db_default=Now())
    phase_since_at = models.DateTimeField(db_default=Now())
    phase_since_market_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    outcome = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="programme_one_open", fields=("account",), condition=Q(state="open")
            ),
            models.CheckConstraint(
                name="programme_closed_has_time",
                condition=Q(state="open", closed_at__isnull=True)
                | (~Q(state="open") & Q(closed_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="programme_frozen_before_activation",
                condition=Q(phase__in=[Phase.VALIDATION.value, Phase.FREEZE.value]) | Q(freeze__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.account} to {self.profile}: {self.phase}"


class Activation(models.Model):
    """What an approved request made live, once: one permit, one digest. At most one stands per account."""

    programme = models.OneToOneField(Programme, on_delete=models.PROTECT, related_name="activation")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="activations")
    request_id = models.UUIDField(unique=True)
    request_digest = models.CharField(max_length=64)
    profile = models.CharField(max_length=10)
    limit_set_digest = models.CharField(max_length=64)
    config = models.ForeignKey(GoLiveConfig, on_delete=models.PROTECT, related_name="activations")
    freeze = models.ForeignKey(Freeze, on_delete=models.PROTECT, related_name="activations")
    permit = models.OneToOneField(Permit, on_delete=models.PROTECT, related_name="activation")
    previous_limit_set_digest = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=12, choices=choices(ActivationState), default="observing")
    version = models.PositiveIntegerField(default=1)
    requested_by = models.CharField(max_length=150)
    approved_by = models.JSONField()
    activated_by = models.CharField(max_length=150)
    approval_words = models.CharField(max_length=40)
    activated_at = models.DateTimeField(db_default=Now())
    market_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="activation_one_stands", fields=("account",), condition=Q(ended_at__isnull=True)
            ),
            models.CheckConstraint(
                name="activation_ended_has_time",
                condition=Q(state__in=["observing", "confirmed"], ended_at__isnull=True)
                | (~Q(state__in=["observing", "confirmed"]) & Q(ended_at__isnull=False)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.account} at {self.profile}: {self.state}"


class Observation(models.Model):
    """Append-only: what the machine saw of an activation at one of its marks (minutes of market time)."""

    activation = models.ForeignKey(Activation, on_delete=models.PROTECT, related_name="observations")
    minute = models.PositiveIntegerField()
    facts = models.JSONField(default=dict)
    guards = models.JSONField(default=list)
    verdict = models.CharField(max_length=12, choices=choices(GuardVerdict))
    due_market_at = models.DateTimeField()
    market_at = models.DateTimeField()
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(name="observation_once", fields=("activation", "minute")),)

    def __str__(self) -> str:
        return f"minute {self.minute}: {self.verdict}"


class GuardCount(models.Model):
    """How often in a row a guard of an activation did not pass; survives the guard that counts."""

    activation = models.ForeignKey(Activation, on_delete=models.PROTECT, related_name="guard_counts")
    guard = models.CharField(max_length=40)
    verdict = models.CharField(max_length=12, choices=choices(GuardVerdict))
    fails = models.PositiveIntegerField(default=0)
    inconclusives = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    measured = models.CharField(max_length=80, blank=True)
    threshold = models.CharField(max_length=80, blank=True)
    detail = models.TextField(blank=True)
    checked_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(name="guardcount_once", fields=("activation", "guard")),)

    def __str__(self) -> str:
        return f"{self.guard}: {self.verdict}"


class GuardTrip(models.Model):
    """Append-only: a guard took an activation back; a second evaluator finds it done."""

    activation = models.ForeignKey(Activation, on_delete=models.PROTECT, related_name="trips")
    guard = models.CharField(max_length=40)
    verdict = models.CharField(max_length=12, choices=choices(GuardVerdict))
    measured = models.CharField(max_length=80, blank=True)
    threshold = models.CharField(max_length=80, blank=True)
    detail = models.TextField(blank=True)
    market_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(name="guardtrip_once", fields=("activation", "guard")),)

    def __str__(self) -> str:
        return f"{self.guard} of {self.activation_id}"


class Hold(models.Model):
    """The latch after a trip or rollback: no increase of the account until two people release it."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="holds")
    reason = models.TextField()
    since_at = models.DateTimeField(db_default=Now())
    released_at = models.DateTimeField(null=True)
    release_request = models.UUIDField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="hold_one_stands", fields=("account",), condition=Q(released_at__isnull=True)
            ),
            models.CheckConstraint(
                name="hold_released_by_request",
                condition=Q(released_at__isnull=True, release_request__isnull=True)
                | Q(released_at__isnull=False, release_request__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"hold of {self.account}"


class Rollback(models.Model):
    """One way back, step by step, each verified and timed; `to_limit_set_digest` "" is a halt."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="rollbacks")
    activation = models.ForeignKey(Activation, on_delete=models.PROTECT, null=True, related_name="rollbacks")
    trigger = models.CharField(max_length=40)
    actor = models.CharField(max_length=150)
    reason = models.TextField()
    from_limit_set_digest = models.CharField(max_length=64, blank=True)
    to_limit_set_digest = models.CharField(max_length=64, blank=True)
    is_clamped = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=choices(RollbackState), default="running")
    steps = models.JSONField(default=list)
    impact = models.JSONField(default=dict)
    market_at = models.DateTimeField()
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="rollback_one_runs", fields=("account",), condition=Q(finished_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return f"rollback {self.pk} of {self.account}: {self.state}"


class ChecklistSignature(models.Model):
    """Append-only: a person vouches for a line of the checklist that no machine can measure."""

    programme = models.ForeignKey(Programme, on_delete=models.PROTECT, related_name="signatures")
    line = models.CharField(max_length=40)
    signed_by = models.CharField(max_length=150)
    note = models.TextField()
    is_met = models.BooleanField()
    signed_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="signature_newest", fields=("programme", "line", "-id")),)

    def __str__(self) -> str:
        return f"{self.line}: {self.signed_by}"


class Evaluation(models.Model):
    """Append-only: each criterion of advancement as computed from the ledger, with its evidence."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="evaluations")
    profile = models.CharField(max_length=10)
    recommendation = models.CharField(max_length=8, choices=choices(Recommendation))
    criteria = models.JSONField()
    code_version = models.CharField(max_length=64)
    market_at = models.DateTimeField()
    evaluated_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="evaluation_recent", fields=("account", "-id")),)

    def __str__(self) -> str:
        return f"{self.account} at {self.profile}: {self.recommendation}"


class ValidationReport(models.Model):
    """Append-only: the pre-launch validation report; a change request names its digest."""

    digest = models.CharField(max_length=64, unique=True)
    programme = models.ForeignKey(Programme, on_delete=models.PROTECT, null=True, related_name="reports")
    run_id = models.BigIntegerField()
    markdown = models.TextField()
    made_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.digest[:12]
