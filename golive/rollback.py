"""The way back: by one person or a guard, from any state, asking nobody and waiting for nothing.

The first commit takes the risk away: hold, permit, limits (or the halt), overrides, what was not sent yet.
All that follows (golive.rollback_steps) tidies up after it and may fail and be tried again; none of it can
give anything back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected

from controlplane.alerts.services import raise_alert
from controlplane.approvals.core import Actor
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import Conflict, NotPermitted
from controlplane.process import start_detached
from golive.core.guards import GuardResult
from golive.core.words import ActivationState, Phase, ProgrammeState
from golive.holds import hold_account, lock_account
from golive.models import Activation, GuardTrip, Programme, Rollback
from golive.permits import end_permit, replace_permit
from golive.rollback_plan import Plan, make_plan
from golive.rollback_steps import DONE, OWN_STEPS, advance_rollback, make_step
from risk.core.emergency_stop import PositionPolicy, StopSource, parse_scope
from risk.overrides import bump_book, end_overrides
from risk.services import store_limit_set
from risk.stops.emergency import halt_scope, lapse_entries, require_may_stop, start_sweeper
from risk.stops.states import halt
from trading import selectors
from trading.core.values import Clocks, Environment, OrderPurpose
from trading.models import Account, Heartbeat

DEFAULT_REASON = "rolled back by hand"
MANUAL, DRILL = "manual", "drill"
ALERT = "rolled_back"
HEARTBEAT = "guard:rollbacks"
SILENT_AFTER = timedelta(seconds=5)
ATTEMPTS = 5


class ActivationOver(Conflict):
    """The activation that a guard judged has been superseded meanwhile."""

    code = "activation_over"


class NotOnPaper(NotPermitted):
    """A rollback is rehearsed on paper accounts only."""

    code = "not_on_paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who takes an account back, and why; `trip` is the guard that does, of the activation it watched."""

    account: Account
    actor: Actor
    trigger: str
    reason: str
    clocks: Clocks
    trip: GuardResult | None = None
    activation: Activation | None = None

    @property
    def scope(self) -> str:
        return f"account:{self.account.name}"


def roll_back(
    *,
    account: Account,
    actor: Actor,
    trigger: str = MANUAL,
    reason: str = DEFAULT_REASON,
    clocks: Clocks | None = None,
    call_finisher: Callable[[int], object] | None = None,
) -> Rollback:
    """Take the account back now; where a rollback of it runs already, that one.

    Needs no approval and no second factor. From the return on nothing more than before may be risked; the
    venue's part is finished by the guard or, if it is silent, by a process of its own (`call_finisher`
    replaces that). With the trigger DRILL it is a rehearsal: all of it for real, on paper only.
    Raises NotDesignated, ScopeMissing and NotOnPaper; a refusal is audited.
    """
    reason = reason.strip() or DEFAULT_REASON
    with audited_attempt(
        action="golive.rollback",
        actor=actor.audit_name,
        subject_type="account",
        subject_id=account.name,
        reason=reason,
        detail={"trigger": trigger},
    ):
        require_may_stop(actor)
        if trigger == DRILL and account.environment != Environment.PAPER:
            raise NotOnPaper(f"account {account.name} is no paper account")
        order = Order(
            account=account,
            actor=actor,
            trigger=trigger,
            reason=reason,
            clocks=clocks or selectors.get_clocks(),
        )
        row = take_risk(order)
    row = advance_rollback(row.pk, steps=OWN_STEPS)
    if row.finished_at is None:
        (call_finisher or finish_if_unguarded)(row.pk)
    return row


def take_risk(order: Order) -> Rollback:
    """The first commit, again where the database sacrificed it to a deadlock."""
    for attempt in range(ATTEMPTS):
        try:
            return _take_once(order)
        except OperationalError as error:
            if not isinstance(error.__cause__, DeadlockDetected) or attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("not reached")


@transaction.atomic(durable=True)
def _take_once(order: Order) -> Rollback:
    """One of two that come together finds what the other did. Locks: account, state, book, permit."""
    began = perf_counter()
    lock_account(order.account)
    if (standing := _find_done(order)) is not None:
        return standing
    plan = make_plan(order.account)
    impact = measure_impact(order.account)
    if plan.after is None:
        halt(scope=order.scope, reason=order.reason, source=StopSource.MANUAL)
    bump_book(order.account)
    lapsed = lapse_entries(parse_scope(order.scope))
    _end_activation(plan)
    _swap_permit(plan, order)
    if order.trip is not None:
        _keep_trip(order)
    row = _write(order, plan, impact | {"lapsed_intents": lapsed})
    _tell(row, order, plan)
    row.steps = [make_step("risk", DONE, _describe(plan), began)]
    row.save(update_fields=["steps"])
    return row


def _find_done(order: Order) -> Rollback | None:
    """The rollback that runs; for a guard also the one that took its activation back meanwhile."""
    running = Rollback.objects.filter(account=order.account, finished_at__isnull=True).first()
    if order.activation is None:
        return running
    if running is not None:
        _keep_trip(order)
        return running
    if Activation.objects.filter(pk=order.activation.pk, ended_at__isnull=True).exists():
        return None
    done = Rollback.objects.filter(activation=order.activation).order_by("-id").first()
    if done is None:
        raise ActivationOver(
            f"activation {order.activation.pk} has ended; what came after it is not judged by it"
        )
    return done


