"""Global risk: is the desk as a whole fit to take new risk? Pure; thin, but of measured facts only.

Measured are the age of prices, balances and reconciliations (wall time, so that a market clock at
any speed reads the same) and the drawdown of the day. What is unknown is CRITICAL.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from risk.core.values import RiskLevel

WARNING_AGE = timedelta(seconds=90)
CRITICAL_AGE = timedelta(seconds=180)
# The drawdown of the day that would trip the emergency stop is CRITICAL, half of it WARNING.
WARNING_SHARE = Decimal("0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """One permitted account at its primary venue; None is unknown.

    `drawdown_ratio` is (peak - equity) / peak since 00:00 UTC, external flows netted, >= 0;
    `drawdown_limit_ratio` is where the emergency stop trips.
    """

    account: str
    venue: str
    price_age: timedelta | None
    balance_age: timedelta | None
    reconciliation_age: timedelta | None
    is_reconciled: bool
    drawdown_ratio: Decimal | None
    drawdown_limit_ratio: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The level and every reason for it, the gravest first."""

    level: RiskLevel
    reasons: tuple[str, ...]


def assess(accounts: tuple[AccountFacts, ...]) -> Assessment:
    """The gravest finding over all permitted accounts; without one it is OK, as nothing is at risk."""
    findings = [finding for facts in accounts for finding in _find(facts)]
    findings.sort(key=lambda finding: -finding[0].severity)
    level = findings[0][0] if findings else RiskLevel.OK
    return Assessment(level=level, reasons=tuple(f"{grade.value}: {text}" for grade, text in findings))


def _find(facts: AccountFacts) -> Iterator[tuple[RiskLevel, str]]:
    where = f"{facts.account} at {facts.venue}"
    ages = {
        "prices": facts.price_age,
        "balance": facts.balance_age,
        "reconciliation": facts.reconciliation_age,
    }
    for name, age in ages.items():
        if age is None:
            yield RiskLevel.CRITICAL, f"{where}: {name} unknown"
        elif age > WARNING_AGE:
            level = RiskLevel.CRITICAL if age > CRITICAL_AGE else RiskLevel.WARNING
            yield level, f"{where}: {name} older than {_limit(level).total_seconds():.0f} s"
    if not facts.is_reconciled and facts.reconciliation_age is not None:
        yield RiskLevel.WARNING, f"{where}: our book and the venue's differ"
    yield from _find_drawdown(facts, where)


def _limit(level: RiskLevel) -> timedelta:
    return CRITICAL_AGE if level is RiskLevel.CRITICAL else WARNING_AGE


def _find_drawdown(facts: AccountFacts, where: str) -> Iterator[tuple[RiskLevel, str]]:
    drawdown, limit = facts.drawdown_ratio, facts.drawdown_limit_ratio
    if drawdown is None or limit is None:
        yield RiskLevel.CRITICAL, f"{where}: drawdown unknown"
    elif drawdown >= limit:
        yield RiskLevel.CRITICAL, f"{where}: drawdown of the day at the stop"
    elif drawdown >= limit * WARNING_SHARE:
        yield RiskLevel.WARNING, f"{where}: drawdown of the day above half of the stop"
