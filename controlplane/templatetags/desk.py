"""How figures are written on the operator's screens."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from django import template

from controlplane.dashboard.words import age_text
from controlplane.wire import money_text

register = template.Library()
CENT = Decimal("0.01")


@register.filter
def usd(value: Decimal | None) -> str:
    """1,100.25; a dash where it is not known."""
    return "not known" if value is None else f"{value.quantize(CENT, ROUND_HALF_EVEN):,f}"


@register.filter
def signed_usd(value: Decimal | None) -> str:
    return "not known" if value is None else f"{value.quantize(CENT, ROUND_HALF_EVEN):+,f}"


@register.filter
def plain(value: Decimal | None) -> str:
    """A quantity or price without its trailing zeros."""
    return "none" if value is None else money_text(value)


@register.filter
def absolute(value: Decimal) -> str:
    """A signed quantity without its sign."""
    return money_text(abs(value))


@register.filter
def short(value: Decimal | None) -> str:
    """A price to seven digits: what changes faster than an eye can read is left out."""
    return "none" if value is None else money_text(Decimal(f"{value:.7g}"))


@register.filter
def percent(value: Decimal | None) -> str:
    """0.0123 as +1.23 %."""
    return "not known" if value is None else f"{value * 100:+.2f} %"


@register.filter
def since(at: datetime | None, now: datetime) -> str:
    return "" if at is None else age_text(now - at)


@register.filter
def until(at: datetime, now: datetime) -> str:
    """What is left of a time that runs out."""
    return age_text(at - now) if at > now else "no time: it is over"


@register.filter
def span(length: timedelta | None) -> str:
    return "none" if length is None else age_text(length)


@register.filter
def tone(state: str) -> str:
    """The colour of a state; the state itself is always written beside it."""
    return {"ACTIVE": "good", "REDUCING": "warn", "HALTED": "bad"}.get(str(state), "warn")
