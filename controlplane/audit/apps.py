from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "controlplane.audit"
    label = "audit"
    verbose_name = "Audit log: what was done"

    def ready(self) -> None:
        from controlplane.audit import checks  # noqa: F401  registers the system checks

        post_migrate.connect(_grant_after_migrate, sender=self, dispatch_uid="audit.grant_app_role")


def _grant_after_migrate(*, using: str, **_: Any) -> None:
    from controlplane.audit.grants import grant_app_role

    grant_app_role(using=using)
