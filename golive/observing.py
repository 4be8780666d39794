"""Watches fresh activations: guards every round, snapshots at the marks, and what the counts call for.

The duty of the guard process. It can hold an account and take it back, and release or activate nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from controlplane.approvals.core import Actor, ActorKind
from controlplane.audit.services import record
from golive.core.guards import (
    Consequence,
    Count,
    GuardName,
    GuardResult,
    GuardRule,
    count_verdict,
    find_consequence,
    sum_up,
)
from golive.core.words import ActivationState, GuardVerdict
from golive.guards import GUARDS, Guard, run_guards
from golive.holds import hold_account
from golive.models import Activation, GuardCount, Observation, Rollback
from golive.observation_facts import read_facts
from golive.programme_rules import get_programme_rules
from golive.rollback import ActivationOver, Order, finish_if_unguarded, take_risk
from golive.rollback_steps import OWN_STEPS, advance_rollback
from trading import selectors
from trading.core.values import Clocks

OBSERVER = Actor(name="observing", kind=ActorKind.GUARD)
# A snapshot may be so late (market time), and by as much of the market's time as passes while the
# machine makes its rounds (wall time).
TOLERANCE = timedelta(minutes=1)
ROUND = timedelta(seconds=5)
COUNTED = ("verdict", "fails", "inconclusives", "errors", "measured", "threshold", "detail", "checked_at")


def observe_activations(*, clocks: Clocks | None = None) -> int:
    """One round over every activation under observation; returns how many were taken back."""
    rows = Activation.objects.filter(
        state=ActivationState.OBSERVING.value,
        ended_at__isnull=True,
        account__environment=settings.TRADING_ENVIRONMENT,
    ).order_by("id")
    found = [observe_activation(pk, clocks=clocks) for pk in rows.values_list("pk", flat=True)]
    return sum(row is not None for row in found)


def observe_activation(
    activation_id: int,
    *,
    clocks: Clocks | None = None,
    guards: Mapping[GuardName, Guard] = GUARDS,
    rules: Mapping[str, GuardRule] | None = None,
    call_finisher: Callable[[int], object] = finish_if_unguarded,
) -> Rollback | None:
    """One round; the rollback where it was taken back. Another evaluator at the same time does no harm."""
    now = clocks or selectors.get_clocks()
    wanted = get_programme_rules().guards if rules is None else rules
    seen = _look(activation_id, now, guards, wanted)
    if seen is None:
        return None
    activation, results, counts = seen
    for result in results:
        rule = wanted.get(result.guard)
        if _follow(rule, counts[result.guard]) is Consequence.ROLL_BACK:
            return trip_activation(activation, result, now, call_finisher)
    for result in results:
        rule = wanted.get(result.guard)
        if _follow(rule, counts[result.guard]) is Consequence.HOLD:
            reason = f"guard {result.guard} cannot say anything: {result.detail}"
            hold_account(account=activation.account, reason=reason, actor=OBSERVER.audit_name, clocks=now)
            break
    return None


def _follow(rule: GuardRule | None, count: Count) -> Consequence:
    """A guard whose own rule is gone can only have said that guards are."""
    return Consequence.ROLL_BACK if rule is None else find_consequence(rule, count)


def trip_activation(
    activation: Activation,
    result: GuardResult,
    clocks: Clocks,
    call_finisher: Callable[[int], object] = finish_if_unguarded,
) -> Rollback | None:
    """The trip, the latch, the way back, their events and the alert in one commit; once for all.

    None where the activation was superseded meanwhile.
    """
    reason = f"guard {result.guard}: {result.measured}, the limit is {result.threshold}"
    if result.detail:
        reason = f"{reason} ({result.detail})"
    order = Order(
        account=activation.account,
        actor=OBSERVER,
        trigger=f"guard:{result.guard}"[:40],
        reason=reason,
        clocks=clocks,
        trip=result,
        activation=activation,
    )
    try:
        row = advance_rollback(take_risk(order).pk, steps=OWN_STEPS)
    except ActivationOver:
        return None
    if row.finished_at is None:
        call_finisher(row.pk)
    return row


@transaction.atomic
def _look(
    activation_id: int,
    clocks: Clocks,
    guards: Mapping[GuardName, Guard],
    rules: Mapping[str, GuardRule],
) -> tuple[Activation, list[GuardResult], dict[str, Count]] | None:
    """Run, count and take due marks under the activation's lock; who does not get it leaves the round."""
    activation = (
        Activation.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("account", "freeze", "programme")
        .filter(pk=activation_id, state=ActivationState.OBSERVING.value, ended_at__isnull=True)
        .first()
    )
    if activation is None:
        return None
    results = run_guards(activation, rules, clocks, guards)
    counts = _count(activation, results)
    _take_marks(activation, results, rules, clocks)
    return activation, results, counts


