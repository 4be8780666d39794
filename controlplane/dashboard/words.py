"""How figures are written for people."""

from datetime import timedelta


def age_text(span: timedelta) -> str:
    """1 m 05 s, 3 h 20 m, 2 d 4 h: the two largest units."""
    seconds = max(0, int(span.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} m"
    return f"{minutes} m {seconds:02d} s" if minutes else f"{seconds} s"


def count_text(number: int, noun: str) -> str:
    """1 order, 2 orders."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
