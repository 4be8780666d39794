"""The page of one stretch of global risk: what was found, what was measured, the day before it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from risk import models
from risk.core.global_risk import UNITS, MeasureName, show
from risk.global_risk.record import describe

SPAN = timedelta(hours=24)
COLOURS = {"OK": "#16a34a", "WARNING": "#d97706", "CRITICAL": "#dc2626", "": "#9ca3af"}
HEADINGS = ("level", "account", "measure", "measured", "from", "what")


def show_findings(row: models.GlobalRisk) -> SafeString | str:
    """A table of the findings, the gravest first."""
    found = describe(row.inputs)["findings"]
    if not found:
        return "nothing: every measure is within its bounds"
    rows = (
        (f["level"], f["account"], f["code"].replace("_", " "), f["measured"], f["limit"], f["text"])
        for f in found
    )
    return _table(HEADINGS, rows)


def show_measures(row: models.GlobalRisk) -> SafeString | str:
    """A table of every measure, one column an account."""
    measures: dict[str, dict[str, Decimal | None]] = describe(row.inputs)["measures"]
    if not measures:
        return "no account was measured"
    accounts = sorted(measures)
    rows = (
        (
            name.value.replace("_", " "),
            *(_text(name, measures[account].get(name.value)) for account in accounts),
        )
        for name in MeasureName
    )
    return _table(("measure", *accounts), rows)


def _text(name: MeasureName, value: Decimal | None) -> str:
    return "unknown" if value is None else show(value, UNITS[name])


def _table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> SafeString:
    cell = '<td style="padding:2px 12px 2px 0">{}</td>'
    head = format_html_join(
        "", '<th style="text-align:left;padding:2px 12px 2px 0">{}</th>', ((h,) for h in headings)
    )
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", cell, ((part,) for part in parts)),) for parts in rows)
    )
    return format_html("<table><tr>{}</tr>{}</table>", head, body)


def show_day(row: models.GlobalRisk) -> SafeString:
    """The level over the 24 h of wall time up to the stretch's last check, as one coloured bar."""
    until = row.checked_at
    parts = list(_list_parts(until - SPAN, until))
    bar = format_html_join(
        "",
        '<span title="{}" style="display:inline-block;height:16px;width:{}%;background:{}"></span>',
        ((title, f"{share * 100:.3f}", COLOURS[level]) for level, share, title in parts),
    )
    return format_html(
        '<div style="white-space:nowrap;font-size:0;width:100%">{}</div><div>{}</div>', bar, _sum_up(parts)
    )


def _list_parts(since: datetime, until: datetime) -> Iterator[tuple[str, float, str]]:
    """(level, share of the span, title) of each stretch, and of the time in which nobody checked as ""."""
    stretches = models.GlobalRisk.objects.filter(checked_at__gt=since, since_at__lte=until).order_by("id")
    at = since
    for stretch in stretches:
        starts, ends = max(at, stretch.since_at), min(until, stretch.checked_at)
        if starts > at:
            yield "", (starts - at) / SPAN, f"not checked until {starts:%H:%M:%S}"
        if ends > starts:
            yield str(stretch.level), (ends - starts) / SPAN, f"{stretch.level} until {ends:%H:%M:%S}"
        at = max(at, ends)


def _sum_up(parts: list[tuple[str, float, str]]) -> str:
    names = {"OK": "OK", "WARNING": "WARNING", "CRITICAL": "CRITICAL", "": "not checked"}
    shares = {level: sum(share for kind, share, _ in parts if kind == level) for level in names}
    return ", ".join(f"{names[level]} {share:.1%}" for level, share in shares.items() if share > 0)


def tell_gravest(row: models.GlobalRisk) -> str:
    """The gravest finding in one line, with what was measured, and how many more there are."""
    found: list[dict[str, Any]] = describe(row.inputs)["findings"]
    if not found:
        return "; ".join(str(reason) for reason in row.reasons)
    first = found[0]
    where = f"{first['account']} at {first['venue']}" if first["venue"] else first["account"]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{where}: {first['text']} (measured {first['measured']}){more}"
