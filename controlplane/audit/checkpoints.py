"""Signed statements of the log's head, and their way out of the database (`verify.py` has the form).

A checkpoint is a row first, so that it survives a place that does not answer; each place outside then
gets every checkpoint in order. A place that fails holds up nothing: it is tried again, and shown. Writing
one is not an event of its own: it would leave the log unanchored again.
"""

import logging
import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection, transaction

from controlplane.audit.anchors import (
    CHECKPOINT_DOMAIN,
    GENESIS,
    checkpoint_digest,
    checkpoint_line,
    key_fingerprint,
)
from controlplane.audit.canonical import canonical_text
from controlplane.audit.models import AuditEvent, AuditHead, Checkpoint, CheckpointSink
from controlplane.audit.redaction import redact_text
from controlplane.audit.selectors import get_database_time

logger = logging.getLogger(__name__)

CHECKPOINT_INTERVAL = timedelta(hours=1)
AT_ONCE = ("golive.activate", "audit.segment_close")
"""What is anchored without waiting for the hour."""
COMMAND_SECONDS = 10
BATCH = 100
_CHECKPOINT_LOCK = 7_310_002


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkProblem:
    """A place outside that does not have the newest checkpoint, and why."""

    sink: str
    text: str


def get_public_key() -> bytes | None:
    """Return the key that checkpoints are checked with; None where this process cannot sign."""
    if not settings.AUDIT_SIGNING_KEY:
        return None
    return _signing_key().public_key().public_bytes_raw()


def write_checkpoint(reason: str) -> Checkpoint | None:
    """Sign the head as it is committed now and put it in the directory; None where nothing can be signed.

    For after a commit. It never fails because of a place outside; the guard tries those again.
    """
    if not settings.AUDIT_SIGNING_KEY:
        logger.warning("no checkpoint (%s): AUDIT_SIGNING_KEY is not set in this process", reason)
        return None
    checkpoint = _sign_head(reason, at=get_database_time())
    if checkpoint is not None and "directory" in list_sinks():
        deliver_checkpoints("directory", now=checkpoint.at)
    return checkpoint


@transaction.atomic
def _sign_head(reason: str, *, at: datetime) -> Checkpoint | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CHECKPOINT_LOCK])
    head, last = AuditHead.objects.get(), get_last_checkpoint()
    public_key = get_public_key()
    if head.seq == 0 or public_key is None:
        return None
    said, previous = redact_text(reason), GENESIS if last is None else last.digest
    facts = {
        "origin": settings.AUDIT_ORIGIN,
        "size": head.seq,
        "hash": head.hash,
        "time": at,
        "reason": said,
        "previous": previous,
        "key": key_fingerprint(public_key),
    }
    body = canonical_text(facts)
    return Checkpoint.objects.create(
        seq=head.seq,
        hash=head.hash,
        at=at,
        reason=said,
        body=body,
        previous=previous,
        digest=checkpoint_digest(body),
        signature=_signing_key().sign(CHECKPOINT_DOMAIN + body.encode()).hex(),
    )


def _signing_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(settings.AUDIT_SIGNING_KEY))


def get_last_checkpoint() -> Checkpoint | None:
    return Checkpoint.objects.order_by("-id").first()


def keep_checkpoints(*, now: datetime) -> tuple[SinkProblem, ...]:
    """Write a checkpoint when one is due, hand over what waits, and return what is wrong (guard duty)."""
    problems = []
    if not settings.AUDIT_SIGNING_KEY:
        problems.append(SinkProblem(sink="key", text="AUDIT_SIGNING_KEY is not set: nothing can be signed"))
    elif reason := _why_due(now=now):
        write_checkpoint(reason)
    sinks = list_sinks()
    if not sinks:
        text = "neither AUDIT_CHECKPOINT_DIR nor AUDIT_CHECKPOINT_COMMAND is set: nothing vouches for the log"
        problems.append(SinkProblem(sink="place", text=text))
    for sink in sinks:
        if error := deliver_checkpoints(sink, now=now):
            problems.append(SinkProblem(sink=sink, text=error))
    return tuple(problems)


def _why_due(*, now: datetime) -> str:
    last = get_last_checkpoint()
    if last is None or now - last.at >= CHECKPOINT_INTERVAL:
        return "hourly"
    for action in AT_ONCE:
        # One action at a time, so that each is one step down an index.
        if AuditEvent.objects.filter(action=action, seq__gt=last.seq).exists():
            return action
    return ""


def list_sinks() -> dict[str, Callable[[Checkpoint], None]]:
    """The places outside that are configured, by name."""
    sinks: dict[str, Callable[[Checkpoint], None]] = {}
    if settings.AUDIT_CHECKPOINT_DIR:
        sinks["directory"] = _append_to_directory
    if settings.AUDIT_CHECKPOINT_COMMAND:
        sinks["command"] = _give_to_command
    return sinks


@transaction.atomic
def deliver_checkpoints(name: str, *, now: datetime) -> str:
    """Hand one place what it does not have yet, in order; returns what went wrong, or nothing.

    A crash after the delivery repeats a line, which a verifier passes over.
    """
    CheckpointSink.objects.get_or_create(name=name)
    sink = CheckpointSink.objects.select_for_update(skip_locked=True).filter(name=name).first()
    if sink is None:
        return ""  # Somebody else is at it.
    send, error = list_sinks()[name], ""
    waiting = Checkpoint.objects.filter(id__gt=sink.delivered_id or 0).order_by("id")[:BATCH]
    for checkpoint in waiting:
        try:
            send(checkpoint)
        except (OSError, subprocess.SubprocessError) as failure:
            error = redact_text(f"{type(failure).__name__}: {failure}")
            break
        sink.delivered, sink.delivered_at = checkpoint, now
    sink.error = error
    sink.failing_since = (sink.failing_since or now) if error else None
    sink.save()
    return error


def _line(checkpoint: Checkpoint) -> bytes:
    return (checkpoint_line(checkpoint.body, checkpoint.signature) + "\n").encode()


def _append_to_directory(checkpoint: Checkpoint) -> None:
    """Add a line to the file of the checkpoint's day, and see it on the disk."""
    folder = Path(settings.AUDIT_CHECKPOINT_DIR)
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    path, line = folder / f"{checkpoint.at:%Y-%m-%d}.jsonl", _line(checkpoint)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        if os.write(file, line) != len(line):
            raise OSError(f"{path}: only a part could be written")
        os.fsync(file)
    finally:
        os.close(file)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _give_to_command(checkpoint: Checkpoint) -> None:
    """The command has it when it ends with 0."""
    command = shlex.split(settings.AUDIT_CHECKPOINT_COMMAND)
    subprocess.run(command, input=_line(checkpoint), capture_output=True, timeout=COMMAND_SECONDS, check=True)
