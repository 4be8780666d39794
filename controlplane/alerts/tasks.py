from celery import shared_task

from controlplane.alerts.delivery import deliver_pending
from controlplane.audit.selectors import get_database_time


@shared_task(acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def deliver() -> None:
    """Send what the guard has not sent yet."""
    deliver_pending(wall_at=get_database_time())
