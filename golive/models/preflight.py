"""Rows of permission: pre-flight runs, what each check measured, canaries, results of stress scenarios.

A finished run, its checks and stress results never change (triggers and grants): they are evidence.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from golive.core.values import CheckName, CheckStatus, Purpose
from trading.models.fields import choices


class PreflightRun(models.Model):
    """One run of the checks. Until it is finished, `finished_at` and `is_passed` are null.

    Only a complete run says anything about going live or re-arming.
    """

    purpose = models.CharField(max_length=8, choices=choices(Purpose))
    actor = models.CharField(max_length=120)
    environment = models.CharField(max_length=8)
    account = models.CharField(max_length=40, blank=True)
    code_version = models.CharField(max_length=64)
    is_complete = models.BooleanField(help_text="Every check of the purpose was asked for.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    is_passed = models.BooleanField(null=True)
    passed_count = models.PositiveSmallIntegerField(default=0)
    failed_count = models.PositiveSmallIntegerField(default=0)
    seconds = models.FloatField(null=True)

    class Meta:
        verbose_name = "pre-flight run"
        constraints = (
            models.CheckConstraint(
                name="preflightrun_finished_has_verdict",
                condition=Q(finished_at__isnull=True, is_passed__isnull=True)
                | Q(finished_at__isnull=False, is_passed__isnull=False),
            ),
            models.CheckConstraint(
                name="preflightrun_passed_has_no_failure",
                condition=~Q(is_passed=True) | Q(failed_count=0),
            ),
        )
        indexes = (models.Index(name="preflightrun_recent", fields=("purpose", "-id")),)

    def __str__(self) -> str:
        verdict = {None: "unfinished", True: "passed", False: "failed"}[self.is_passed]
        return f"pre-flight {self.pk}: {verdict}"


class PreflightCheck(models.Model):
    """Append-only: what one check measured, and what to do about it.

    `reason` is a stable code, `text` says it for people. `is_counted` is false where the purpose
    leaves the check out of the verdict.
    """

    run = models.ForeignKey(PreflightRun, on_delete=models.PROTECT, related_name="checks")
    name = models.CharField(max_length=40, choices=choices(CheckName))
    status = models.CharField(max_length=16, choices=choices(CheckStatus))
    reason = models.CharField(max_length=60)
    text = models.TextField(blank=True)
    details = models.JSONField(default=dict)
    seconds = models.FloatField()
    next_command = models.TextField(blank=True)
    is_counted = models.BooleanField()
    definition_version = models.CharField(max_length=64)

    class Meta:
        verbose_name = "pre-flight check"
        constraints = (
            models.UniqueConstraint(name="preflightcheck_once", fields=("run", "name")),
            models.CheckConstraint(
                name="preflightcheck_failure_says_what_next",
                condition=Q(status__in=["pass", "not_applicable"]) | ~Q(next_command=""),
            ),
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.status} {self.reason}"


class Canary(models.Model):
    """A row that a pre-flight writes and a worker answers, to prove the way there and back."""

    nonce = models.UUIDField(primary_key=True)
    asked_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True)
    answered_by = models.CharField(max_length=120, blank=True)

    class Meta:
        verbose_name_plural = "canaries"

    def __str__(self) -> str:
        return f"canary {self.nonce}"


class StressResult(models.Model):
    """Append-only: one real run of a stress scenario on one code version."""

    scenario = models.CharField(max_length=40)
    is_passed = models.BooleanField()
    code_version = models.CharField(max_length=64)
    environment = models.CharField(max_length=8)
    evidence = models.JSONField(default=dict)
    finished_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="stressresult_recent", fields=("scenario", "-finished_at")),)

    def __str__(self) -> str:
        return f"{self.scenario}: {'passed' if self.is_passed else 'failed'}"
