"""Who acts, and the one-time code of a second factor. Pure: time enters as an argument."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

TOTP_STEP_SECONDS = 30
TOTP_DIGITS = 6
# A code is taken one step early or late: clocks of phones differ.
TOTP_TOLERANCE = 1
SOLO_DELAY = timedelta(hours=24)
COOLING_OFF = timedelta(hours=24)
MIN_REASON = 15


class Role(StrEnum):
    """What a designation makes a person. Nothing else grants anything in governance."""

    REQUESTER = "requester"
    APPROVER = "approver"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMIN = "admin"


class ActorKind(StrEnum):
    PERSON = "person"
    TOKEN = "token"  # noqa: S105
    GUARD = "guard"
    SYSTEM = "system"


class TokenScope(StrEnum):
    """What an API token may be used for. There is no scope that approves."""

    READ = "read"
    INTENTS = "intents"
    STOP = "stop"
    PREFLIGHT = "preflight"
    GOLIVE = "golive"


class Mode(StrEnum):
    """How a desk approves: by another person, or (one person) by the same person a day later."""

    DUAL = "dual"
    SOLO = "solo"

    @property
    def words(self) -> str:
        """What every page, report and event says of an approval in this mode."""
        return "same person, delayed" if self is Mode.SOLO else "another person"


class RequestState(StrEnum):
    """Where a request stands; the last four are final."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    EXECUTED = "executed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class VoteDecision(StrEnum):
    """What one person says of one request; a changed mind is a row of its own."""

    APPROVE = "approve"
    REJECT = "reject"
    REVOKE = "revoke"


OPEN_STATES = (RequestState.PROPOSED, RequestState.APPROVED)
# The only transitions there are; the database's trigger holds the same list.
TRANSITIONS = frozenset(
    {
        (RequestState.PROPOSED, RequestState.APPROVED),
        (RequestState.PROPOSED, RequestState.REJECTED),
        (RequestState.PROPOSED, RequestState.WITHDRAWN),
        (RequestState.PROPOSED, RequestState.EXPIRED),
        (RequestState.APPROVED, RequestState.EXECUTED),
        (RequestState.APPROVED, RequestState.PROPOSED),
        (RequestState.APPROVED, RequestState.REJECTED),
        (RequestState.APPROVED, RequestState.WITHDRAWN),
        (RequestState.APPROVED, RequestState.EXPIRED),
    }
)


# Any one of these may remove risk; the auditor changes nothing.
STOPPING_ROLES = frozenset({Role.OPERATOR, Role.APPROVER, Role.ADMIN})
# Measuring writes evidence, which the auditor reads and does not make.
MEASURING_ROLES = STOPPING_ROLES | {Role.REQUESTER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something: a person, an API token of a person, a guard or the system itself.

    `roles` are the designations valid now. `scopes` limit a token; others have none.
    """

    name: str
    kind: ActorKind
    roles: frozenset[Role] = frozenset()
    scopes: frozenset[TokenScope] = frozenset()

    @property
    def audit_name(self) -> str:
        """The name in the audit log: a person's bare, any other as kind:name."""
        return self.name if self.kind is ActorKind.PERSON else f"{self.kind.value}:{self.name}"


SYSTEM = Actor(name="system", kind=ActorKind.SYSTEM)
BOOTSTRAP = Actor(name="bootstrap", kind=ActorKind.SYSTEM)


def has_any_role(actor: Actor, roles: frozenset[Role]) -> bool:
    """Whether one of the roles is designated to the actor."""
    return not actor.roles.isdisjoint(roles)


def hash_token(raw: str) -> str:
    """SHA-256 of an API token, hexadecimal: a token is 256 random bits, so no salt is needed."""
    return hashlib.sha256(raw.encode()).hexdigest()


def totp_step(at: datetime) -> int:
    """The number of whole 30-second steps since the epoch (RFC 6238, T0 = 0)."""
    return int(at.timestamp()) // TOTP_STEP_SECONDS


def totp_code(secret: str, step: int) -> str:
    """The six digits of one step: HOTP with SHA-1 over the step number (RFC 4226, RFC 6238).

    `secret` is base32 without padding, as authenticator apps take it; raises ValueError otherwise.
    """
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    mac = hmac.new(key, step.to_bytes(8, "big"), hashlib.sha1).digest()
    start = mac[-1] & 0x0F
    number = int.from_bytes(mac[start : start + 4], "big") & 0x7FFFFFFF
    return str(number % 10**TOTP_DIGITS).zfill(TOTP_DIGITS)


def find_totp_step(secret: str, code: str, at: datetime) -> int | None:
    """The step whose code this is, among the present one and its neighbours; None if it is of none."""
    now = totp_step(at)
    for step in range(now - TOTP_TOLERANCE, now + TOTP_TOLERANCE + 1):
        if hmac.compare_digest(totp_code(secret, step).encode(), code.encode()):
            return step
    return None


def cooling_off(environment: str) -> timedelta:
    """How long after a new designation, second factor or password a vote does not count."""
    return timedelta(0) if environment == "paper" else COOLING_OFF
