"""Values that live for one decision: frozen to the type checker, quick to make.

A frozen dataclass sets every field through `object.__setattr__`, which costs more than most rules. What
the gate makes several times per decision and never hands out is therefore frozen by mypy alone.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

AnyClass = TypeVar("AnyClass")


@dataclass_transform(frozen_default=True)
def working_value(made: type[AnyClass]) -> type[AnyClass]:
    """A slotted dataclass, made by position."""
    return dataclass(slots=True)(made)


class Proof:
    """Room in a frozen value for having been checked once, whole. A changed copy is not proven."""

    __slots__ = ("_is_proven",)
    _is_proven: bool

    @property
    def is_proven(self) -> bool:
        try:
            return self._is_proven
        except AttributeError:
            return False

    def prove(self) -> None:
        """To be called by what has checked the value."""
        object.__setattr__(self, "_is_proven", True)
