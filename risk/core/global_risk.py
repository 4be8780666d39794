"""Global risk: is the desk as a whole fit to take new risk? Pure.

Every measure has a WARNING and a CRITICAL threshold. Ages are of wall time, so that a market clock at
any speed reads the same, and breach above their threshold; everything else breaches from it on. What
is unknown is CRITICAL: of the book only while the account holds or waits for something.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from risk.core.values import RiskLevel


class MeasureName(StrEnum):
    """What global risk is judged by; also the stable code of a finding and the label of its metric."""

    PRICE_AGE = "price_age"
    BALANCE_AGE = "balance_age"
    RECONCILIATION_AGE = "reconciliation_age"
    BOOK_DIFFERENCE = "book_difference"
    DRAWDOWN = "drawdown"
    LEVERAGE = "leverage"
    CONCENTRATION = "concentration"
    CORRELATION = "correlation"
    VALUE_AT_RISK = "value_at_risk"
    EXPECTED_SHORTFALL = "expected_shortfall"
    VOLATILITY = "volatility"
    MAINTENANCE_MARGIN = "maintenance_margin"
    VENUE_ANSWER_AGE = "venue_answer_age"
    UNKNOWN_ORDERS = "unknown_orders"
    EXECUTION_ERRORS = "execution_errors"


_NAME = MeasureName
_RATIOS = (
    _NAME.DRAWDOWN,
    _NAME.CONCENTRATION,
    _NAME.CORRELATION,
    _NAME.VALUE_AT_RISK,
    _NAME.EXPECTED_SHORTFALL,
    _NAME.MAINTENANCE_MARGIN,
)
_AGES = (_NAME.PRICE_AGE, _NAME.BALANCE_AGE, _NAME.RECONCILIATION_AGE, _NAME.VENUE_ANSWER_AGE)
# s, ratio (0.02 is 2 %), times or count.
UNITS: dict[MeasureName, str] = {
    **dict.fromkeys(MeasureName, "count"),
    **dict.fromkeys(_AGES, "s"),
    **dict.fromkeys(_RATIOS, "ratio"),
    **dict.fromkeys((_NAME.LEVERAGE, _NAME.VOLATILITY), "times"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where a measure becomes a WARNING, and where CRITICAL; in the measure's unit."""

    warning: Decimal
    critical: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalRiskLimits:
    """The thresholds of global risk (config/global_risk.yaml).

    Ages in seconds. `drawdown` and `leverage` are shares of the account's own limit (1 is at it), the
    other sizes ratios of E_r, `volatility` times the usual, `maintenance` a ratio of equity; orders and
    errors are counts. `digest` names the set and is made of every other field.
    """

    digest: str
    data_age: Threshold
    answer_age: Threshold
    drawdown: Threshold
    leverage: Threshold
    concentration: Threshold
    bet: Threshold
    value_at_risk: Threshold
    expected_shortfall: Threshold
    volatility: Threshold
    maintenance: Threshold
    unknown_orders: Threshold
    errors: Threshold
    unknown_order_age: timedelta
    error_window: timedelta
    confidence: Decimal
    samples: int
    parametric_samples: int
    short_hours: int
    max_candle_age: timedelta


def _pair(warning: str, critical: str) -> Threshold:
    return Threshold(warning=Decimal(warning), critical=Decimal(critical))


