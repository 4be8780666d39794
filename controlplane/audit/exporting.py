"""Writes the log out in the form that `verify.py` reads."""

from collections.abc import Iterator, Mapping, Sequence

from django.db import connections

from controlplane.audit.models import Seal
from controlplane.audit.streams import Stream, get_registered_streams
from controlplane.audit.verification import iterate_event_lines, sealed_rows, snapshot
from controlplane.audit.verify import SEAL_ACTION, row_line


def export_lines(
    *,
    after_seq: int = 0,
    until_seq: int | None = None,
    with_rows: bool = False,
    using: str = "default",
    streams: Sequence[Stream] | None = None,
) -> Iterator[bytes]:
    """Yield the lines of one snapshot; with rows, each sealed row comes before the event that seals it."""
    by_name = {one.name: one for one in (get_registered_streams() if streams is None else streams)}
    with snapshot(using):
        for line in iterate_event_lines(using=using, after_seq=after_seq, until_seq=until_seq):
            if with_rows and SEAL_ACTION in line:
                seq = int(line[len(b'{"seq":') : line.index(b",")])
                yield from _row_lines(seq, by_name, using=using)
            yield line


def _row_lines(seq: int, streams: Mapping[str, Stream], *, using: str) -> Iterator[bytes]:
    seal = Seal.objects.using(using).filter(event_id=seq).first()
    stream = streams.get(seal.stream) if seal is not None else None
    if seal is None or stream is None:
        return
    with connections[using].cursor() as cursor:
        cursor.execute(*sealed_rows(stream, seal))
        for _, row in cursor.fetchall():
            yield row_line(stream.name, row)
