"""The Binance USD-M futures dialect: routes, weights, keys and signatures.

Server time and signatures are wall time; every other time in an answer is market time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trading.simulator import usdm_account, usdm_market, usdm_orders
from trading.simulator.errors import VenueError
from trading.simulator.venue import SimulatedVenue
from trading.simulator.wire import (
    Answer,
    Params,
    Request,
    check_signature,
    check_timestamp,
    error_answer,
    json_answer,
)

RESTRICTIONS = "/sapi/v1/account/apiRestrictions"
Handler = Callable[[SimulatedVenue, Params], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What one call does and costs; `weight_all` applies where no symbol is given."""

    handler: Handler
    signed: bool = False
    weight: int = 1
    weight_all: int = 0
    order: bool = False


def _public(handler: Handler, weight: int = 1, weight_all: int = 0) -> Route:
    return Route(handler=handler, weight=weight, weight_all=weight_all)


def _signed(handler: Handler, weight: int = 1, weight_all: int = 0, *, order: bool = False) -> Route:
    return Route(handler=handler, signed=True, weight=weight, weight_all=weight_all, order=order)


_MARKET = {
    ("GET", "/fapi/v1/ping"): _public(usdm_market.ping),
    ("GET", "/fapi/v1/time"): _public(usdm_market.server_time),
    ("GET", "/fapi/v1/exchangeInfo"): _public(usdm_market.exchange_info),
    ("GET", "/fapi/v1/ticker/24hr"): _public(usdm_market.ticker_24h, 1, 40),
    ("GET", "/fapi/v1/ticker/bookTicker"): _public(usdm_market.book_ticker, 2, 5),
    ("GET", "/fapi/v1/ticker/price"): _public(usdm_market.ticker_price, 1, 2),
    ("GET", "/fapi/v2/ticker/price"): _public(usdm_market.ticker_price, 1, 2),
    ("GET", "/fapi/v1/klines"): _public(usdm_market.klines, 5),
    ("GET", "/fapi/v1/depth"): _public(usdm_market.depth, 5),
    ("GET", "/fapi/v1/premiumIndex"): _public(usdm_market.premium_index, 1, 10),
    ("GET", "/fapi/v1/fundingRate"): _public(usdm_market.funding_rates),
    ("GET", "/fapi/v1/openInterest"): _public(usdm_market.open_interest),
}
_ORDERS = {
    ("POST", "/fapi/v1/order"): _signed(usdm_orders.place_order, 1, order=True),
    ("POST", "/fapi/v1/order/test"): _signed(usdm_orders.test_order),
    ("GET", "/fapi/v1/order"): _signed(usdm_orders.get_order),
    ("PUT", "/fapi/v1/order"): _signed(usdm_orders.amend_order, order=True),
    ("DELETE", "/fapi/v1/order"): _signed(usdm_orders.cancel_order),
    ("GET", "/fapi/v1/openOrder"): _signed(usdm_orders.get_open_order),
    ("GET", "/fapi/v1/openOrders"): _signed(usdm_orders.open_orders, 1, 40),
    ("GET", "/fapi/v1/allOrders"): _signed(usdm_orders.all_orders, 5),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(usdm_orders.cancel_all_orders),
    ("POST", "/fapi/v1/algoOrder"): _signed(usdm_orders.place_algo, 1, order=True),
    ("GET", "/fapi/v1/algoOrder"): _signed(usdm_orders.get_algo),
    ("DELETE", "/fapi/v1/algoOrder"): _signed(usdm_orders.cancel_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): _signed(usdm_orders.open_algos, 1, 40),
    ("GET", "/fapi/v1/allAlgoOrders"): _signed(usdm_orders.all_algos, 5),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _signed(usdm_orders.cancel_all_algos),
    ("POST", "/fapi/v1/countdownCancelAll"): _signed(usdm_orders.countdown, 10),
    ("GET", "/fapi/v1/userTrades"): _signed(usdm_orders.user_trades, 5),
}
_ACCOUNT = {
    ("GET", "/fapi/v2/account"): _signed(usdm_account.account, 5),
    ("GET", "/fapi/v3/account"): _signed(usdm_account.account, 5),
    ("GET", "/fapi/v2/balance"): _signed(usdm_account.balance, 5),
    ("GET", "/fapi/v3/balance"): _signed(usdm_account.balance, 5),
    ("GET", "/fapi/v3/positionRisk"): _signed(usdm_account.position_risk, 5),
    ("GET", "/fapi/v1/symbolConfig"): _signed(usdm_account.symbol_config, 5),
    ("GET", "/fapi/v1/accountConfig"): _signed(usdm_account.account_config, 5),
    ("POST", "/fapi/v1/leverage"): _signed(usdm_account.set_leverage),
    ("POST", "/fapi/v1/marginType"): _signed(usdm_account.set_margin_type),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(usdm_account.get_position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(usdm_account.set_position_mode),
    ("GET", "/fapi/v1/multiAssetsMargin"): _signed(usdm_account.get_multi_assets, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): _signed(usdm_account.set_multi_assets),
    ("GET", "/fapi/v1/leverageBracket"): _signed(usdm_account.leverage_brackets),
    ("GET", "/fapi/v1/commissionRate"): _signed(usdm_account.commission_rate, 20),
    ("GET", "/fapi/v1/income"): _signed(usdm_account.income, 30),
    ("GET", RESTRICTIONS): _signed(usdm_account.api_restrictions),
    ("GET", "/sapi/v1/system/status"): _public(usdm_account.system_status),
    ("GET", "/sapi/v1/capital/config/getall"): _signed(usdm_account.coins, 10),
    ("GET", "/sapi/v1/margin/allPairs"): _signed(usdm_account.nothing),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): _signed(usdm_account.nothing),
}
ROUTES: dict[tuple[str, str], Route] = {**_MARKET, **_ORDERS, **_ACCOUNT}


def handle(venue: SimulatedVenue, request: Request) -> Answer:
    """Answer one request as the venue would."""
    route = ROUTES.get((request.method, request.path))
    if route is None or (request.path == RESTRICTIONS and venue.permissions.absent):
        return Answer(status=404, body=b"<html><h2>404 Not found</h2></html>", content_type="text/html")
    params = Params(request)
    with venue.at_now() as engine:
        try:
            weight = route.weight_all if route.weight_all and "symbol" not in params else route.weight
            venue.limiter.charge(engine.state.now_ms, venue.clock.speed, weight, order=route.order)
            if route.signed:
                _authenticate(venue, request, params)
            return json_answer(route.handler(venue, params), headers=venue.limiter.headers())
        except VenueError as error:
            return error_answer(error, venue.limiter.headers())


def _authenticate(venue: SimulatedVenue, request: Request, params: Params) -> None:
    """Key, signature and timestamp, in the venue's order."""
    key = request.headers.get("x-mbx-apikey", "")
    if not key:
        raise VenueError(-2014, "API-key format invalid.", status=401)
    if key != venue.credentials.key:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
    check_signature(request, venue.credentials.secret)
    check_timestamp(params, venue.server_ms())
