"""The guard: a small process that watches and stops, without Celery or Redis.

Each duty runs in a thread of its own with its own database connection, so that a venue that
does not answer cannot hold up a lease, and a duty that fails leaves its own heartbeat stale
while the others go on. The stop's sweep is woken by NOTIFY and polls once a second besides.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import psycopg
from django.conf import settings
from django.db import connection, connections, transaction

import golive.services
import risk.services
from controlplane.alerts.delivery import Couriers
from controlplane.alerts.outside import knock
from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.approvals.requests import expire_requests
from controlplane.audit.anchors import BadFile
from controlplane.audit.checkpoints import keep_checkpoints
from controlplane.audit.sealing import seal_streams
from controlplane.audit.verification import keep_verified
from controlplane.cycle import OBSERVE_EVERY, do_each, observe_accounts, recover_orders
from trading import selectors, services
from trading.models import Account

logger = logging.getLogger(__name__)

WATCHED = ("beat", "worker")
SILENCE = timedelta(seconds=15)
# Twice the workers' own interval: they come first while they live.
OBSERVE_AFTER = 2 * OBSERVE_EVERY
STOP_CHANNEL = "emergency_stop"
COURIERS = Couriers()
CHECKPOINT_PLACES = ("key", "place", "directory", "command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Something the guard does every `every` seconds, or at once when woken."""

    name: str
    every: float
    run: Callable[[], None]


def sweep_stops() -> None:
    """Start or resume the sweep of every stop that the venues have not confirmed."""
    try:
        risk.services.adopt_offline_stops()
    finally:
        # What goes wrong with a file keeps no stop from being swept.
        risk.services.sweep_stops(clocks=selectors.get_clocks())


def watch_stops() -> None:
    """Protect, or close, what is held under stops that stand; flatten where the loss goes on growing."""
    risk.services.watch_stops(clocks=selectors.get_clocks())


def pick_up_intents() -> None:
    """Send approved intents that a lost message or a dead worker left waiting, while they are valid."""
    do_each(
        selectors.list_waiting_intents(),
        lambda intent: risk.services.execute_intent(intent_id=intent.pk, clocks=selectors.get_clocks()),
    )


def compare_books() -> None:
    """Keep the book true while no worker does: a position that nobody knows of has no stop."""
    observe_accounts(every=OBSERVE_AFTER)


def renew_leases() -> None:
    golive.services.renew_leases(wall_at=selectors.get_clocks().wall_at)


def assess_risk() -> None:
    risk.services.assess_global_risk(clocks=selectors.get_clocks())


def apply_consequences() -> None:
    """Let what reached a limit only reduce, and lift what is over."""
    do_each(
        list_desk_accounts(),
        lambda account: risk.services.apply_consequences(account=account, clocks=selectors.get_clocks()),
    )


def cancel_resting_entries() -> None:
    """Take entries back from the venues where nothing may be added; a duty of its own, as venues are slow."""
    do_each(list_desk_accounts(), lambda account: risk.services.cancel_resting_entries(account=account))


def list_desk_accounts() -> Iterable[Account]:
    return selectors.list_accounts().filter(environment=settings.TRADING_ENVIRONMENT)


@cache
def get_start() -> datetime:
    """When this process began to watch (wall time): before that nothing was silent for it."""
    return selectors.get_clocks().wall_at


def watch_triggers() -> None:
    """Trip the stop where losses, data, errors or books say so."""
    began_at = get_start()
    risk.services.watch_triggers(clocks=selectors.get_clocks(), began_at=began_at)


def observe_activations() -> None:
    """Run the guards of every fresh activation, and take back what they say."""
    golive.services.observe_activations()


def resume_rollbacks() -> None:
    """Go on with every rollback that is not through, where somebody died or a venue did not answer."""
    golive.services.resume_rollbacks()


def divide_exposure() -> None:
    """Give every account its part of the limits that span accounts."""
    risk.services.divide_exposure()


