"""The way of an account from paper upwards: which rung it stood on, and what happened on the way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.safestring import SafeString

from controlplane.dashboard.golive_charts import Mark, Stretch, draw_staircase
from golive import models
from trading.models import Account, Permit

SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the timeline; tone is good, warn or bad. With a `sign` it is drawn in the chart too."""

    at: datetime
    what: str
    text: str
    tone: str = ""
    link: str = ""
    sign: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The chart, and the entries, the newest first."""

    chart: SafeString
    entries: tuple[Entry, ...]


def describe_timeline(account: Account, wall_at: datetime) -> Timeline:
    """Everything that moved the account, from permits, programmes, activations, trips and rollbacks."""
    permits = list(Permit.objects.filter(account=account).order_by("id"))
    entries = sorted(_list_entries(account, permits), key=lambda entry: entry.at, reverse=True)
    stretches = [_stretch_of(permit, wall_at) for permit in permits]
    marks = [
        Mark(
            at=entry.at,
            rung=_find_rung(stretches, entry.at),
            sign=entry.sign,
            tone=entry.tone,
            title=f"{entry.at:%Y-%m-%d %H:%M} {entry.what}: {entry.text}",
        )
        for entry in reversed(entries)
        if entry.sign
    ]
    return Timeline(chart=draw_staircase(stretches, marks, wall_at), entries=tuple(entries[:SHOWN]))


def name_rung(permit: Permit) -> str:
    """The profile of a live permit; what trades before its first activation stands on `paper`."""
    return permit.profile if permit.kind == "LIVE" else "paper"


def _stretch_of(permit: Permit, wall_at: datetime) -> Stretch:
    rung = name_rung(permit)
    ended_at = permit.ended_at or wall_at
    return Stretch(
        start_at=permit.created_at,
        end_at=ended_at,
        rung=rung,
        title=f"{rung}: {permit.created_at:%Y-%m-%d %H:%M} to "
        + (f"{ended_at:%Y-%m-%d %H:%M}" if permit.ended_at else "now"),
    )


def _find_rung(stretches: Iterable[Stretch], at: datetime) -> str:
    """Where the account stood at that moment; what begins at it counts."""
    found = [item.rung for item in stretches if item.start_at <= at <= item.end_at]
    return found[-1] if found else "none"


def _list_entries(account: Account, permits: Iterable[Permit]) -> Iterator[Entry]:
    yield from _of_permits(permits)
    for programme in models.Programme.objects.filter(account=account):
        yield from _of_programme(programme)
    for activation in models.Activation.objects.filter(account=account):
        yield from _of_activation(activation)
    for trip in models.GuardTrip.objects.filter(activation__account=account):
        text = f"{trip.verdict}: {trip.detail or trip.measured}"
        yield Entry(at=trip.at, what=f"guard {trip.guard}", text=text, tone="bad", sign="!")
    for rollback in models.Rollback.objects.filter(account=account):
        yield _of_rollback(rollback)
    for hold in models.Hold.objects.filter(account=account):
        yield Entry(at=hold.since_at, what="held", text=hold.reason, tone="warn")
        if hold.released_at is not None:
            yield Entry(at=hold.released_at, what="released", text="by request", tone="good")
    for demotion in models.Demotion.objects.filter(account=account):
        text = f"from {demotion.from_profile} to {demotion.to_profile or 'paper'}: the weekly loss limit"
        link = reverse("admin:golive_demotion_change", args=[demotion.pk])
        yield Entry(at=demotion.at, what="demoted", text=text, tone="bad", link=link, sign="↓")


def _of_permits(permits: Iterable[Permit]) -> Iterator[Entry]:
    for permit in permits:
        rung = "paper, MICRO limits" if permit.kind == "PAPER" else f"live at {permit.profile}"
        text = f"{rung}, fencing token {permit.fencing_token}"
        link = reverse("admin:trading_permit_change", args=[permit.pk])
        yield Entry(at=permit.created_at, what="permit began", text=text, link=link)
        if permit.ended_at is not None:
            yield Entry(at=permit.ended_at, what="permit ended", text=permit.end_reason, link=link)


def _of_programme(row: models.Programme) -> Iterator[Entry]:
    link = reverse("admin:golive_programme_change", args=[row.pk])
    text = f"to {row.profile}, by {row.opened_by}"
    yield Entry(at=row.opened_at, what="programme opened", text=text, link=link)
    if row.closed_at is not None and row.state == "withdrawn":
        yield Entry(at=row.closed_at, what="programme withdrawn", text=row.outcome, tone="warn", link=link)


def _of_activation(row: models.Activation) -> Iterator[Entry]:
    link = reverse("admin:golive_activation_change", args=[row.pk])
    people = f"asked by {row.requested_by}, approved by {', '.join(row.approved_by)} ({row.approval_words})"
    text = f"{row.profile}, {people}, activated by {row.activated_by}"
    yield Entry(at=row.activated_at, what="activated", text=text, tone="warn", link=link, sign="↑")
    if row.confirmed_at is not None:
        yield Entry(at=row.confirmed_at, what="confirmed", text=row.profile, tone="good", link=link, sign="✓")


def _of_rollback(row: models.Rollback) -> Entry:
    where = f"to {row.to_limit_set_digest[:12]}" if row.to_limit_set_digest else "to a halt"
    return Entry(
        at=row.started_at,
        what="rolled back",
        text=f"{where}, by {row.actor} ({row.trigger}): {row.reason}",
        tone="bad",
        link=reverse("admin:golive_rollback_change", args=[row.pk]),
        sign="↓",
    )
