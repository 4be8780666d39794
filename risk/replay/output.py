"""A replay's result in a few lines, and as data for machines; money is text."""

from collections.abc import Iterator
from typing import Any

from risk.core.rules.case import plain
from risk.replay.measures import CENT, Summary, digest_result, list_hold_rulings, summarise
from risk.replay.report import make_headline, show_time
from risk.replay.tape import to_time
from risk.replay.values import Result, Ruling

SHOWN_DENIALS = 12


def as_text(result: Result) -> str:
    return "\n".join(_lines(result, summarise(result)))


def _lines(result: Result, summary: Summary) -> Iterator[str]:
    yield from make_headline(result, summary)
    yield ""
    trades = summary.trades
    yield f"{result.bars:,} candles from {show_time(result.started_ms)} to {show_time(result.ended_ms)}"
    yield (
        f"{trades.count:,} trades, {trades.wins:,} won; fees {trades.fees:,.2f},"
        f" funding {trades.funding:+,.2f}; largest drawdown {100 * summary.drawdown.ratio:.2f} %"
    )
    for ruling in list_hold_rulings(result):
        verdict = "allowed" if ruling.decision.allowed else f"denied: {ruling.reason}"
        size = ruling.decision.quantity * ruling.mark
        yield f"held {ruling.symbol} {ruling.side.value} {size:,.2f} USDT: {verdict}"
    for denial in summary.denials[:SHOWN_DENIALS]:
        yield f"{denial.named:>8,}  {denial.code}"
    yield f"report digest {digest_result(result)}"


def as_data(result: Result) -> dict[str, Any]:
    """What `replay --json` prints."""
    summary = summarise(result)
    return {
        "profile": result.plan.limits.profile,
        "limit_set": result.plan.limits.digest,
        "strategies": [item.name for item in result.plan.strategies],
        "symbols": list(result.symbols),
        "candles": result.bars,
        "candles_digest": result.candles_digest,
        "bar_seconds": result.bar_ms // 1000,
        "started_at": _time(result.started_ms),
        "ended_at": _time(result.ended_ms),
        "equity": {
            "start": plain(result.equity[0][1]),
            "end": plain(result.equity[-1][1]),
            "unrealised": plain(result.unrealised),
        },
        "income": {name: plain(amount) for name, amount in sorted(result.totals.items())},
        "drawdown_ratio": plain(summary.drawdown.ratio.quantize(CENT / 10_000)),
        "trades": _trades(result, summary),
        "decisions": _decisions(summary),
        "holds": [_hold(ruling) for ruling in list_hold_rulings(result)],
        "global_risk": [
            {"at": _time(item.at_ms), "level": item.level.value, "reasons": list(item.reasons)}
            for item in result.stretches
        ],
        "trading_state": [
            {"at": _time(item.at_ms), "state": item.state.value, "reason": item.reason}
            for item in result.states
        ],
        "digest": digest_result(result),
    }


def _decisions(summary: Summary) -> dict[str, Any]:
    return {
        "entries": summary.entries,
        "allowed": summary.allowed,
        "resized": summary.resized,
        "exits": summary.exits,
        "exits_denied": summary.exits_denied,
        "refused_by_venue": summary.refused,
        "denied_by_code": {item.code: item.named for item in summary.denials if item.named},
        "breached_by_code": {item.code: item.breached for item in summary.denials},
    }


def _trades(result: Result, summary: Summary) -> dict[str, Any]:
    trades = summary.trades
    return {
        "closed": trades.count,
        "won": trades.wins,
        "open": sum(trip.closed_by == "open" for trip in result.trips),
        "net": plain(summary.net),
        "fees": plain(trades.fees),
        "funding": plain(trades.funding),
        "profit_factor": None if trades.profit_factor is None else plain(trades.profit_factor),
        "mean_r": None if trades.mean_r is None else plain(trades.mean_r),
        "worst_stop_slippage_ratio": plain(trades.worst_slippage.quantize(CENT / 10_000)),
    }


def _hold(ruling: Ruling) -> dict[str, Any]:
    return {
        "symbol": ruling.symbol,
        "side": ruling.side.value,
        "allowed": ruling.decision.allowed,
        "asked": plain(ruling.asked),
        "quantity": plain(ruling.decision.quantity) if ruling.decision.allowed else "0",
        "codes": [item.code.value for item in (*ruling.breaches, *ruling.decision.resized_for)],
        "refusal": ruling.refusal,
    }


def _time(at_ms: int) -> str:
    return to_time(at_ms).isoformat().replace("+00:00", "Z")