def correlate_symbols() -> None:
    risk.services.update_correlations(clocks=selectors.get_clocks())


def watch_drift() -> None:
    """Let what was activated only reduce while something else is loaded than was approved."""
    golive.services.watch_drift(clocks=selectors.get_clocks())


def tidy_requests() -> None:
    """Close requests whose time is over; each use checks that itself."""
    expire_requests()


def lift_rearmed() -> None:
    """Let re-armed scopes be active again whose time of reducing is over."""
    risk.services.lift_rearmed(clocks=selectors.get_clocks())


def rehearse_stop() -> None:
    """Stop the paper account for it once a day, for real, and see that the venue confirms it."""
    risk.services.run_due_drill()


def demote_losers() -> None:
    """Take one rung from every live account that reached its weekly loss."""
    golive.services.demote_losers(clocks=selectors.get_clocks())


def record_uptime() -> None:
    """Keep whether the desk was up in this slot of market time: evidence for the next rung."""
    golive.services.record_uptime(clocks=selectors.get_clocks())


def watch_processes() -> None:
    """Tell a person when beat or the workers show no life, and take it back when they do."""
    began_at, wall_at = get_start(), selectors.get_clocks().wall_at
    beats = selectors.list_heartbeats()
    for name in WATCHED:
        if name not in beats:
            # A desk that never had one is starting; what never comes is pre-flight's to find.
            continue
        if wall_at - max(beats[name].beat_at, began_at) < SILENCE:
            if beats[name].beat_at < began_at:
                # From before this desk's pause: neither life nor silence yet.
                continue
            resolve_alert(code="process_silent", scope=name, wall_at=wall_at)
            continue
        with transaction.atomic():
            raise_alert(
                code="process_silent",
                severity="critical",
                scope=name,
                text=f"{name} has shown no life for {SILENCE.seconds} s: no cycle is traded",
                wall_at=wall_at,
            )


def seal_records() -> None:
    seal_streams(now=selectors.get_clocks().wall_at)


def anchor_log() -> None:
    """Sign the log's head and hand it outside when that is due; say so where it cannot be done."""
    wall_at = selectors.get_clocks().wall_at
    problems = {problem.sink: problem.text for problem in keep_checkpoints(now=wall_at)}
    for sink in CHECKPOINT_PLACES:
        if sink not in problems:
            resolve_alert(code="audit_checkpoint_failed", scope=sink, wall_at=wall_at)
            continue
        with transaction.atomic():
            raise_alert(
                code="audit_checkpoint_failed",
                severity="warning",
                scope=sink,
                text=f"The audit log is not anchored outside: {problems[sink]}",
                wall_at=wall_at,
            )


def verify_log() -> None:
    """Verify the whole log once a day: a log that is not whole is an alarm."""
    wall_at = selectors.get_clocks().wall_at
    try:
        found = keep_verified(now=wall_at)
        why = "" if found.is_whole else f"from seq {found.first_bad_seq}: {found.why}"
    except BadFile as error:
        why = f"as its checkpoints say nothing that can be trusted: {error}"
    if not why:
        resolve_alert(code="audit_broken", scope="log", wall_at=wall_at)
        return
    with transaction.atomic():
        raise_alert(
            code="audit_broken",
            severity="critical",
            scope="log",
            text=f"The audit log is not proved whole {why}",
            wall_at=wall_at,
        )


def deliver_alerts() -> None:
    COURIERS.run(wall_at=selectors.get_clocks().wall_at)


def show_life_outside() -> None:
    """Ask the address that expects us, while the desk could stop; its silence is somebody else's alarm."""
    if not settings.ALERT_HEARTBEAT_URL:
        return
    wall_at = selectors.get_clocks().wall_at
    if not golive.services.can_stop(wall_at=wall_at):
        logger.error("a duty that stops trading shows no life, so none is shown outside")
        return
    error = knock(settings.ALERT_HEARTBEAT_URL)
    if not error:
        resolve_alert(code="outside_watch", scope="all", wall_at=wall_at)
        return
    with transaction.atomic():
        raise_alert(
            code="outside_watch",
            severity="warning",
            scope="all",
            text=f"The watch outside could not be reached: {error}",
            wall_at=wall_at,
        )


