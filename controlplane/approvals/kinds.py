"""The kinds of request: who may ask, who may approve, how long it stands, what approval does.

Apps above register theirs in AppConfig.ready; nothing here knows what they are about.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controlplane.approvals.core import SOLO_DELAY, Actor, Mode, Role
from controlplane.approvals.models import ApprovalRequest
from controlplane.errors import NotFound

Effect = Callable[[ApprovalRequest, Actor], None]
# What is so now, for whoever looks at a request: [{name, is_met, code, text, next}].
Describer = Callable[[ApprovalRequest], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKind:
    """One kind. `quorum` counts people other than the proposer; what is not said is the strict rule.

    With an `effect` the vote that completes the quorum carries it out, in its own transaction; without
    one the request stays approved until the app executes it, before `execution_ttl` is over.
    `waits` is how long a request lies open before anybody can approve it. `describe` tells what its
    effect will ask for besides, as it is at the moment.
    """

    name: str
    title: str
    requester_roles: frozenset[Role]
    approval_ttl: timedelta
    effect: Effect | None
    approver_roles: frozenset[Role] = frozenset({Role.APPROVER})
    quorum: int = 1
    execution_ttl: timedelta = timedelta(0)
    solo_allowed: bool = False
    waits: timedelta = timedelta(0)
    describe: Describer | None = None

    def __post_init__(self) -> None:
        if self.quorum < 1 or not self.requester_roles or not self.approver_roles:
            raise ValueError(f"{self.name}: somebody must ask and somebody must approve")
        if self.approval_ttl <= timedelta(0) or self.execution_ttl < timedelta(0):
            raise ValueError(f"{self.name}: a request stands for some time")

    def wait_in(self, mode: Mode) -> timedelta:
        """How long a request lies open in this mode before it can be approved."""
        return max(self.waits, SOLO_DELAY) if mode is Mode.SOLO else self.waits

    def quorum_in(self, mode: Mode) -> int:
        """How many approvals it takes: of one person there is one."""
        return 1 if mode is Mode.SOLO else self.quorum

    @property
    def policy(self) -> dict[str, object]:
        """What the digest says of the rules, so that changed rules void what was asked under others."""
        return {
            "requester_roles": self.requester_roles,
            "approver_roles": self.approver_roles,
            "quorum": self.quorum,
            "approval_ttl": self.approval_ttl,
            "execution_ttl": self.execution_ttl,
            "waits": self.waits,
            "solo_allowed": self.solo_allowed,
        }


class KindUnknown(NotFound):
    """No app has registered a kind of this name."""

    code = "request_kind_unknown"


class Registry:
    """The kinds of this process, filled while the apps become ready."""

    def __init__(self) -> None:
        self._kinds: dict[str, RequestKind] = {}

    def register(self, kind: RequestKind) -> None:
        """Add a kind; the same one again changes nothing, another of its name is a bug."""
        if self._kinds.setdefault(kind.name, kind) != kind:
            raise ValueError(f"{kind.name}: two kinds of one name")

    def get(self, name: str) -> RequestKind:
        """The kind of that name; raises KindUnknown."""
        if name not in self._kinds:
            raise KindUnknown(f"kind: no request is of kind {name!r}")
        return self._kinds[name]

    def list(self) -> list[RequestKind]:
        return sorted(self._kinds.values(), key=lambda kind: kind.name)


KINDS = Registry()
