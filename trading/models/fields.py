"""The field types and choice lists that the rows share."""

from enum import StrEnum
from typing import Any

from django.db import models


def choices(enum: type[StrEnum]) -> list[tuple[str, str]]:
    """A closed set as Django choices."""
    return [(member.value, member.value) for member in enum]


class Money(models.DecimalField):  # type: ignore[type-arg]
    """numeric(28,10): USDT, prices and base quantities."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 28)
        kwargs.setdefault("decimal_places", 10)
        super().__init__(**kwargs)
