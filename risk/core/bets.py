"""Which symbols are one bet: the connected component of high correlation (RISK.md part 1)."""

from risk.core.values import Limits, Snapshot


def find_bet(symbol: str, others: frozenset[str], snapshot: Snapshot, limits: Limits) -> frozenset[str]:
    """`symbol` and all of `others` that chains of |correlation| > bet_correlation connect with it.

    A pair whose correlation is not known counts as 1. Correlations are of 1 h log closes.
    """
    waiting = [other for other in others if other != symbol]
    bet = [symbol]
    if not waiting:
        return frozenset(bet)
    threshold = limits.bet_correlation
    apart = {(item.first, item.second) for item in snapshot.correlations if abs(item.value) <= threshold}
    for one in bet:
        left: list[str] = []
        for other in waiting:
            pair = (one, other) if one < other else (other, one)
            (left if pair in apart else bet).append(other)
        waiting = left
    return frozenset(bet)
