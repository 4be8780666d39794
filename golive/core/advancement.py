"""Whether an account has earned its next rung: each criterion of RISK.md parts 1 and 3.12. Pure.

What is not known is not met. Ratios are parts of one, money is USDT, R is a round trip's net result in
units of its risk at entry. The record begins with the permit, or with the last loss stop after it, and
never at a moment that somebody chose; what counts as an incident must not have happened for the rung's days.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from math import ceil, sqrt
from statistics import NormalDist, fmean, stdev

from golive.core.words import LADDER, Recommendation

NOT_MEASURED = "not measured"
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What it takes to reach `profile`."""

    profile: str
    days: int
    trades: int
    proves_mean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancementRules:
    """config/advancement.yaml as values; `digest` names all of them."""

    digest: str
    min_uptime: Decimal
    max_unprotected: timedelta
    min_profit_factor: Decimal
    week_loss_share: Decimal
    drawdown_share: Decimal
    min_ok_share: Decimal
    slippage_percentile: Decimal
    confidence: Decimal
    rungs: Mapping[str, Rung]
    loss_stops: frozenset[str]
    paper_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A closed round trip: net of fees and funding; `risk` is R at entry, None where it is not known."""

    net_pnl: Decimal
    risk: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the ledger says of an account since its record began; None is not known.

    `results` are those of every account that its strategies trade on, `trades` counts its own.
    `slippages` are (stop - fill) / stop over the slippage that the limits allow, adverse positive.
    `evidence` names the rows behind each criterion.
    """

    active_days: int | None = None
    trades: int | None = None
    uptime: Decimal | None = None
    unprotected: timedelta | None = None
    loss_stops: int | None = None
    equity_change: Decimal | None = None
    results: tuple[Result, ...] | None = None
    worst_week_ratio: Decimal | None = None
    drawdown_ratio: Decimal | None = None
    breaches: int | None = None
    ok_share: Decimal | None = None
    criticals: int | None = None
    slippages: tuple[Decimal, ...] | None = None
    weekly_loss_limit: Decimal | None = None
    weekly_losses: int = 0
    evidence: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """`is_met` None informs and gates nothing."""

    name: str
    measured: str
    required: str
    is_met: bool | None
    evidence: tuple[str, ...] = ()


Judge = Callable[[Record, AdvancementRules, Rung], Criterion]


def judge_record(record: Record, rules: AdvancementRules, rung: Rung) -> tuple[Criterion, ...]:
    """Every criterion of the rung, in the documented order."""
    return tuple(judge(record, rules, rung) for judge in CRITERIA)


def recommend(criteria: tuple[Criterion, ...], record: Record, *, may_rise: bool) -> Recommendation:
    """A weekly loss demotes; every gating criterion met promotes; `may_rise`: live, and a rung is above."""
    if record.weekly_losses:
        return Recommendation.DEMOTE
    gating = [item for item in criteria if item.is_met is not None]
    is_earned = bool(gating) and all(item.is_met for item in gating)
    return Recommendation.PROMOTE if may_rise and is_earned else Recommendation.HOLD


def find_next(profile: str) -> str | None:
    """The rung above; None at the top and for what is no rung."""
    above = dict(pairwise(LADDER))
    return above.get(profile)


def find_lower(profile: str) -> str | None:
    """The rung below; None at the bottom and for what is no rung."""
    below = {upper: lower for lower, upper in pairwise(LADDER)}
    return below.get(profile)


def measure_profit_factor(results: tuple[Result, ...]) -> Decimal | None:
    """Gross profit / gross loss; None without a trip or where nothing was lost."""
    lost = -sum((item.net_pnl for item in results if item.net_pnl < 0), ZERO)
    won = sum((item.net_pnl for item in results if item.net_pnl > 0), ZERO)
    return won / lost if lost else None


