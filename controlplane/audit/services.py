"""Writes of the audit log."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.conf import settings
from django.db import connection, transaction
from psycopg import sql

from controlplane.audit.actions import DENIED, require_registered
from controlplane.audit.canonical import canonical_text
from controlplane.audit.models import AuditEvent
from controlplane.audit.redaction import redact, redact_text
from controlplane.errors import DomainError

_RETURNED = tuple(field.name for field in AuditEvent._meta.concrete_fields if field.name != "payload")
_INSERT = sql.SQL("INSERT INTO audit_auditevent (body) VALUES (%s) RETURNING {}").format(
    sql.SQL(", ").join(sql.Identifier(name) for name in _RETURNED)
)
ACTOR_KINDS = frozenset({"user", "token", "guard", "system", "command"})


class NotInTransaction(Exception):
    """An event is recorded outside the transaction of the change it records: a bug."""


def record(
    *,
    action: str,
    actor: str,
    subject_type: str,
    subject_id: object,
    reason: str = "",
    detail: Mapping[str, object] | None = None,
    correlation_id: str = "",
) -> AuditEvent:
    """Chain one event in the caller's transaction and return it.

    Call it last: from here to the commit no other event can be chained. `actor` is a user's name, or
    "kind:name" with a kind of ACTOR_KINDS ("system:sealer", "guard:watch", "token:bot"). Secrets in
    `reason` and `detail` are replaced before hashing.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction(f"{action}: record() belongs inside the transaction of the change")
    require_registered(action)
    kind, name = _split_actor(actor)
    body = canonical_text(
        {
            "action": action,
            "actor": name,
            "actor_kind": kind,
            "subject_type": subject_type,
            "subject_id": redact_text(str(subject_id)),
            "reason": redact_text(reason),
            "correlation_id": redact_text(correlation_id),
            "environment": settings.TRADING_ENVIRONMENT,
            "detail": redact(dict(detail or {})),
        }
    )
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [body])
        facts = dict(zip(_RETURNED, cursor.fetchone(), strict=True))
    facts["payload"] = json.loads(facts["body"])
    return AuditEvent.from_db(connection.alias, list(facts), list(facts.values()))


@contextmanager
def audited_attempt(
    *,
    action: str,
    actor: str,
    subject_type: str,
    subject_id: object,
    reason: str = "",
    detail: Mapping[str, object] | None = None,
    correlation_id: str = "",
) -> Iterator[None]:
    """Let a refusal be remembered: it goes around a service's own durable transaction.

    A DomainError rolls the attempt back as usual; then `<action>.denied` is chained in a
    transaction of its own, with the refusal's code and text, and the error goes on.
    """
    require_registered(action)
    with transaction.atomic(durable=True):
        pass  # Entered only to refuse a surrounding transaction, which would erase the denial.
    try:
        yield
    except DomainError as refusal:
        with transaction.atomic(durable=True):
            record(
                action=f"{action}{DENIED}",
                actor=actor,
                subject_type=subject_type,
                subject_id=subject_id,
                reason=reason,
                detail={**(detail or {}), "code": refusal.code, "refusal": refusal.message},
                correlation_id=correlation_id,
            )
        raise


def _split_actor(actor: str) -> tuple[str, str]:
    kind, colon, name = actor.partition(":")
    if not colon:
        kind, name = "user", actor
    if kind not in ACTOR_KINDS or not name:
        raise ValueError(
            f"actor {actor!r}: expected a name, or one of {', '.join(sorted(ACTOR_KINDS))} and a name"
        )
    return kind, redact_text(name)
