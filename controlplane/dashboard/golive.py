"""The way to live, on screens: every account at a glance, and all that is known of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from controlplane.approvals.selectors import actor_of_user
from controlplane.dashboard import golive_facts as facts
from controlplane.dashboard.golive_presses import Press, list_presses, require_account
from controlplane.dashboard.golive_timeline import describe_timeline
from controlplane.dashboard.page import Verdict
from golive import models
from golive.checklist import list_lines
from golive.drift import list_drift
from golive.freeze import find_unloaded
from golive.programme_rules import get_programme_rules
from golive.selectors import get_active_config
from trading.core.values import Clocks
from trading.selectors import get_clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An account with what this person may press."""

    card: facts.Card
    presses: Sequence[Press]


@never_cache
@require_safe
def show_all(request: HttpRequest) -> HttpResponse:
    """One card an account; the poll asks for the cards alone."""
    clocks = get_clocks()
    actor = actor_of_user(request.user)  # type: ignore[arg-type]
    cards = facts.list_cards(facts.list_own_accounts(), clocks)
    context = {
        **admin.site.each_context(request),
        "title": "Go-live",
        "shown": [
            Shown(card=facts.measure_card(card, clocks), presses=list_presses(card, actor)) for card in cards
        ],
        "desk_verdict": judge_cards(cards),
        "config": get_active_config(),
        "unloaded": find_unloaded(),
        "wall_at": clocks.wall_at,
    }
    template = "desk/golive_cards.html" if "HX-Request" in request.headers else "desk/golive.html"
    return TemplateResponse(request, template, context)


def judge_cards(cards: Sequence[facts.Card]) -> Verdict:
    """How many accounts are live, and whether one of them is held or being rolled back."""
    live = [card for card in cards if card.is_live]
    held = [card.account.name for card in cards if card.hold is not None or card.rollback is not None]
    headline = f"{len(live)} of {len(cards)} accounts live" if live else "No account is live"
    if held:
        return Verdict(tone="bad", headline=headline, text=f"held or rolling back: {', '.join(held)}")
    waiting = sum(len(card.requests) for card in cards)
    if waiting:
        return Verdict(tone="warn", headline=headline, text=f"{waiting} waiting for people")
    return Verdict(tone="good", headline=headline, text="nothing waits for people")


@never_cache
@require_safe
def show_account(request: HttpRequest, account: str) -> HttpResponse:
    """Everything about one account's way."""
    found = require_account(account)
    clocks = get_clocks()
    card = facts.measure_card(facts.get_card(found, clocks), clocks)
    actor = actor_of_user(request.user)  # type: ignore[arg-type]
    last = facts.find_last_programme(found)
    context = {
        **admin.site.each_context(request),
        "last": last,
        "last_ended": "" if last is None else last.state.replace("_", " "),
        "title": f"Go-live: {found.name}",
        "card": card,
        "presses": list_presses(card, actor),
        "may_sign": bool(actor.roles),
        "phases": facts.list_phases(card.programme),
        "timeline": describe_timeline(found, clocks.wall_at),
        "rollbacks": [describe_rollback(row) for row in facts.list_rollbacks(found)],
        "evaluation": facts.find_evaluation(found),
        "wall_at": clocks.wall_at,
        "market_at": clocks.market_at,
        **_describe_activation(card, clocks),
        **_describe_checklist(card),
    }
    return TemplateResponse(request, "desk/golive_account.html", context)


def _describe_activation(card: facts.Card, clocks: Clocks) -> dict[str, Any]:
    if card.activation is None:
        return {}
    return {
        "drift": list_drift(card.account),
        "marks": facts.list_marks(card.activation, get_programme_rules().marks, clocks.market_at),
        "guards": facts.list_guard_counts(card.activation),
    }


def _describe_checklist(card: facts.Card) -> dict[str, Any]:
    lines = [] if card.programme is None else list_lines(card.programme)
    return {"lines": lines, "lines_met": sum(line.is_met for line in lines)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackShown:
    """A rollback with its steps and its impact as texts."""

    row: models.Rollback
    steps: Sequence[Mapping[str, Any]]
    impact: Sequence[tuple[str, str]]

    @property
    def took(self) -> str:
        """From the press to the last step, with tenths: most take less than a second."""
        if self.row.finished_at is None:
            return ""
        return f"{(self.row.finished_at - self.row.started_at).total_seconds():,.1f} s"


def describe_rollback(row: models.Rollback) -> RollbackShown:
    impact = [(name.replace("_", " "), facts.show_value(value)) for name, value in row.impact.items()]
    return RollbackShown(row=row, steps=row.steps, impact=impact)
