"""The impact of other limits in words, as a page, and as data."""

from collections.abc import Iterable, Iterator
from typing import Any

from controlplane.code_version import get_code_version
from controlplane.documents import Document, Row, Section, Table, Text, Tile
from risk.core.rules.case import plain
from risk.replay.impact import Change, Impact, JudgedAgain
from risk.replay.report import show_money

SHOWN = 40
NOTES = (
    "Every decision is judged with the facts it was taken by. The book in them is the recorded one: what"
    " a denied order would have left to later ones is not followed.",
    "The result of newly denied entries is taken out as if they had never filled, that of smaller ones in"
    " proportion: modelled, not measured.",
    "What a newly allowed order would have brought is not known: it has no fills.",
)


def _headline(impact: Impact) -> Iterator[str]:
    denied = impact.list_changed(Change.NEWLY_DENIED)
    allowed = impact.list_changed(Change.NEWLY_ALLOWED)
    smaller = impact.list_changed(Change.SMALLER)
    yield (
        f"Of {len(impact.judged):,} decisions, {len(denied):,} would be newly denied,"
        f" {len(allowed):,} newly allowed and {len(smaller):,} smaller."
    )
    yield (
        f"Trades that would not have been: {show_money(impact.removed_pnl)} of"
        f" {show_money(impact.recorded_pnl)} USDT, so that"
        f" {show_money(impact.recorded_pnl - impact.removed_pnl)} USDT would be left (modelled)."
    )
    if impact.unreadable or impact.other_profiles:
        yield (
            f"Not judged: {impact.other_profiles:,} of another profile, {impact.unreadable:,} stored in an"
            " older form."
        )
    if others := count_other_code(impact):
        yield f"{others:,} were taken by another version of the code: a difference may be the code's."


def count_other_code(impact: Impact) -> int:
    known = (item.recorded.code_version for item in impact.judged)
    return sum(version not in {"", get_code_version()} for version in known)


def impact_as_text(impact: Impact) -> str:
    lines = [*_headline(impact), "", f"{'then':>8}{'now':>8}  code"]
    lines += [f"{then:>8,}{now:>8,}  {code}" for code, then, now in _codes(impact)]
    for item in impact.list_changed(Change.NEWLY_DENIED)[:SHOWN]:
        lines.append(f"newly denied: {' '.join(_row(item))}")
    for item in impact.list_changed(Change.NEWLY_ALLOWED)[:SHOWN]:
        lines.append(f"newly allowed: {' '.join(_row(item))}")
    return "\n".join([*lines, "", *NOTES])


def make_impact_page(impact: Impact) -> Document:
    denied = impact.list_changed(Change.NEWLY_DENIED)
    allowed = impact.list_changed(Change.NEWLY_ALLOWED)
    smaller = impact.list_changed(Change.SMALLER)
    left = impact.recorded_pnl - impact.removed_pnl
    return Document(
        title=f"Impact of limits {impact.limits.profile} {impact.limits.digest[:12]}",
        headline=tuple(_headline(impact)),
        tiles=(
            Tile(
                "Newly denied", f"{len(denied):,}", "entries that were allowed", "warn" if denied else "good"
            ),
            Tile("Newly allowed", f"{len(allowed):,}", "were denied", "warn" if allowed else "good"),
            Tile("Smaller", f"{len(smaller):,}", "allowed with less"),
            Tile(
                "Result left", f"{show_money(left)} USDT", f"of {show_money(impact.recorded_pnl)}, modelled"
            ),
        ),
        sections=(
            Section("Denials by code", (_code_table(impact),)),
            Section("Newly denied", (_table(denied),)),
            Section("Newly allowed", (_table(allowed),)),
            Section("Smaller", (_table(smaller),)),
            Section("How this was found", tuple(Text(note) for note in NOTES)),
        ),
    )


def _codes(impact: Impact) -> list[tuple[str, int, int]]:
    then, now = impact.codes_then, impact.codes_now
    names = sorted({*then, *now}, key=lambda code: (-max(then[code], now[code]), code))
    return [(code, then[code], now[code]) for code in names]


def _code_table(impact: Impact) -> Table:
    rows = tuple((code, f"{then:,}", f"{now:,}", f"{now - then:+,}") for code, then, now in _codes(impact))
    return Table(("Code", "Then", "Now", "Change"), rows)


HEAD = ("When", "Decision", "Order", "Then", "Now", "Trade, USDT", "Why")


def _table(items: list[JudgedAgain]) -> Table:
    rows = [_row(item) for item in items[:SHOWN]]
    if len(items) > SHOWN:
        rows.append((f"and {len(items) - SHOWN:,} more", *[""] * (len(HEAD) - 1)))
    return Table(HEAD, tuple(rows))


def _row(item: JudgedAgain) -> Row:
    recorded, intent = item.recorded, item.recorded.intent
    reasons: Iterable[str] = (
        f"{breach.code.value} {breach.measured} (limit {breach.limit})" for breach in item.breaches
    )
    return (
        f"{recorded.at:%Y-%m-%d %H:%M}",
        recorded.decision_id,
        f"{intent.strategy} {intent.side.value} {plain(intent.quantity)} {intent.symbol}",
        plain(recorded.quantity) if recorded.allowed else recorded.codes[0],
        plain(item.quantity) if item.allowed else "denied",
        "none" if recorded.trade_pnl is None else show_money(recorded.trade_pnl),
        "; ".join(reasons) or "inside every limit",
    )


def impact_as_data(impact: Impact) -> dict[str, Any]:
    return {
        "profile": impact.limits.profile,
        "limit_set": impact.limits.digest,
        "judged": len(impact.judged),
        "other_profiles": impact.other_profiles,
        "unreadable": impact.unreadable,
        "other_code_versions": count_other_code(impact),
        "changes": {change.value: len(impact.list_changed(change)) for change in Change},
        "denied_by_code": {"then": dict(impact.codes_then), "now": dict(impact.codes_now)},
        "recorded_pnl": plain(impact.recorded_pnl),
        "removed_pnl_modelled": plain(impact.removed_pnl),
        "changed": [_as_item(item) for item in impact.judged if item.change is not Change.SAME],
    }


def _as_item(item: JudgedAgain) -> dict[str, Any]:
    recorded = item.recorded
    return {
        "decision_id": recorded.decision_id,
        "at": recorded.at.isoformat(),
        "strategy": recorded.intent.strategy,
        "symbol": recorded.intent.symbol,
        "side": recorded.intent.side.value,
        "change": item.change.value,
        "quantity_then": plain(recorded.quantity),
        "quantity_now": plain(item.quantity),
        "codes_then": list(recorded.codes),
        "codes_now": [breach.code.value for breach in item.breaches],
        "trade_pnl": None if recorded.trade_pnl is None else plain(recorded.trade_pnl),
        "removed_pnl": None if item.removed_pnl is None else plain(item.removed_pnl),
    }