def measure_percentile(values: tuple[Decimal, ...], percentile: Decimal) -> Decimal:
    """Nearest rank: the smallest value that at least `percentile` (a ratio) of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(percentile * len(ordered)) - 1)]


def measure_lower_bound(values: tuple[Decimal, ...], confidence: Decimal) -> Decimal | None:
    """One-sided: mean - t s / sqrt(n); None below two values.

    t of n - 1 degrees is z + (z^3 + z) / (4 (n - 1)), Student's quantile to the first order of its
    expansion around the normal z; at the 150 trips of the rung that uses it the error is below 1e-4.
    """
    count = len(values)
    if count < 2:
        return None
    numbers = [float(value) for value in values]
    z = NormalDist().inv_cdf(float(confidence))
    t = z + (z**3 + z) / (4 * (count - 1))
    return Decimal(fmean(numbers) - t * stdev(numbers) / sqrt(count))


def list_multiples(results: tuple[Result, ...] | None) -> tuple[Decimal, ...] | None:
    """Each result in R; None where there are none or one of the risks is not known."""
    if not results:
        return None
    risks = [item.risk for item in results]
    if any(risk is None or risk <= 0 for risk in risks):
        return None
    return tuple(item.net_pnl / risk for item, risk in zip(results, risks, strict=True) if risk)


def _percent(ratio: Decimal) -> str:
    return f"{ratio * 100:.2f} %"


def _say(record: Record, name: str, required: str, found: str | None, *, is_met: bool) -> Criterion:
    """A criterion that gates; `found` None is not known, and not met."""
    return Criterion(
        name=name,
        measured=NOT_MEASURED if found is None else found,
        required=required,
        is_met=found is not None and is_met,
        evidence=record.evidence.get(name, ()),
    )


def _at_least(record: Record, name: str, value: int | None, least: int, unit: str) -> Criterion:
    found = None if value is None else f"{value} {unit}"
    return _say(record, name, f"at least {least} {unit}", found, is_met=value is not None and value >= least)


def _none(record: Record, name: str, value: int | None) -> Criterion:
    found = None if value is None else str(value)
    return _say(record, name, "none", found, is_met=value == 0)


def _at_most(record: Record, name: str, value: Decimal | None, limit: Decimal | None) -> Criterion:
    """Ratios; without the limit nothing is known."""
    if limit is None or value is None:
        required = "at most a part of the weekly limit" if limit is None else f"at most {_percent(limit)}"
        return _say(record, name, required, None, is_met=False)
    return _say(record, name, f"at most {_percent(limit)}", _percent(value), is_met=value <= limit)


def _judge_days(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    return _at_least(record, "active_days", record.active_days, rung.days, "days")


def _judge_trades(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    return _at_least(record, "trades", record.trades, rung.trades, "trades")


def _judge_uptime(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    value, least = record.uptime, rules.min_uptime
    found = None if value is None else _percent(value)
    is_met = value is not None and value >= least
    return _say(record, "uptime", f"at least {_percent(least)} of 60 s slots", found, is_met=is_met)


def _judge_protection(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    value, most = record.unprotected, rules.max_unprotected
    found = None if value is None else f"{value.total_seconds():.0f} s"
    required = f"no position unprotected for more than {most.total_seconds():.0f} s"
    return _say(record, "protection", required, found, is_met=value is not None and value <= most)


def _judge_stops(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    return _none(record, "loss_stops", record.loss_stops)


def _judge_equity(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    value = record.equity_change
    found = None if value is None else f"{value:.2f} USDT"
    required = "above 0 USDT, flows out, unrealised in"
    return _say(record, "net_profit", required, found, is_met=value is not None and value > 0)


def _judge_profit_factor(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    results, least = record.results, rules.min_profit_factor
    required = f"at least {least}"
    if not results:
        return _say(record, "profit_factor", required, None, is_met=False)
    value = measure_profit_factor(results)
    if value is None:
        is_profit = any(item.net_pnl > 0 for item in results)
        return _say(record, "profit_factor", required, "nothing lost", is_met=is_profit)
    return _say(record, "profit_factor", required, f"{value:.3f}", is_met=value >= least)


def _judge_best_trade(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    results, required = record.results, "at least 0 USDT without the best trade"
    if not results:
        return _say(record, "without_best", required, None, is_met=False)
    pnls = [item.net_pnl for item in results]
    rest = sum(pnls, ZERO) - max(pnls)
    return _say(record, "without_best", required, f"{rest:.2f} USDT", is_met=rest >= 0)


def _judge_week(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    limit = record.weekly_loss_limit
    part = None if limit is None else limit * rules.week_loss_share
    return _at_most(record, "worst_week", record.worst_week_ratio, part)


def _judge_drawdown(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    limit = record.weekly_loss_limit
    part = None if limit is None else limit * rules.drawdown_share
    return _at_most(record, "drawdown", record.drawdown_ratio, part)


def _judge_breaches(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    return _none(record, "breaches", record.breaches)


def _judge_ok_share(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    value, least = record.ok_share, rules.min_ok_share
    found = None if value is None else _percent(value)
    required = f"OK for at least {_percent(least)} of the time"
    return _say(record, "global_risk_ok", required, found, is_met=value is not None and value >= least)


def _judge_criticals(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    return _none(record, "global_risk_critical", record.criticals)


def _judge_slippage(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    share = rules.slippage_percentile
    required = f"p{share * 100:.0f} of the stops' slippage at most what the limits allow"
    if not record.slippages:
        return _say(record, "stop_slippage", required, None, is_met=False)
    value = measure_percentile(record.slippages, share)
    return _say(record, "stop_slippage", required, f"{value:.2f} x", is_met=value <= 1)


def _judge_mean(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    """Gates only the rung that must prove it."""
    multiples = list_multiples(record.results)
    bound = None if multiples is None else measure_lower_bound(multiples, rules.confidence)
    found = None if bound is None else f"{bound:.3f} R"
    required = f"lower {rules.confidence * 100:.0f} % bound of mean R above 0"
    said = _say(record, "mean_result", required, found, is_met=bound is not None and bound > 0)
    return said if rung.proves_mean else _inform("mean_result", said.measured, said.evidence)


def _inform(name: str, measured: str, evidence: tuple[str, ...] = ()) -> Criterion:
    return Criterion(name=name, measured=measured, required="informs only", is_met=None, evidence=evidence)


def _tell_win_rate(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    results = record.results
    if not results:
        return _inform("win_rate", NOT_MEASURED)
    wins = sum(item.net_pnl > 0 for item in results)
    return _inform("win_rate", f"{_percent(Decimal(wins) / len(results))} of {len(results)}")


def _tell_sharpe(record: Record, rules: AdvancementRules, rung: Rung) -> Criterion:
    """Mean R over its deviation, a trip at a time, not annualised."""
    multiples = list_multiples(record.results)
    numbers = [float(value) for value in multiples or ()]
    if len(numbers) < 2 or stdev(numbers) == 0:
        return _inform("sharpe", NOT_MEASURED)
    return _inform("sharpe", f"{fmean(numbers) / stdev(numbers):.2f} a trade")


CRITERIA: tuple[Judge, ...] = (
    _judge_days,
    _judge_trades,
    _judge_uptime,
    _judge_protection,
    _judge_stops,
    _judge_equity,
    _judge_profit_factor,
    _judge_best_trade,
    _judge_week,
    _judge_drawdown,
    _judge_breaches,
    _judge_ok_share,
    _judge_criticals,
    _judge_slippage,
    _judge_mean,
    _tell_win_rate,
    _tell_sharpe,
)
