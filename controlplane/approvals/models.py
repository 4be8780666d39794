"""Who is designated to what, the tokens of outside programs, and second factors."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from controlplane.approvals.core import Role

ROLE_CHOICES = [(role.value, role.value) for role in Role]


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