# In the order of what matters most.
DUTIES = (
    Duty(name="sweep", every=1.0, run=sweep_stops),
    Duty(name="watch", every=5.0, run=watch_stops),
    Duty(name="triggers", every=1.0, run=watch_triggers),
    Duty(name="recovery", every=1.0, run=recover_orders),
    Duty(name="intents", every=1.0, run=pick_up_intents),
    Duty(name="books", every=5.0, run=compare_books),
    Duty(name="leases", every=5.0, run=renew_leases),
    Duty(name="rollbacks", every=1.0, run=resume_rollbacks),
    Duty(name="observing", every=2.0, run=observe_activations),
    Duty(name="risk", every=2.0, run=assess_risk),
    Duty(name="consequences", every=2.0, run=apply_consequences),
    Duty(name="entries", every=2.0, run=cancel_resting_entries),
    Duty(name="demotion", every=2.0, run=demote_losers),
    Duty(name="correlations", every=5.0, run=correlate_symbols),
    Duty(name="exposure", every=10.0, run=divide_exposure),
    Duty(name="drift", every=10.0, run=watch_drift),
    Duty(name="requests", every=60.0, run=tidy_requests),
    Duty(name="rearmed", every=5.0, run=lift_rearmed),
    # Asked often, so that a new desk has its first drill soon; run only when one is due.
    Duty(name="drill", every=10.0, run=rehearse_stop),
    Duty(name="uptime", every=5.0, run=record_uptime),
    Duty(name="processes", every=5.0, run=watch_processes),
    Duty(name="alerts", every=1.0, run=deliver_alerts),
    Duty(name="outside", every=60.0, run=show_life_outside),
    Duty(name="seal", every=5.0, run=seal_records),
    Duty(name="checkpoint", every=5.0, run=anchor_log),
    Duty(name="verify", every=300.0, run=verify_log),
)


class Guard:
    """Runs the duties until told to stop."""

    def __init__(self, duties: tuple[Duty, ...] = DUTIES) -> None:
        self._duties = duties
        self._stopping = threading.Event()
        self._wake = {duty.name: threading.Event() for duty in duties}

    def run(self) -> None:
        """Block until `stop` is called; returns when every duty has ended."""
        threads = [
            threading.Thread(target=self._perform, args=(duty,), name=duty.name) for duty in self._duties
        ]
        threads.append(threading.Thread(target=self._listen, name="listen"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        self._stopping.set()
        for event in self._wake.values():
            event.set()

    def _perform(self, duty: Duty) -> None:
        while not self._stopping.is_set():
            try:
                duty.run()
                services.record_heartbeat(name=f"guard:{duty.name}")
            # One broken duty must not end the others; its heartbeat goes stale, and stale denies.
            except Exception:
                logger.exception("the duty %s failed", duty.name)
                connection.close()
            self._wake[duty.name].wait(duty.every)
            self._wake[duty.name].clear()
        connections.close_all()

    def _listen(self) -> None:
        """Wake the sweep at a trip's commit; without the channel the poll still finds it."""
        while not self._stopping.is_set():
            try:
                self._wait_for_notices()
            except psycopg.Error as error:
                logger.warning("listening for trips failed, polling goes on: %s", error)
                self._stopping.wait(1.0)

    def _wait_for_notices(self) -> None:
        parameters = connection.get_connection_params()
        parameters.pop("cursor_factory", None)
        parameters.pop("context", None)
        with psycopg.connect(**parameters, autocommit=True) as listener:
            listener.execute(f"LISTEN {STOP_CHANNEL}")
            while not self._stopping.is_set():
                for _ in listener.notifies(timeout=1.0, stop_after=1):
                    if "sweep" in self._wake:
                        self._wake["sweep"].set()
