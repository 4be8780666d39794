"""How a paper permit is had: the app that permits registers it in AppConfig.ready."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trading.models import Account, Permit


class IssuePermit(Protocol):
    """Issue or renew the permit under which a paper account trades before its first activation."""

    def __call__(self, *, account: Account, profile: str, actor: str, wall_at: datetime) -> Permit: ...


@dataclass(slots=True)
class Issuer:
    """None until the app above is ready."""

    issue: IssuePermit | None = None

    def register(self, issue: IssuePermit) -> None:
        self.issue = issue


ISSUER = Issuer()
