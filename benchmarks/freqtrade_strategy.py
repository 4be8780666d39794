"""The replay's `trend` in freqtrade's words; read by freqtrade_backtest.py in freqtrade's own environment."""

import talib.abstract as ta
from freqtrade.strategy import IStrategy
from pandas import DataFrame


class EmaCross(IStrategy):
    """EMA(8) over EMA(21) on one-minute bars, both ways; stop 2.5 %, target 5 %, out after 25 minutes."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    can_short = True
    startup_candle_count = 64
    process_only_new_candles = True
    stoploss = -0.025
    # Percent of profit at which to leave, by minutes held; at 25 minutes whatever it is.
    minimal_roi = {"0": 0.05, "25": -1}

    def populate_indicators(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        dataframe["gap"] = ta.EMA(dataframe, timeperiod=8) - ta.EMA(dataframe, timeperiod=21)
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        before = dataframe["gap"].shift(1)
        dataframe.loc[(before <= 0) & (dataframe["gap"] > 0), "enter_long"] = 1
        dataframe.loc[(before >= 0) & (dataframe["gap"] < 0), "enter_short"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        dataframe.loc[dataframe["gap"] < 0, "exit_long"] = 1
        dataframe.loc[dataframe["gap"] > 0, "exit_short"] = 1
        return dataframe
