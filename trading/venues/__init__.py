"""Venues behind one Gateway. Only trading.dispatch, trading.reconcile and trading.market come here."""

import os
import threading
from functools import lru_cache

from django.conf import settings

from trading.core.values import Environment
from trading.venue_config import VENUES_WITH_DIALECT, load_venue_config
from trading.venues.gateway import Cause, Gateway, VenueError


def open_gateway(*, venue: str, account: str, environment: str) -> Gateway:
    """The gateway of an account at a venue, one per process and thread; opening asks nothing of the venue.

    Raises VenueError: unknown venue, missing keys, another environment than the desk's, a capability
    that config/venues.yaml requires and the venue lacks, or (paper) a venue that is not simulated.
    """
    if environment != settings.TRADING_ENVIRONMENT:
        raise VenueError(
            f"account {account} is for {environment}, the desk runs in {settings.TRADING_ENVIRONMENT}",
            cause=Cause.VENUE,
            code="environment_mismatch",
        )
    return _open(venue, account, Environment(environment), os.getpid(), threading.get_ident())


def list_keyed_accounts(*, venue: str, default: str) -> tuple[str, ...]:
    """The accounts that the environment has keys of the venue for; the desk's own pair goes by `default`."""
    from trading.venues import binanceusdm
    from trading.venues.keys import list_key_accounts

    if venue not in VENUES_WITH_DIALECT:
        return (default,)
    return list_key_accounts(prefix=binanceusdm.KEY_PREFIX, default=default)


def close_gateways() -> None:
    """Forget every open gateway, so that the next one reads its keys again."""
    _open.cache_clear()


@lru_cache(maxsize=64)
def _open(venue: str, account: str, environment: Environment, _pid: int, _thread: int) -> Gateway:
    """Process and thread are part of the key: a connection must not be shared after a fork."""
    if venue not in VENUES_WITH_DIALECT:
        raise VenueError(
            f"{venue}: no such venue; known: {', '.join(sorted(VENUES_WITH_DIALECT))}",
            cause=Cause.VENUE,
            code="venue_unknown",
        )
    from trading.venues import binanceusdm
    from trading.venues.ccxt_client import VenueClient
    from trading.venues.keys import read_keys

    client = VenueClient(
        venue=venue,
        environment=environment,
        keys=read_keys(prefix=binanceusdm.KEY_PREFIX, account=account),
        redirects=_find_redirects(venue, environment, binanceusdm.PRODUCTION_HOSTS),
    )
    gateway = binanceusdm.BinanceUsdmGateway(client)
    _check_capabilities(gateway)
    return gateway


def _find_redirects(venue: str, environment: Environment, hosts: tuple[str, ...]) -> dict[str, str] | None:
    if environment is not Environment.PAPER:
        return None
    base = settings.SIMULATED_VENUES.get(venue)
    if not base:
        raise VenueError(
            f"{venue}: SIMULATED_VENUES names no address for it",
            cause=Cause.VENUE,
            code="venue_not_simulated",
        )
    return dict.fromkeys(hosts, base)


def _check_capabilities(gateway: Gateway) -> None:
    able = gateway.capabilities
    lacking = [name for name in load_venue_config().required_capabilities if not getattr(able, f"has_{name}")]
    if lacking:
        raise VenueError(
            f"{able.venue}: cannot do {', '.join(lacking)}", cause=Cause.VENUE, code="venue_incapable"
        )
