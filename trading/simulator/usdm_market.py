"""Binance USD-M answers about the market: instruments, prices, candles, book, funding."""

from typing import Any

from trading.simulator import history, settlement
from trading.simulator.book import best_prices, last_price, levels
from trading.simulator.candles import UNIT
from trading.simulator.engine import Engine
from trading.simulator.errors import VenueError
from trading.simulator.filters import MAX_ALGO_ORDERS, MAX_ORDERS
from trading.simulator.instruments import INSTRUMENTS, Instrument
from trading.simulator.limits import ORDERS_PER_MINUTE, ORDERS_PER_TEN_SECONDS, WEIGHT_LIMIT
from trading.simulator.state import Side
from trading.simulator.venue import SimulatedVenue
from trading.simulator.wire import Params

MINUTE_MS = 60_000
# 2100-12-25 08:00 UTC: what the venue states for a perpetual that is to stay.
NEVER_MS = 4_133_404_800_000
INTERVALS = {
    "1m": 1,
    "3m": 3,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1h": 60,
    "2h": 120,
    "4h": 240,
    "6h": 360,
    "8h": 480,
    "12h": 720,
    "1d": 1440,
}
ORDER_TYPES = [
    "LIMIT",
    "MARKET",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]


def ping(venue: SimulatedVenue, params: Params) -> Any:
    return {}


def server_time(venue: SimulatedVenue, params: Params) -> Any:
    return {"serverTime": venue.server_ms()}


def exchange_info(venue: SimulatedVenue, params: Params) -> Any:
    limits = [
        ("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_LIMIT),
        ("ORDERS", "MINUTE", 1, ORDERS_PER_MINUTE),
        ("ORDERS", "SECOND", 10, ORDERS_PER_TEN_SECONDS),
    ]
    return {
        "timezone": "UTC",
        "serverTime": venue.server_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
            for kind, interval, number, limit in limits
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol(venue, INSTRUMENTS[symbol]) for symbol in venue.engine.feed.symbols],
    }


def _symbol(venue: SimulatedVenue, instrument: Instrument) -> dict[str, Any]:
    places = instrument.price_precision
    delists_ms = venue.delistings.get(instrument.symbol, NEVER_MS)
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": delists_ms,
        "onboardDate": instrument.onboarded_ms,
        "status": "TRADING" if venue.engine.state.now_ms < delists_ms else "SETTLING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": places,
        "quantityPrecision": instrument.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": f"{instrument.market_take_bound:.4f}",
        "liquidationFee": f"{instrument.liquidation_fee_ratio:.6f}",
        "marketTakeBound": str(instrument.market_take_bound),
        "maxMoveOrderLimit": 10000,
        "filters": _filters(instrument),
        "orderTypes": ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _filters(instrument: Instrument) -> list[dict[str, Any]]:
    lot = {"minQty": str(instrument.min_quantity), "stepSize": str(instrument.step)}
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": str(instrument.min_price),
            "maxPrice": str(instrument.max_price),
            "tickSize": str(instrument.tick),
        },
        {"filterType": "LOT_SIZE", "maxQty": str(instrument.max_quantity), **lot},
        {"filterType": "MARKET_LOT_SIZE", "maxQty": str(instrument.max_market_quantity), **lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": MAX_ORDERS},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": MAX_ALGO_ORDERS},
        {"filterType": "MIN_NOTIONAL", "notional": str(instrument.min_notional)},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": f"{instrument.multiplier_up:.4f}",
            "multiplierDown": f"{instrument.multiplier_down:.4f}",
            "multiplierDecimal": "4",
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def _each(venue: SimulatedVenue, params: Params, one: Any) -> Any:
    """The answer for one symbol, or the list for all that have a price."""
    if "symbol" in params:
        return one(venue.engine, params.symbol(venue.engine.feed.symbols))
    return [one(venue.engine, symbol) for symbol in venue.engine.feed.symbols]


def ticker_24h(venue: SimulatedVenue, params: Params) -> Any:
    return _each(venue, params, _ticker_24h)


def _ticker_24h(engine: Engine, symbol: str) -> dict[str, Any]:
    instrument, market, day = (
        INSTRUMENTS[symbol],
        engine.state.markets[symbol],
        history.last_day(engine, symbol),
    )
    places = instrument.price_precision
    last = last_price(market, instrument)
    ticker = {
        "symbol": symbol,
        "lastPrice": f"{last:.{places}f}",
        "lastQty": str(instrument.step),
        "closeTime": market.traded_ms,
        "openTime": market.traded_ms - history.DAY_MS,
        "firstId": 0,
        "lastId": 0,
        "count": 0,
    }
    if day is None:
        return ticker
    opened = history.scaled(day.open)
    average = history.scaled(day.quote) / history.scaled(day.volume) if day.volume else last
    return {
        **ticker,
        "openPrice": history.text(day.open, places),
        "highPrice": history.text(day.high, places),
        "lowPrice": history.text(day.low, places),
        "priceChange": f"{last - opened:.{places}f}",
        "priceChangePercent": f"{(last / opened - 1) * 100:.3f}",
        "weightedAvgPrice": f"{average:.{places}f}",
        "volume": history.text(day.volume, instrument.quantity_precision),
        "quoteVolume": history.text(day.quote, 2),
    }