def _keep_trip(order: Order) -> None:
    trip, activation = order.trip, order.activation
    if trip is None or activation is None:
        return
    row, is_new = GuardTrip.objects.get_or_create(
        activation=activation,
        guard=trip.guard,
        defaults={
            "verdict": trip.verdict.value,
            "measured": trip.measured,
            "threshold": trip.threshold,
            "detail": trip.detail,
            "market_at": order.clocks.market_at,
        },
    )
    if is_new:
        record(
            action="golive.guard_trip",
            actor=order.actor.audit_name,
            subject_type="account",
            subject_id=order.account.name,
            reason=order.reason,
            detail={"trip": row.pk, "activation": activation.pk, "guard": row.guard, "verdict": row.verdict}
            | {"measured": row.measured, "threshold": row.threshold},
        )


def measure_impact(account: Account) -> dict[str, Any]:
    """What is held and what rests at this moment, as it was when the risk was taken away."""
    places = list(selectors.list_venue_accounts(account))
    return {
        "positions": [
            {
                "venue": row.venue_account.venue,
                "symbol": row.symbol,
                "quantity": f"{row.quantity.normalize():f}",
            }
            for place in places
            for row in selectors.list_open_positions(place)
        ],
        "entries": [
            order.client_order_id
            for place in places
            for order in selectors.list_unsettled_orders(place).filter(purpose=OrderPurpose.ENTRY)
        ],
    }


def _swap_permit(plan: Plan, order: Order) -> None:
    """One of the same kind with a higher token, or none: what was approved under the old one is void."""
    name, wall_at = order.actor.audit_name, order.clocks.wall_at
    if plan.permit is None:
        return
    if plan.after is None:
        end_permit(permit=plan.permit, actor=name, reason=order.reason, wall_at=wall_at)
        return
    limit_set = store_limit_set(limits=plan.after, actor=name, reason=order.reason)
    replace_permit(
        account=order.account,
        kind=plan.permit.kind,
        profile=limit_set.profile,
        limit_set_digest=limit_set.digest,
        actor=name,
        reason=order.reason,
        wall_at=wall_at,
    )


def _end_activation(plan: Plan) -> None:
    if plan.standing is None:
        return
    Activation.objects.filter(pk=plan.standing.pk, ended_at__isnull=True).update(
        state=ActivationState.ROLLED_BACK.value, ended_at=Now(), version=F("version") + 1
    )
    Programme.objects.filter(pk=plan.standing.programme_id, state=ProgrammeState.OPEN.value).update(
        state=ProgrammeState.ROLLED_BACK.value,
        closed_at=Now(),
        outcome=f"rolled back in {Phase(plan.standing.programme.phase).value}",
        version=F("version") + 1,
    )


def _write(order: Order, plan: Plan, impact: Mapping[str, Any]) -> Rollback:
    return Rollback.objects.create(
        account=order.account,
        activation=plan.standing,
        trigger=order.trigger,
        actor=order.actor.audit_name,
        reason=order.reason,
        from_limit_set_digest="" if plan.permit is None else plan.permit.limit_set_digest,
        to_limit_set_digest="" if plan.after is None else plan.after.digest,
        is_clamped=plan.is_clamped,
        impact=dict(impact),
        market_at=order.clocks.market_at,
    )


def _tell(row: Rollback, order: Order, plan: Plan) -> None:
    """What is raised ends, the latch falls, people are told."""
    name, account = order.actor.audit_name, order.account
    _record_close(order, plan)
    end_overrides(account=account, reason=order.reason, actor=name)
    hold_account(account=account, reason=order.reason, actor=name, clocks=order.clocks)
    if plan.after is None:
        _halt(row, order)
    raise_alert(
        code=ALERT,
        severity="critical",
        scope=order.scope,
        text=f"{account.name} was rolled back by {name}: {order.reason}. {_describe(plan)}",
        wall_at=order.clocks.wall_at,
    )
    record(
        action="golive.rollback",
        actor=name,
        subject_type="account",
        subject_id=account.name,
        reason=order.reason,
        detail={
            "rollback": row.pk,
            "trigger": order.trigger,
            "activation": None if plan.standing is None else plan.standing.pk,
            "from": row.from_limit_set_digest,
            "to": row.to_limit_set_digest,
            "is_clamped": row.is_clamped,
            "impact": row.impact,
        },
    )


def _record_close(order: Order, plan: Plan) -> None:
    if plan.standing is None or plan.standing.programme.state != ProgrammeState.OPEN:
        return
    record(
        action="golive.programme_close",
        actor=order.actor.audit_name,
        subject_type="account",
        subject_id=order.account.name,
        reason=order.reason,
        detail={"programme": plan.standing.programme_id, "state": ProgrammeState.ROLLED_BACK.value},
    )


def _halt(row: Rollback, order: Order) -> None:
    """Protections and positions stay; the sweep of the stop cancels what could add."""
    event = halt_scope(
        parse_scope(order.scope),
        {
            "source": StopSource.MANUAL,
            "evidence": {"rollback": row.pk, "rolled_back_by": order.trigger},
            "positions": PositionPolicy.KEEP,
        },
        reason=order.reason,
        actor=order.actor,
        clocks=order.clocks,
    )
    transaction.on_commit(lambda: start_sweeper(event.pk))


def _describe(plan: Plan) -> str:
    if plan.after is None or plan.target is None:
        return "no confirmed limits to go back to: halted"
    how = "clamped to no more than before" if plan.is_clamped else "as confirmed"
    return f"limits of activation {plan.target.pk} ({plan.after.profile}), {how}"


def finish_if_unguarded(rollback_id: int) -> None:
    """Start a process for the venue's part if no guard has shown life lately."""
    if Heartbeat.objects.filter(name=HEARTBEAT, beat_at__gt=Now() - SILENT_AFTER).exists():
        return
    try:
        start_detached("golive", "rollback", "--resume", str(rollback_id))
    except OSError:
        # The risk is away; the guard finishes it when it is back.
        return
