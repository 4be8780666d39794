"""What no override may go above: the app that permits registers its ceiling in AppConfig.ready."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from risk.core.values import Limits

# Each item's text names the key, what was asked and what is allowed.
FindAbove = Callable[[Limits], Sequence[object]]


@dataclass(slots=True)
class Ceiling:
    """None until the app above is ready."""

    find_above: FindAbove | None = None

    def register(self, find_above: FindAbove) -> None:
        self.find_above = find_above

    def find_fault(self, limits: Limits) -> str:
        """What of these limits is above it, in words; "" if nothing is."""
        found = [] if self.find_above is None else self.find_above(limits)
        return "; ".join(str(item) for item in found)


CEILING = Ceiling()
