ACTIONS = frozenset({"trading.candles_import"})