def _count(activation: Activation, results: Iterable[GuardResult]) -> dict[str, Count]:
    """Kept in rows, so that a guard process that dies loses none."""
    before = {row.guard: row for row in GuardCount.objects.filter(activation=activation)}
    counts: dict[str, Count] = {}
    rows = []
    for result in results:
        counts[result.guard] = count_verdict(_count_of(before.get(result.guard)), result.verdict)
        rows.append(_make_row(activation, result, counts[result.guard]))
    GuardCount.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["activation", "guard"], update_fields=COUNTED
    )
    return counts


def _count_of(row: GuardCount | None) -> Count:
    if row is None:
        return Count()
    return Count(fails=row.fails, inconclusives=row.inconclusives, errors=row.errors)


def _make_row(activation: Activation, result: GuardResult, count: Count) -> GuardCount:
    return GuardCount(
        activation=activation,
        guard=result.guard,
        verdict=result.verdict.value,
        fails=count.fails,
        inconclusives=count.inconclusives,
        errors=count.errors,
        measured=result.measured,
        threshold=result.threshold,
        detail=result.detail,
        checked_at=Now(),
    )


# Marks -----------------------------------------------------------------------------------------------


def _take_marks(
    activation: Activation, results: list[GuardResult], rules: Mapping[str, GuardRule], clocks: Clocks
) -> None:
    """Each mark that is due, once: as seen now, or, where the machine was away, as missed for ever."""
    stored = set(Observation.objects.filter(activation=activation).values_list("minute", flat=True))
    due = [
        (minute, activation.market_at + timedelta(minutes=minute))
        for minute in get_programme_rules().marks
        if minute not in stored
    ]
    due = [(minute, at) for minute, at in due if at <= clocks.market_at]
    if not due:
        return
    facts = read_facts(activation, clocks)
    verdict = sum_up(results, rules)
    tolerance = find_tolerance()
    for minute, due_at in due:
        late = clocks.market_at - due_at
        if late > tolerance:
            missed = {"missed": True, "late_seconds": int(late.total_seconds())}
            _store_mark(activation, minute, due_at, clocks, GuardVerdict.INCONCLUSIVE, missed, [])
        else:
            said = [asdict(result) for result in results]
            _store_mark(activation, minute, due_at, clocks, verdict, facts, said)


def find_tolerance() -> timedelta:
    """How late a snapshot may be, in market time: on paper the market runs ahead between two rounds."""
    clock = selectors.get_market_clock()
    return TOLERANCE + ROUND * (1 if clock is None else clock.speed)


def _store_mark(
    activation: Activation,
    minute: int,
    due_at: datetime,
    clocks: Clocks,
    verdict: GuardVerdict,
    facts: dict[str, Any],
    guards: list[dict[str, Any]],
) -> None:
    row = Observation.objects.create(
        activation=activation,
        minute=minute,
        facts=facts,
        guards=guards,
        verdict=verdict.value,
        due_market_at=due_at,
        market_at=clocks.market_at,
    )
    record(
        action="golive.observation",
        actor=OBSERVER.audit_name,
        subject_type="account",
        subject_id=activation.account.name,
        detail={
            "activation": activation.pk,
            "observation": row.pk,
            "minute": minute,
            "verdict": row.verdict,
            "missed": facts.get("missed", False),
            "guards": {item["guard"]: item["verdict"] for item in guards},
        },
    )
