"""Columns of judgement."""

from django.db import models


class Ratio(models.DecimalField):  # type: ignore[type-arg]
    """numeric(12,8): 0.02 is 2 %."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**{"max_digits": 12, "decimal_places": 8, **kwargs})  # type: ignore[arg-type]
