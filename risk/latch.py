"""Whether an account is held after a rollback: the app that permits registers it in AppConfig.ready."""

from collections.abc import Callable
from dataclasses import dataclass

from trading.models import Account


def _unknown(_account: Account) -> bool:
    return True


@dataclass(slots=True)
class Latch:
    """While held no limit of the account is raised; who nobody can say is held counts as held."""

    is_held: Callable[[Account], bool] = _unknown

    def register(self, is_held: Callable[[Account], bool]) -> None:
        self.is_held = is_held


LATCH = Latch()
