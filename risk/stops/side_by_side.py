"""Several venues at once: one that hangs keeps nobody waiting for longer than itself."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")

SIDE_BY_SIDE = 16


def run_side_by_side(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Their results in order; a thread and a database connection for each where there are several.

    A bug in one is raised when the others have ended.
    """
    if len(jobs) < 2:
        return [job() for job in jobs]
    with ThreadPoolExecutor(max_workers=min(len(jobs), SIDE_BY_SIDE), thread_name_prefix="sweep") as pool:
        futures = [pool.submit(_run_apart, job) for job in jobs]
    return [future.result() for future in futures]


def _run_apart(job: Callable[[], T]) -> T:
    try:
        return job()
    finally:
        connections.close_all()