# What config/global_risk.yaml ships, without its name.
SHIPPED = GlobalRiskLimits(
    digest="",
    data_age=_pair("90", "180"),
    answer_age=_pair("60", "120"),
    drawdown=_pair("0.5", "1"),
    leverage=_pair("0.8", "1"),
    concentration=_pair("0.35", "0.6"),
    bet=_pair("0.75", "1"),
    value_at_risk=_pair("0.05", "0.1"),
    expected_shortfall=_pair("0.06", "0.12"),
    volatility=_pair("2", "4"),
    maintenance=_pair("0.25", "0.5"),
    unknown_orders=_pair("1", "3"),
    errors=_pair("3", "10"),
    unknown_order_age=timedelta(seconds=15),
    error_window=timedelta(minutes=5),
    confidence=Decimal("0.99"),
    samples=200,
    parametric_samples=48,
    short_hours=24,
    max_candle_age=timedelta(hours=6),
)
WARNING_AGE = timedelta(seconds=int(SHIPPED.data_age.warning))
CRITICAL_AGE = timedelta(seconds=int(SHIPPED.data_age.critical))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """One permitted account at its primary venue; None is unknown.

    `drawdown_ratio` is 1 - U / max U of the day, external flows netted, >= 0, `drawdown_limit_ratio`
    where the emergency stop trips. `is_flat`: nothing is held and nothing waits to fill. Then, of the
    whole book: `leverage` (gross / E_r, times) and the profile's `leverage_limit`,
    `concentration_ratio` (risk.core.portfolio), `bet_ratio` (largest correlated bet / E_r), `var_ratio`
    and `es_ratio` (one day, / E_r, by `loss_method`), `volatility_ratio` (last hours over the usual,
    the highest of the symbols), `maintenance_ratio` (maintenance margin / equity). `answer_age` is
    since the venue last answered anything; `unknown_orders` have had no known outcome for too long and
    `errors` are refused or lost orders of the last minutes (counts).
    """

    account: str
    venue: str
    price_age: timedelta | None = None
    balance_age: timedelta | None = None
    reconciliation_age: timedelta | None = None
    is_reconciled: bool = False
    drawdown_ratio: Decimal | None = None
    drawdown_limit_ratio: Decimal | None = None
    is_flat: bool | None = None
    leverage: Decimal | None = None
    leverage_limit: Decimal | None = None
    concentration_ratio: Decimal | None = None
    bet_ratio: Decimal | None = None
    var_ratio: Decimal | None = None
    es_ratio: Decimal | None = None
    loss_method: str = ""
    volatility_ratio: Decimal | None = None
    maintenance_ratio: Decimal | None = None
    answer_age: timedelta | None = None
    unknown_orders: int | None = None
    errors: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One measure out of bounds: what was measured and where the level begins, as texts for people."""

    code: MeasureName
    level: RiskLevel
    account: str
    venue: str
    measured: str
    limit: str
    text: str

    @property
    def reason(self) -> str:
        """The finding in one line that stays the same while the measure moves within its level."""
        where = f"{self.account} at {self.venue}" if self.venue else self.account
        return f"{self.level.value}: {where}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The level and every reason for it, the gravest first."""

    level: RiskLevel
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(finding.reason for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measure of one account, ready to be compared; `measured` None is unknown.

    `scale` is what a threshold of 1 stands for; the unit is the name's.
    """

    name: MeasureName
    title: str
    measured: Decimal | None
    threshold: Threshold
    scale: Decimal | None = Decimal(1)
    is_of_book: bool = False
    is_above: bool = False

    @property
    def unit(self) -> str:
        return UNITS[self.name]


def assess(accounts: tuple[AccountFacts, ...], limits: GlobalRiskLimits = SHIPPED) -> Assessment:
    """The gravest finding over all permitted accounts; without one it is OK, as nothing is at risk."""
    findings = [finding for facts in accounts for finding in _find(facts, limits)]
    findings.sort(key=lambda finding: -finding.level.severity)
    level = findings[0].level if findings else RiskLevel.OK
    return Assessment(level=level, findings=tuple(findings))


def list_measures(
    facts: AccountFacts, limits: GlobalRiskLimits = SHIPPED
) -> dict[MeasureName, Decimal | None]:
    """What was measured of one account by name, in the unit of `Reading`; None is unknown."""
    differs = None if facts.reconciliation_age is None else Decimal(not facts.is_reconciled)
    readings = {reading.name: reading.measured for reading in _read(facts, limits)}
    return {**readings, MeasureName.BOOK_DIFFERENCE: differs}


def _read(facts: AccountFacts, limits: GlobalRiskLimits) -> Iterator[Reading]:
    yield from _read_ages(facts, limits)
    yield from _read_losses(facts, limits)
    yield from _read_book(facts, limits)
    yield from _read_venue(facts, limits)


def _read_ages(facts: AccountFacts, limits: GlobalRiskLimits) -> Iterator[Reading]:
    for name, title, age, threshold in (
        (MeasureName.PRICE_AGE, "prices", facts.price_age, limits.data_age),
        (MeasureName.BALANCE_AGE, "balance", facts.balance_age, limits.data_age),
        (MeasureName.RECONCILIATION_AGE, "reconciliation", facts.reconciliation_age, limits.data_age),
        (MeasureName.VENUE_ANSWER_AGE, "the venue's last answer", facts.answer_age, limits.answer_age),
    ):
        measured = None if age is None else Decimal(str(age.total_seconds()))
        yield Reading(name=name, title=title, measured=measured, threshold=threshold, is_above=True)


def _read_losses(facts: AccountFacts, limits: GlobalRiskLimits) -> Iterator[Reading]:
    yield Reading(
        name=MeasureName.DRAWDOWN,
        title="drawdown of the day",
        measured=facts.drawdown_ratio,
        threshold=limits.drawdown,
        scale=facts.drawdown_limit_ratio,
    )
    yield Reading(
        name=MeasureName.LEVERAGE,
        title="leverage",
        measured=facts.leverage,
        threshold=limits.leverage,
        scale=facts.leverage_limit,
        is_of_book=True,
    )


_Row: TypeAlias = tuple[MeasureName, str, Decimal | None, Threshold]


def _read_book(facts: AccountFacts, limits: GlobalRiskLimits) -> Iterator[Reading]:
    name = MeasureName
    rows: tuple[_Row, ...] = (
        (name.CONCENTRATION, "concentration", facts.concentration_ratio, limits.concentration),
        (name.CORRELATION, "largest correlated bet", facts.bet_ratio, limits.bet),
        (name.VALUE_AT_RISK, "value at risk of a day", facts.var_ratio, limits.value_at_risk),
        (
            name.EXPECTED_SHORTFALL,
            "expected shortfall of a day",
            facts.es_ratio,
            limits.expected_shortfall,
        ),
        (name.VOLATILITY, "volatility against the usual", facts.volatility_ratio, limits.volatility),
        (name.MAINTENANCE_MARGIN, "maintenance margin", facts.maintenance_ratio, limits.maintenance),
    )
    for row in rows:
        yield _reading(row, is_of_book=True)


def _read_venue(facts: AccountFacts, limits: GlobalRiskLimits) -> Iterator[Reading]:
    unknown, errors = (
        None if count is None else Decimal(count) for count in (facts.unknown_orders, facts.errors)
    )
    rows: tuple[_Row, ...] = (
        (
            MeasureName.UNKNOWN_ORDERS,
            "orders without a known outcome",
            unknown,
            limits.unknown_orders,
        ),
        (MeasureName.EXECUTION_ERRORS, "refused or lost orders", errors, limits.errors),
    )
    for row in rows:
        yield _reading(row, is_of_book=False)


def _reading(row: _Row, *, is_of_book: bool) -> Reading:
    name, title, measured, threshold = row
    return Reading(name=name, title=title, measured=measured, threshold=threshold, is_of_book=is_of_book)


def _find(facts: AccountFacts, limits: GlobalRiskLimits) -> Iterator[Finding]:
    for reading in _read(facts, limits):
        judged = _judge(reading, facts)
        if judged is not None:
            yield _finding(facts, reading.name, *judged)
    if not facts.is_reconciled and facts.reconciliation_age is not None:
        text = "our book and the venue's differ"
        yield _finding(facts, MeasureName.BOOK_DIFFERENCE, RiskLevel.WARNING, "differs", "equal", text)


def _finding(
    facts: AccountFacts, code: MeasureName, level: RiskLevel, measured: str, limit: str, text: str
) -> Finding:
    return Finding(
        code=code,
        level=level,
        account=facts.account,
        venue=facts.venue,
        measured=measured,
        limit=limit,
        text=text,
    )


def _judge(reading: Reading, facts: AccountFacts) -> tuple[RiskLevel, str, str, str] | None:
    """(level, measured, limit, text) of a reading that is out of bounds or unknown."""
    if reading.measured is None or reading.scale is None:
        if reading.is_of_book and facts.is_flat:
            return None
        return RiskLevel.CRITICAL, "unknown", "known", f"{reading.title} unknown"
    for level, at in (
        (RiskLevel.CRITICAL, reading.threshold.critical),
        (RiskLevel.WARNING, reading.threshold.warning),
    ):
        limit = at * reading.scale
        if reading.measured > limit or (reading.measured == limit and not reading.is_above):
            shown = show(limit, reading.unit)
            verb = "older than" if reading.unit == "s" else "at or above"
            return level, show(reading.measured, reading.unit), shown, f"{reading.title} {verb} {shown}"
    return None


def show(value: Decimal, unit: str) -> str:
    """A measure for people: seconds, percent, times, or a count."""
    if unit == "s":
        return f"{value:.0f} s"
    if unit == "ratio":
        return f"{float(value * 100):.4g} %"
    return f"{float(value):.4g} x" if unit == "times" else f"{value:f}"
