"""freqtrade's backtest of EmaCross over a folder of candles; started by p9_replay.py.

Runs in an environment of its own that knows nothing of the product, and without a network: the
markets are given, as freqtrade's own tests do. Arguments: the folder of SYMBOL.csv.gz, and a folder to
work in. Every line read runs one backtest and answers with one line of JSON.
"""

import json
import logging
import sys
from pathlib import Path
from time import perf_counter

import freqtrade
import pandas as pd
from freqtrade.configuration import Configuration
from freqtrade.enums import RunMode
from freqtrade.exchange import Exchange
from freqtrade.optimize.backtesting import Backtesting

STAKE = "USDT"


def make_market(base):
    symbol = f"{base}/{STAKE}:{STAKE}"
    return {
        "id": f"{base}{STAKE}",
        "symbol": symbol,
        "base": base,
        "quote": STAKE,
        "settle": STAKE,
        "baseId": base,
        "quoteId": STAKE,
        "settleId": STAKE,
        "type": "swap",
        "spot": False,
        "margin": False,
        "swap": True,
        "future": False,
        "option": False,
        "active": True,
        "contract": True,
        "linear": True,
        "inverse": False,
        "contractSize": 1.0,
        "taker": 0.0005,
        "maker": 0.0002,
        "precision": {"amount": 0.001, "price": 0.01},
        "limits": {
            "leverage": {"min": 1, "max": 20},
            "amount": {"min": 0.001, "max": 1_000_000},
            "price": {"min": 0.01, "max": 1_000_000},
            "cost": {"min": 5, "max": None},
        },
        "info": {},
    }


def give_markets(bases):
    """In place of the request to the exchange."""
    markets = [make_market(base) for base in bases]

    Exchange._load_async_markets = lambda self, reload=False: self._api_async.set_markets(markets)
    Exchange.validate_timeframes = lambda self, timeframe: None


def write_data(candles, home):
    """The candles as freqtrade keeps them; returns the bases and the number of bars."""
    folder = home / "data" / "binance" / "futures"
    folder.mkdir(parents=True, exist_ok=True)
    bases, count = [], 0
    for path in sorted(candles.glob("*.csv.gz")):
        base = path.name.split(".")[0].removesuffix(STAKE)
        frame = pd.read_csv(path)
        frame["date"] = pd.to_datetime(frame["date"], utc=True)
        frame.to_feather(folder / f"{base}_{STAKE}_{STAKE}-1m-futures.feather")
        write_funding(frame, folder, base)
        bases.append(base)
        count += len(frame)
    return bases, count


def write_funding(frame, folder, base):
    """Hourly marks, and funding that is nothing."""
    marks = (
        frame.set_index("date")
        .resample("1h")
        .agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    )
    marks.reset_index().to_feather(folder / f"{base}_{STAKE}_{STAKE}-1h-mark.feather")
    (marks * 0.0).reset_index().to_feather(folder / f"{base}_{STAKE}_{STAKE}-1h-funding_rate.feather")


def make_config(home, bases):
    text = {
        "stake_currency": STAKE,
        "stake_amount": 100,
        "dry_run": True,
        "dry_run_wallet": 1100,
        "max_open_trades": 2,
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "fee": 0.0005,
        "exchange": {
            "name": "binance",
            "pair_whitelist": [f"{base}/{STAKE}:{STAKE}" for base in bases],
        },
        "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "dataformat_ohlcv": "feather",
    }
    path = home / "config.json"
    path.write_text(json.dumps(text), encoding="utf-8")
    return {
        "config": [str(path)],
        "user_data_dir": str(home),
        "datadir": str(home / "data" / "binance"),
        "strategy": "EmaCross",
        "strategy_path": str(Path(__file__).resolve().parent),
        "timeframe": "1m",
        "export": "none",
    }


def main():
    candles, home = Path(sys.argv[1]), Path(sys.argv[2])
    home.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)
    bases, count = write_data(candles, home)
    give_markets(bases)
    config = Configuration(make_config(home, bases), RunMode.BACKTEST).get_config()
    backtest = Backtesting(config, progress_callback=lambda task: None)
    print(json.dumps({"version": freqtrade.__version__, "candles": count}), flush=True)
    for _ in sys.stdin:
        started = perf_counter()
        data, timerange = backtest.load_bt_data()
        for strategy in backtest.strategylist:
            backtest.backtest_one_strategy(strategy, data, timerange)
        seconds = perf_counter() - started
        trades = len(backtest.all_bt_content["EmaCross"]["results"])
        print(json.dumps({"seconds": seconds, "trades": trades}), flush=True)


if __name__ == "__main__":
    main()
