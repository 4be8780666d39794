from celery import shared_task

from controlplane.audit.sealing import seal_streams
from controlplane.audit.selectors import get_database_time


@shared_task(acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def seal() -> None:
    """Seal what the guard has not sealed yet."""
    seal_streams(now=get_database_time())
