"""Can the desk trade at the primary venue and at every failover candidate?"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from golive.core.values import Finding, Measured
from golive.preflight.context import Context, Details, list_subjects, missing_account, restart
from trading import models, selectors
from trading.core.values import Environment
from trading.market import VenueConfig, VenueProbe, load_venue_config, probe_venue
from trading.selectors import get_clocks

# Binance refuses what is signed more than a second ahead of its clock.
MAX_SKEW_MS = 1000
NOT_APPLICABLE = "not applicable"
RETRY = "python3 manage.py preflight --check check_exchange_connectivity"
Facts = Mapping[str, Any]
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def measure(context: Context) -> Measured:
    config = load_venue_config()
    accounts = list_subjects(context)
    if not accounts:
        return Measured(reason="", findings=(missing_account(context),))
    details: Details = {"primary": config.primary, "candidates": list(config.candidates)}
    if not config.candidates:
        details["warnings"] = ["no_failover_candidate"]
    findings: list[Finding] = []
    market_at = get_clocks().market_at
    for account, venue in list_places(config, accounts):
        probe = probe_venue(venue=venue, account=account.name, market_at=market_at)
        details[f"{account.name}@{venue}"] = describe(probe)
        findings += judge(probe, account)
    return Measured(reason="venues_ready", details=details, findings=tuple(findings))


def list_places(config: VenueConfig, accounts: list[models.Account]) -> Iterator[tuple[models.Account, str]]:
    """Every account at the primary and at every candidate, and wherever else it has a place."""
    for account in accounts:
        own = [place.venue for place in selectors.list_venue_accounts(account)]
        for venue in dict.fromkeys((*config.venues, *own)):
            yield account, venue


def describe(probe: VenueProbe) -> Details:
    return {
        item.name: dict(item.facts)
        if item.is_answered
        else {"error": item.error, "cause": item.depends_on or (item.cause and item.cause.value)}
        for item in probe.items
    }


def judge(probe: VenueProbe, account: models.Account) -> Iterator[Finding]:
    """One finding per item that was not answered or says what it must not."""
    for item in probe.items:
        if not item.is_answered:
            if not item.depends_on:
                cause = item.cause.value if item.cause else "venue"
                yield _finding(probe, item.name, cause, item.error)
            continue
        said = JUDGES[item.name](item.facts, probe, account)
        if said is not None:
            yield _finding(probe, item.name, *said)


def _finding(probe: VenueProbe, item: str, reason: str, text: str) -> Finding:
    steps = {"auth": "env | grep -o '^[A-Z]*_API_KEY[A-Z_]*'", "clock": "timedatectl status"}
    is_down = reason in {"refused", "timeout", "dns"} and settings.TRADING_ENVIRONMENT == "paper"
    step = restart(f"venue-{probe.venue}") if is_down else steps.get(reason, RETRY)
    return Finding(reason=reason, text=f"{probe.account}@{probe.venue} {item}: {text}", next=step)


Said = tuple[str, str] | None


def _judge_skew(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    if abs(int(facts["skew_ms"])) <= MAX_SKEW_MS:
        return None
    return "clock", f"our clock is {facts['skew_ms']} ms away, at most {MAX_SKEW_MS}"


def _judge_instruments(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    if not facts["missing"]:
        return None
    return "symbol_not_trading", f"not traded there: {facts['missing']}"


def _judge_permissions(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    if facts.get("state") == NOT_APPLICABLE:
        if settings.TRADING_ENVIRONMENT == Environment.LIVE:
            return "permissions_unknown", "the venue does not say what the key may do"
        return None
    if facts["can_withdraw"]:
        return "key_may_withdraw", "the key may withdraw; make one that may not"
    if not facts["can_trade_futures"]:
        return "key_may_not_trade", "the key may not trade futures"
    return None


def _judge_position_mode(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    if not facts["is_one_way"]:
        return "hedge_mode", "the account is in hedge mode, the desk needs one-way"
    if not facts["is_single_asset"]:
        return "multi_asset_mode", "the account is in multi-asset mode, the desk needs single-asset"
    return None


def _judge_margin_mode(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    """What the desk has set to isolated must still be; other symbols are set before their first order."""
    prepared = models.VenueSetting.objects.filter(
        venue_account__account=account, venue_account__venue=probe.venue, margin_mode="isolated"
    ).values_list("symbol", flat=True)
    changed = [symbol for symbol in prepared if not str(facts.get(symbol, "isolated")).startswith("isolated")]
    if not changed:
        return None
    return "margin_mode_changed", f"set to isolated by the desk, and no longer: {', '.join(sorted(changed))}"


def _judge_environment(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    environment, endpoint = settings.TRADING_ENVIRONMENT, urlsplit(str(facts["endpoint"]))
    is_local = endpoint.hostname in LOOPBACK
    if facts["environment"] != environment or account.environment != environment:
        return "environment_mismatch", f"the desk runs in {environment}, found {facts['environment']}"
    if (environment == Environment.PAPER) != is_local or (not is_local and endpoint.scheme != "https"):
        return "environment_mismatch", f"{environment} must not go to {facts['endpoint']}"
    return None


def _judge_order_path(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    if facts.get("state") == NOT_APPLICABLE or facts.get("outcome") == "accepted":
        return None
    return "order_refused", f"the test order was refused: {facts.get('code')} {facts.get('text')}"


def _is_fine(facts: Facts, probe: VenueProbe, account: models.Account) -> Said:
    return None


JUDGES: Mapping[str, Callable[[Facts, VenueProbe, models.Account], Said]] = {
    "reachable": _is_fine,
    "skew_ms": _judge_skew,
    "instruments": _judge_instruments,
    "balance": _is_fine,
    "permissions": _judge_permissions,
    "position_mode": _judge_position_mode,
    "margin_mode": _judge_margin_mode,
    "environment": _judge_environment,
    "order_path": _judge_order_path,
}
