"""The replay's report: the answer first, then the pictures, then every number."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import groupby

from controlplane.code_version import get_code_version
from controlplane.documents import Document, Row, Section, Table, Text, Tile
from risk.core.rules.case import plain
from risk.core.values import RiskLevel
from risk.replay.figures import draw_figures
from risk.replay.measures import (
    Denial,
    Summary,
    digest_result,
    list_hold_rulings,
    measure_trades,
    summarise,
)
from risk.replay.tape import to_time
from risk.replay.values import Result, Ruling, Trip
from trading.core.values import TradingStateName

SHOWN_ROWS = 40
SHOWN_TRADES = 8

ASSUMPTIONS = (
    "Signals are of closed bars; an order meets the price at which the next bar opens, in the simulated"
    " venue's own book, and pays its taker fee.",
    "Inside a bar, prices take the simulated venue's path in steps of five seconds; stops and targets are"
    " triggered by mark price and stops fill at what is traded then, beyond their trigger in a gap.",
    "Market and wall time are one: nothing is stale, no answer is lost, nothing is reconciled late.",
    "Global risk and trading state are read once a bar, and at every step of a bar in which a stop or a"
    " target is reached. Where people must act, they do at the earliest"
    " moment the rules allow: after a daily loss at the next UTC day, after a weekly loss on Monday, after"
    " an emergency stop at the next UTC day and 12 hours later. A capital loss stays HALTED to the end.",
    "The account has the limits that span accounts to itself. A strategy that the throttle stopped stays"
    " stopped.",
    "Correlations need 200 hours of candles, loss measures and volatility 48: what is not known yet counts"
    " as 1, or denies.",
)


def make_page(result: Result) -> Document:
    summary = summarise(result)
    return Document(
        title=f"Replay of {', '.join(result.symbols)} at {result.plan.limits.profile}",
        headline=tuple(make_headline(result, summary)),
        tiles=tuple(_tiles(result, summary)),
        sections=(
            Section("What happened", tuple(draw_figures(result))),
            *_held(result),
            Section("When it was not safe, and why", (_timeline(result),)),
            Section("What was denied, and why", (_denials(summary.denials),)),
            Section("Trades", (_by_strategy(result.trips), Text("The worst:"), _worst(result.trips))),
            Section("What was replayed", (_facts(result, summary),)),
            Section("What a replay assumes", tuple(Text(text) for text in ASSUMPTIONS)),
        ),
    )


# The answer ---------------------------------------------------------------------------------------


def make_headline(result: Result, summary: Summary) -> Iterator[str]:
    span = show_span(result.ended_ms - result.started_ms)
    yield f"{show_money(summary.net)} USDT ({show_ratio(summary.net_ratio)}) in {span}{_say_state(result)}."
    yield _say_risk(result, summary)
    denied = summary.entries - summary.allowed
    if not denied:
        yield f"All {summary.entries:,} entries asked for were allowed."
        return
    top = summary.denials[0]
    yield (
        f"{denied:,} of {summary.entries:,} entries were denied, {top.named:,} of them for {top.code}:"
        f" {top.text}."
    )


def _say_state(result: Result) -> str:
    """How trading stands at the end or, if it is ACTIVE again, that it was not."""
    last = result.states[-1]
    if last.state is not TradingStateName.ACTIVE:
        return f"; {last.state.value} since {show_time(last.at_ms)} by the {last.reason}"
    left = [item for item in result.states if item.state is not TradingStateName.ACTIVE]
    if not left:
        return "; trading was ACTIVE throughout"
    worst = max(left, key=lambda item: item.state.strictness)
    others = f" and {len(left) - 1} times more" if len(left) > 1 else ""
    return f"; {worst.state.value} on {show_time(worst.at_ms)} by the {worst.reason}{others}"


def _say_risk(result: Result, summary: Summary) -> str:
    left = [item for item in result.stretches if item.level is not RiskLevel.OK]
    if not left:
        return "Global risk was OK all the time."
    worst = max(left, key=lambda item: item.level.severity)
    share = summary.level_shares.get(RiskLevel.OK, 0.0)
    return (
        f"Global risk was OK for {100 * share:.1f} % of the time. It first left OK on"
        f" {show_time(left[0].at_ms)} ({_short(left[0].reasons)})"
        + (
            "."
            if worst is left[0]
            else f" and was first {worst.level.value} on {show_time(worst.at_ms)} ({_short(worst.reasons)})."
        )
    )


def _short(reasons: Iterable[str]) -> str:
    """The first reason without level and place, which a replay has but one of."""
    first = next(iter(reasons), "")
    return first.rpartition(": ")[2]


def _tiles(result: Result, summary: Summary) -> Iterator[Tile]:
    trades, fall = summary.trades, summary.drawdown
    stop = result.plan.limits.capital_loss_stop_ratio
    yield Tile(
        "Result, USDT",
        show_money(summary.net),
        f"fees {trades.fees:,.2f}, funding {show_money(trades.funding)}",
        "good" if summary.net >= 0 else "bad",
    )
    yield Tile(
        "Largest drawdown",
        show_ratio(fall.ratio, sign=False),
        f"stop at {show_ratio(stop, sign=False)} of capital; trough {show_time(fall.trough_ms)}",
        "bad" if fall.ratio >= stop else "warn" if fall.ratio >= stop / 2 else "good",
    )
    factor = "none" if trades.profit_factor is None else f"{trades.profit_factor}"
    yield Tile("Trades", f"{trades.count:,}", f"{trades.wins:,} won, profit factor {factor}")
    yield Tile(
        "Entries allowed",
        f"{summary.allowed:,} of {summary.entries:,}",
        f"{summary.resized:,} made smaller, {summary.refused:,} refused by the venue",
    )
    ok = summary.level_shares.get(RiskLevel.OK, 0.0)
    critical = summary.level_shares.get(RiskLevel.CRITICAL, 0.0)
    yield Tile(
        "Global risk OK",
        f"{100 * ok:.1f} %",
        f"of the time; CRITICAL {100 * critical:.1f} %",
        "bad" if critical else "warn" if ok < 1 else "good",
    )
    active = summary.state_shares.get(TradingStateName.ACTIVE, 0.0)
    yield Tile(
        "Trading ACTIVE",
        f"{100 * active:.1f} %",
        f"worst day {show_money(summary.worst_day)} USDT on {to_time(summary.worst_day_ms):%d %b}",
        "good" if active == 1 else "bad" if TradingStateName.HALTED in summary.state_shares else "warn",
    )


# Tables -------------------------------------------------------------------------------------------


def _held(result: Result) -> tuple[Section, ...]:
    rulings = list_hold_rulings(result)
    if not rulings:
        return ()
    trips = {trip.intent_id: trip for trip in result.trips}
    head = ("Position", "Asked, USDT", "Got, USDT", "Judged", "What became of it")
    rows = tuple(
        (
            f"{ruling.symbol} {'long' if ruling.side.sign > 0 else 'short'}",
            f"{ruling.asked * ruling.mark:,.2f}",
            f"{ruling.decision.quantity * ruling.mark:,.2f}" if ruling.decision.allowed else "0",
            _say_judgement(ruling),
            _say_end(trips.get(ruling.intent_id)),
        )
        for ruling in rulings
    )
    return (Section("The book that was held", (Table(head, rows),)),)


def _say_judgement(ruling: Ruling) -> str:
    if ruling.refusal:
        return f"allowed, but the venue refused: {ruling.refusal}"
    codes = ", ".join(item.code.value for item in (*ruling.breaches, *ruling.decision.resized_for))
    if not ruling.decision.allowed:
        return f"denied: {codes}"
    return f"made smaller: {codes}" if codes else "allowed"


def _say_end(trip: Trip | None) -> str:
    if trip is None:
        return "never opened"
    if trip.closed_by == "open":
        return f"still open, {show_money(trip.net)} USDT at mark"
    beyond = f", {show_ratio(trip.slippage, sign=False)} beyond its trigger" if trip.slippage > 0 else ""
    return f"{trip.closed_by} on {show_time(trip.closed_ms)}{beyond}: {show_money(trip.net)} USDT"


def _timeline(result: Result) -> Table:
    """Changes of level and of state, in order; a stretch says how long it lasted."""
    rows: list[tuple[int, Row]] = []
    for start_ms, end_ms, level, reasons in _join_stretches(result):
        what = f"global risk {level.value}"
        rows.append((start_ms, (show_time(start_ms), show_span(end_ms - start_ms), what, "; ".join(reasons))))
    ends = [item.at_ms for item in result.states[1:]] + [result.ended_ms]
    for change, end_ms in zip(result.states, ends, strict=True):
        if change.state is not TradingStateName.ACTIVE:
            length = show_span(end_ms - change.at_ms)
            what = f"account {change.state.value}"
            rows.append((change.at_ms, (show_time(change.at_ms), length, what, change.reason)))
    rows.sort(key=lambda row: row[0])
    shown = [row for _, row in rows[:SHOWN_ROWS]]
    if len(rows) > SHOWN_ROWS:
        shown.append((f"and {len(rows) - SHOWN_ROWS} more", "", "", ""))
    return Table(("From", "For", "What", "Why"), tuple(shown))


def _join_stretches(result: Result) -> Iterator[tuple[int, int, RiskLevel, list[str]]]:
    """Stretches that are not OK, with those of the same level that follow at once, and all their reasons."""
    ends = [item.at_ms for item in result.stretches[1:]] + [result.ended_ms]
    for level, group in groupby(zip(result.stretches, ends, strict=True), key=lambda pair: pair[0].level):
        pairs = list(group)
        if level is not RiskLevel.OK:
            reasons = [reason.rpartition(": ")[2] for item, _ in pairs for reason in item.reasons]
            yield pairs[0][0].at_ms, pairs[-1][1], level, list(dict.fromkeys(reasons))


def _denials(denials: Iterable[Denial]) -> Table:
    head = ("Code", "Named", "Breached", "First", "Last", "Last measured", "Limit", "Meaning")
    rows = tuple(
        (
            item.code,
            f"{item.named:,}",
            f"{item.breached:,}",
            show_time(item.first_ms),
            show_time(item.last_ms),
            item.example.measured[:60],
            item.example.limit[:60],
            item.text,
        )
        for item in denials
    )
    return Table(head, rows)


def _by_strategy(trips: Iterable[Trip]) -> Table:
    groups: dict[tuple[str, str], list[Trip]] = {}
    for trip in trips:
        groups.setdefault((trip.strategy, trip.symbol), []).append(trip)
    head = ("Strategy", "Symbol", "Trades", "Won", "Net, USDT", "Fees", "Mean R", "Ended by")
    rows = []
    for (strategy, symbol), items in sorted(groups.items()):
        figures = measure_trades(items)
        ends = ", ".join(
            f"{name} {count}" for name, count in Counter(trip.closed_by for trip in items).most_common()
        )
        net = sum((trip.net for trip in items), Decimal(0))
        row = (strategy, symbol, f"{figures.count:,}", f"{figures.wins:,}", show_money(net))
        rows.append((*row, f"{figures.fees:,.2f}", f"{figures.mean_r}", ends))
    return Table(head, tuple(rows))


def _worst(trips: Iterable[Trip]) -> Table:
    head = ("Strategy", "Trade", "Opened", "Closed", "Entry", "Exit", "Net, USDT", "In R", "Ended by")
    rows = []
    for trip in sorted(trips, key=lambda item: (item.net, item.opened_ms))[:SHOWN_TRADES]:
        rows.append(
            (
                trip.strategy,
                f"{trip.symbol} {'long' if trip.side.sign > 0 else 'short'}",
                show_time(trip.opened_ms),
                show_time(trip.closed_ms),
                _price(trip.entry_price),
                _price(trip.exit_price),
                show_money(trip.net),
                f"{trip.net / trip.risk:+.2f}" if trip.risk > 0 else "",
                trip.closed_by + (f", {show_ratio(trip.slippage)} beyond" if trip.slippage > 0 else ""),
            )
        )
    return Table(head, tuple(rows))


def _facts(result: Result, summary: Summary) -> Table:
    plan = result.plan
    names = ", ".join(f"{item.name} {item.version}" for item in plan.strategies) or "none"
    rows: list[Row] = [
        ("From", show_time(result.started_ms)),
        ("To", show_time(result.ended_ms)),
        ("Candles", f"{result.bars:,} of {timedelta(milliseconds=result.bar_ms)}"),
        ("Strategies", names),
        ("Start of equity", f"{result.equity[0][1]:,.2f} USDT"),
        ("End of equity", f"{result.equity[-1][1]:,.2f} USDT, {show_money(result.unrealised)} of it open"),
        ("Exits", f"{summary.exits:,} asked for, {summary.exits_denied:,} denied"),
        ("Profile", f"{plan.limits.profile}, limit set {plan.limits.digest}"),
        ("Candles' digest", result.candles_digest),
        ("Code version", get_code_version()),
        ("Report digest", digest_result(result)),
    ]
    return Table(("Fact", "Value"), tuple(rows))


# Words --------------------------------------------------------------------------------------------


def show_time(at_ms: int) -> str:
    return f"{to_time(at_ms):%Y-%m-%d %H:%M}"


def show_span(length_ms: int) -> str:
    minutes = length_ms // 60_000
    if minutes < 2:
        return f"{length_ms // 1000} s"
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h" if minutes < 2880 else f"{minutes / 1440:.1f} days"


def show_money(amount: Decimal) -> str:
    return f"{amount:+,.2f}"


def show_ratio(value: Decimal, *, sign: bool = True) -> str:
    return f"{100 * value:+.2f} %" if sign else f"{100 * value:.2f} %"


def _price(value: Decimal) -> str:
    return plain(value.quantize(Decimal("1e-6")))
