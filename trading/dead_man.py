"""Dead-man timers: off by default, armed only where a probe has shown that protections survive.

The cycle renews them, so that the venue itself takes back resting entries when the cycle has died.
While HALTED none is renewed: what runs out then only takes away what the stop's sweep cancels anyhow.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.code_version import get_code_version
from controlplane.errors import DomainError
from trading import dispatch, models, selectors, services
from trading.core.values import Environment, OrderPurpose, OrderState, OutcomeKind, TradingStateName
from trading.dispatch import TimerProbe
from trading.venue_config import load_venue_config

FAILED, REFUSED = "dead_man_timer_failed", "dead_man_timer_refused"
# Renewed when a third of its length has passed.
RENEWALS = 3


def probe_dead_man_timer(
    *, venue_account: models.VenueAccount, symbol: str, wait: Callable[[float], None]
) -> TimerProbe:
    """Probe what the venue's timer cancels, and store it with the code that asked.

    Takes seconds, spent in `wait`. Raises ProbeRefused, VenueError and LockBusy.
    """
    found = dispatch.probe_timer(venue_account=venue_account, symbol=symbol, wait=wait)
    services.record_heartbeat(
        name=_name_probe(venue_account.account.environment, venue_account.venue),
        detail={
            "is_good": found.is_good,
            "entry_is_gone": found.entry_is_gone,
            "protection_rests": found.protection_rests,
            "symbol": symbol,
            "account": venue_account.account.name,
            "code_version": get_code_version(),
        },
    )
    return found


def _name_probe(environment: str, venue: str) -> str:
    return f"dead_man_probe:{environment}:{venue}"


def get_probe(venue: str) -> dict[str, Any] | None:
    """The latest probe that counts here: of this environment, and for live that of the venue's demo."""
    environment = Environment(settings.TRADING_ENVIRONMENT)
    where = Environment.DEMO if environment is Environment.LIVE else environment
    row = models.Heartbeat.objects.filter(name=_name_probe(where, venue)).first()
    return None if row is None else dict(row.detail)


def may_arm(venue: str) -> bool:
    """Whether this code has seen entries go and protections stay at the venue."""
    probe = get_probe(venue) or {}
    return probe.get("is_good") is True and probe.get("code_version") == get_code_version()


def renew_timers() -> None:
    """Renew every timer that is due; one that cannot be renewed is told and holds up no other."""
    timers = {name: terms.dead_man_timer for name, terms in load_venue_config().terms.items()}
    timers = {name: timer for name, timer in timers.items() if timer}
    rows = selectors.list_venue_accounts() if timers else ()
    for place in rows:
        is_here = place.account.environment == settings.TRADING_ENVIRONMENT
        if is_here and place.venue in timers and not selectors.is_halted(place):
            _renew_place(place, timers[place.venue])


def _renew_place(place: models.VenueAccount, timer: timedelta) -> None:
    wall_at = selectors.get_clocks().wall_at
    if not may_arm(place.venue):
        _tell(
            REFUSED,
            place.venue,
            f"{place.venue}: config/venues.yaml wants a dead-man timer, but no probe of this code has shown"
            " that protections survive it: it is not armed",
            wall_at,
        )
        return
    resolve_alert(code=REFUSED, scope=place.venue, wall_at=wall_at)
    for symbol in _list_symbols(place):
        if _is_due(place, symbol, timer, wall_at):
            _renew(place, symbol, timer, wall_at)


def _list_symbols(place: models.VenueAccount) -> list[str]:
    """Symbols on which an entry of ours rests and that are not HALTED themselves."""
    rows = selectors.list_unsettled_orders(place).filter(purpose=OrderPurpose.ENTRY, state=OrderState.OPEN)
    symbols = {order.symbol for order in rows}
    halted = models.TradingState.objects.filter(
        scope__in=[f"symbol:{symbol}" for symbol in symbols], state=TradingStateName.HALTED
    )
    return sorted(symbols - {row.scope.removeprefix("symbol:") for row in halted})


def _name_timer(place: models.VenueAccount, symbol: str) -> str:
    return f"dead_man:{place.pk}:{symbol}"


def _is_due(place: models.VenueAccount, symbol: str, timer: timedelta, wall_at: datetime) -> bool:
    row = models.Heartbeat.objects.filter(name=_name_timer(place, symbol)).first()
    return row is None or wall_at - row.beat_at >= timer / RENEWALS


def _renew(place: models.VenueAccount, symbol: str, timer: timedelta, wall_at: datetime) -> None:
    scope = f"{place}:{symbol}"
    try:
        outcome = dispatch.arm_timer(venue_account=place, symbol=symbol, timer=timer)
    except DomainError as refusal:
        _tell(FAILED, scope, f"{scope}: the dead-man timer is not renewed: {refusal}", wall_at)
        return
    if outcome.kind is not OutcomeKind.ACCEPTED:
        text = f"{outcome.kind} {outcome.code} {outcome.text}"
        _tell(FAILED, scope, f"{scope}: the dead-man timer is not renewed: {text}", wall_at)
        return
    services.record_heartbeat(
        name=_name_timer(place, symbol), detail={"seconds": timer.total_seconds(), "scope": scope}
    )
    resolve_alert(code=FAILED, scope=scope, wall_at=wall_at)


def _tell(code: str, scope: str, text: str, wall_at: datetime) -> None:
    with transaction.atomic():
        raise_alert(code=code, severity="warning", scope=scope, text=text, wall_at=wall_at)
