"""Which symbols are one bet: the connected component of high correlation (RISK.md part 1)."""

from risk.core.values import Limits, Snapshot


def find_bet(symbol: str, others: frozenset[str], snapshot: Snapshot, limits: Limits) -> frozenset[str]:
    """`symbol` and all of `others` that chains of |correlation| > bet_correlation connect with it.

    A pair whose correlation is not known counts as 1. Correlations are of 1 h log closes.
    """
    if not others or others == {symbol}:
        return frozenset((symbol,))
    threshold = limits.bet_correlation
    apart = {(item.first, item.second) for item in snapshot.correlations if abs(item.value) <= threshold}
    bet, waiting = {symbol}, [symbol]
    while waiting:
        one = waiting.pop()
        for other in others - bet:
            pair = (one, other) if one < other else (other, one)
            if pair not in apart:
                bet.add(other)
                waiting.append(other)
    return frozenset(bet)