def book_ticker(venue: SimulatedVenue, params: Params) -> Any:
    return _each(venue, params, _book_ticker)


def _book_ticker(engine: Engine, symbol: str) -> dict[str, Any]:
    instrument, market = INSTRUMENTS[symbol], engine.state.markets[symbol]
    bid, ask = best_prices(market, instrument)
    answer: dict[str, Any] = {"symbol": symbol, "time": market.traded_ms, "lastUpdateId": market.traded_ms}
    for name, side, best in (("bid", "SELL", bid), ("ask", "BUY", ask)):
        price, quantity = next(levels(market, instrument, _side(side)), (best, instrument.step))
        answer[f"{name}Price"] = f"{price:.{instrument.price_precision}f}"
        answer[f"{name}Qty"] = str(quantity)
    return answer


def _side(side: str) -> Side:
    return "BUY" if side == "BUY" else "SELL"


def ticker_price(venue: SimulatedVenue, params: Params) -> Any:
    return _each(venue, params, _ticker_price)


def _ticker_price(engine: Engine, symbol: str) -> dict[str, Any]:
    instrument, market = INSTRUMENTS[symbol], engine.state.markets[symbol]
    price = last_price(market, instrument)
    return {"symbol": symbol, "price": f"{price:.{instrument.price_precision}f}", "time": market.traded_ms}


def klines(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    minutes = INTERVALS.get(params.text("interval"))
    if minutes is None:
        raise VenueError(-1120, "Invalid interval.")
    limit = params.integer("limit", 500)
    if not 1 <= limit <= 1500:
        raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
    interval_ms, instrument = minutes * MINUTE_MS, INSTRUMENTS[symbol]
    start = params.integer("startTime") if "startTime" in params else None
    end = params.integer("endTime") if "endTime" in params else None
    found = history.candles(venue.engine, symbol, interval_ms, start_ms=start, end_ms=end, limit=limit)
    return [_kline(candle, interval_ms, instrument) for candle in found]


def _kline(candle: history.Candle, interval_ms: int, instrument: Instrument) -> list[Any]:
    places, lots = instrument.price_precision, instrument.quantity_precision
    prices = [history.text(value, places) for value in (candle.open, candle.high, candle.low, candle.close)]
    volume, quote = history.text(candle.volume, lots), history.text(candle.quote, 5)
    half, half_quote = history.text(candle.volume // 2, lots), history.text(candle.quote // 2, 5)
    trades = max(1, candle.quote // (500 * UNIT))
    return [
        candle.open_ms,
        *prices,
        volume,
        candle.open_ms + interval_ms - 1,
        quote,
        trades,
        half,
        half_quote,
        "0",
    ]


def depth(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    limit = params.integer("limit", 500)
    if limit not in (5, 10, 20, 50, 100, 500, 1000):
        raise VenueError(-4021, f"{limit} is not valid depth limit.")
    instrument, market = INSTRUMENTS[symbol], venue.engine.state.markets[symbol]
    sides = {
        name: [
            [f"{price:.{instrument.price_precision}f}", str(quantity)]
            for price, quantity in list(levels(market, instrument, _side(side)))[:limit]
        ]
        for name, side in (("bids", "SELL"), ("asks", "BUY"))
    }
    at_ms = market.traded_ms
    return {"lastUpdateId": at_ms, "E": at_ms, "T": at_ms, **sides}


def premium_index(venue: SimulatedVenue, params: Params) -> Any:
    return _each(venue, params, _premium_index)


def _premium_index(engine: Engine, symbol: str) -> dict[str, Any]:
    state, market = engine.state, engine.state.markets[symbol]
    following = (state.now_ms // settlement.FUNDING_MS + 1) * settlement.FUNDING_MS
    return {
        "symbol": symbol,
        "markPrice": f"{market.mark:.8f}",
        "indexPrice": f"{market.index:.8f}",
        "estimatedSettlePrice": f"{market.index:.8f}",
        "lastFundingRate": f"{settlement.funding_rate(state, symbol):.8f}",
        "interestRate": f"{settlement.INTEREST:.8f}",
        "nextFundingTime": following,
        "time": market.traded_ms,
    }


def funding_rates(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols) if "symbol" in params else None
    start, end = params.integer("startTime", 0), params.integer("endTime", 1 << 62)
    limit = min(params.integer("limit", 100), 1000)
    found = [
        {
            "symbol": row.symbol,
            "fundingRate": f"{row.rate:.8f}",
            "fundingTime": row.at_ms,
            "markPrice": f"{row.mark:.8f}",
        }
        for row in venue.engine.state.fundings
        if symbol in (None, row.symbol) and start <= row.at_ms <= end
    ]
    return found[:limit] if "startTime" in params else found[-limit:]


def open_interest(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    instrument, market = INSTRUMENTS[symbol], venue.engine.state.markets[symbol]
    lots = (instrument.level_notional * 1000 / last_price(market, instrument)).quantize(instrument.step)
    return {"symbol": symbol, "openInterest": str(lots), "time": market.traded_ms}
