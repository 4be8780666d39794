"""The strategies this desk knows, by name. Add yours here (README: install your own strategy)."""

from controlplane.errors import NotFound
from trading.strategies.protocol import Enter, Holding, Leave, Scanner, Strategy, View
from trading.strategies.reversion import Reversion
from trading.strategies.trend import Trend

__all__ = ["STRATEGIES", "Enter", "Holding", "Leave", "Scanner", "Strategy", "View", "get_strategy"]

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (Trend(), Reversion())}


def get_strategy(name: str) -> Strategy:
    """Raises NotFound: an assignment naming an unknown strategy trades nothing."""
    if name not in STRATEGIES:
        raise NotFound(f"strategy: no strategy named {name!r}", code="strategy_not_found")
    return STRATEGIES[name]
