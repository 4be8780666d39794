"""What was stopped without the database becomes a stop of ours at the next start (RISK.md 3.15).

A journal counts once, by the digest of its content; one that is still being written halts at once and
counts again when it is finished. What cannot be read of it halts everything: something was stopped.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from controlplane.approvals.core import Actor, ActorKind
from controlplane.audit.models import AuditEvent
from controlplane.audit.services import record
from risk import models
from risk.core.emergency_stop import PositionPolicy, StopSource, parse_scope
from risk.stops.emergency import halt_scope
from trading import locks
from trading.core.values import Scope
from trading.dispatch.offline_journal import SUFFIX, is_being_written
from trading.models import Account, VenueAccount
from trading.selectors import get_clocks

logger = logging.getLogger(__name__)

FOLDER = "offline_stops"
ADOPTED = ".adopted"
ACTOR = Actor(name="offline", kind=ActorKind.SYSTEM)
ACTION = "risk.offline_stop"
LOCK = "offline_stops"
# What of a journal is kept with the stop; the file stays, and its digest names all of it.
KEPT_LINES = 500
EVERYTHING = Scope(kind="all")


def get_folder() -> Path:
    return Path(settings.STATE_DIR) / FOLDER


def adopt_offline_stops() -> int:
    """Halt for every journal that was not adopted yet; returns how many. Does nothing beside another."""
    paths = sorted(get_folder().glob(f"*{SUFFIX}"))
    if not paths:
        return 0
    with locks.try_hold(LOCK) as is_held:
        return sum(_adopt(path) for path in paths) if is_held else 0


def _adopt(path: Path) -> int:
    is_finished, content = _read(path)
    digest = hashlib.sha256(content).hexdigest()
    is_new = not AuditEvent.objects.filter(action=ACTION, subject_id=digest).exists()
    if is_new:
        _halt(path.name, digest, _read_lines(content))
    if is_finished and not _set_aside(path) and is_new:
        logger.error("the journal %s was adopted and cannot be renamed", path)
    return int(is_new)


def _read(path: Path) -> tuple[bool, bytes]:
    """Whether it is finished, and its content; one that cannot be opened says only that."""
    try:
        return not is_being_written(path), path.read_bytes()
    except OSError as error:
        reason = f"its journal {path.name} cannot be read: {error.strerror}"
        return False, json.dumps({"kind": "begin", "scope": "all", "reason": reason}).encode()


def _set_aside(path: Path) -> bool:
    """A name is only a help: what was adopted is known by its digest."""
    try:
        path.rename(path.with_name(path.name + ADOPTED))
    except OSError:
        return False
    return True


def _read_lines(content: bytes) -> list[dict[str, Any]]:
    """Every whole line; one that was torn by a kill says nothing."""
    lines = []
    for raw in content.split(b"\n"):
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


@transaction.atomic
def _halt(name: str, digest: str, lines: list[dict[str, Any]]) -> None:
    begin = next((line for line in lines if line.get("kind") == "begin"), {})
    end = next((line for line in lines if line.get("kind") == "end"), {})
    said = f"{begin.get('reason') or 'no reason was given'} (offline, by {begin.get('actor') or 'somebody'})"
    event = halt_scope(
        _choose_scope(str(begin.get("scope", ""))),
        {
            "source": StopSource.MANUAL.value,
            "evidence": {},
            "positions": _choose_policy(begin.get("positions")),
        },
        reason=said,
        actor=ACTOR,
        clocks=get_clocks(),
    )
    _add_evidence(event, {"digest": digest, "file": name, "lines": lines[:KEPT_LINES]})
    record(
        action=ACTION,
        actor=ACTOR.audit_name,
        subject_type="offline_stop",
        subject_id=digest,
        reason=said,
        detail={
            "event_id": event.pk,
            "file": name,
            "lines": len(lines),
            "confirmed": bool(end.get("confirmed", False)),
            "asked": {key: begin.get(key) for key in ("scope", "positions", "actor", "at", "environment")},
        },
    )
    logger.warning("an offline stop was adopted as stop %s of %s", event.pk, event.scope)


def _add_evidence(event: models.StopEvent, entry: dict[str, Any]) -> None:
    row = models.StopEvent.objects.select_for_update().get(pk=event.pk)
    row.evidence["offline"] = [*row.evidence.get("offline", []), entry]
    row.save(update_fields=["evidence"])


def _choose_scope(text: str) -> Scope:
    """What was asked for, or everything where the desk knows no such account or venue."""
    try:
        scope = parse_scope(text)
    except ValueError:
        return EVERYTHING
    known = {
        "account": Account.objects.filter(name=scope.name),
        "venue": VenueAccount.objects.filter(venue=scope.name),
    }
    return scope if scope.kind in known and known[scope.kind].exists() else EVERYTHING


def _choose_policy(text: object) -> PositionPolicy:
    return PositionPolicy(str(text)) if text in list(PositionPolicy) else PositionPolicy.KEEP
