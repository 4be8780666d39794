"""Binance USD-M answers about the account: balances, positions, settings, income, key permissions."""

from decimal import Decimal
from typing import Any

from trading.simulator import ledger
from trading.simulator.errors import VenueError
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.state import ZERO, State
from trading.simulator.venue import SimulatedVenue
from trading.simulator.wire import Params

DONE = {"code": 200, "msg": "success"}


def money(value: Decimal) -> str:
    return f"{value:.8f}"


def _totals(state: State) -> dict[str, Decimal]:
    held = [symbol for symbol, position in state.positions.items() if position.quantity]
    profit = sum((ledger.unrealised(state, symbol) for symbol in held), ZERO)
    positions = sum((ledger.position_margin(state, symbol) for symbol in held), ZERO)
    orders = ledger.total_order_margin(state)
    return {
        "wallet": state.wallet,
        "profit": profit,
        "positions": positions,
        "orders": orders,
        "maintenance": sum((ledger.maintenance(state, symbol) for symbol in held), ZERO),
        "cross_wallet": ledger.cross_wallet(state),
        "cross_profit": ledger.cross_unrealised(state),
        "available": ledger.available_balance(state),
    }


def account(venue: SimulatedVenue, params: Params) -> Any:
    state = venue.engine.state
    totals = _totals(state)
    shared = {
        "crossWalletBalance": money(totals["cross_wallet"]),
        "crossUnPnl": money(totals["cross_profit"]),
        "availableBalance": money(totals["available"]),
        "maxWithdrawAmount": money(totals["available"]),
        "positionInitialMargin": money(totals["positions"]),
        "openOrderInitialMargin": money(totals["orders"]),
        "initialMargin": money(totals["positions"] + totals["orders"]),
        "maintMargin": money(totals["maintenance"]),
        "marginBalance": money(totals["wallet"] + totals["profit"]),
        "unrealizedProfit": money(totals["profit"]),
        "walletBalance": money(totals["wallet"]),
    }
    return {
        "totalInitialMargin": shared["initialMargin"],
        "totalMaintMargin": shared["maintMargin"],
        "totalWalletBalance": shared["walletBalance"],
        "totalUnrealizedProfit": shared["unrealizedProfit"],
        "totalMarginBalance": shared["marginBalance"],
        "totalPositionInitialMargin": shared["positionInitialMargin"],
        "totalOpenOrderInitialMargin": shared["openOrderInitialMargin"],
        "totalCrossWalletBalance": shared["crossWalletBalance"],
        "totalCrossUnPnl": shared["crossUnPnl"],
        "availableBalance": shared["availableBalance"],
        "maxWithdrawAmount": shared["maxWithdrawAmount"],
        "assets": [{"asset": "USDT", **shared, "marginAvailable": True, "updateTime": state.wallet_ms}],
        "positions": [_account_position(state, symbol) for symbol in _shown(state)],
    }


def _shown(state: State) -> list[str]:
    """Symbols with a position or an open order, which are the only ones the venue lists."""
    ordered = {order.symbol for order in state.orders.values()}
    held = {symbol for symbol, position in state.positions.items() if position.quantity}
    return sorted(ordered | held)


def _account_position(state: State, symbol: str) -> dict[str, Any]:
    position = state.position(symbol)
    isolated = state.setting(symbol).isolated
    profit = ledger.unrealised(state, symbol)
    initial, orders = ledger.position_margin(state, symbol), ledger.order_margin(state, symbol)
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": str(position.quantity),
        "unrealizedProfit": money(profit),
        "isolatedMargin": money(position.margin + profit) if isolated else "0",
        "isolatedWallet": money(position.margin) if isolated else "0",
        "notional": money(ledger.notional(state, symbol)),
        "initialMargin": money(initial + orders),
        "maintMargin": money(ledger.maintenance(state, symbol)),
        "updateTime": position.updated_ms,
    }


def balance(venue: SimulatedVenue, params: Params) -> Any:
    state = venue.engine.state
    totals = _totals(state)
    return [
        {
            "accountAlias": "SimSim",
            "asset": "USDT",
            "balance": money(totals["wallet"]),
            "crossWalletBalance": money(totals["cross_wallet"]),
            "crossUnPnl": money(totals["cross_profit"]),
            "availableBalance": money(totals["available"]),
            "maxWithdrawAmount": money(totals["available"]),
            "marginAvailable": True,
            "updateTime": state.wallet_ms,
        }
    ]


def position_risk(venue: SimulatedVenue, params: Params) -> Any:
    """v3: symbols with a position or an open order; leverage and margin type are in symbolConfig."""
    state = venue.engine.state
    wanted = params.symbol(venue.engine.feed.symbols) if "symbol" in params else None
    return [_position_risk(state, symbol) for symbol in _shown(state) if wanted in (None, symbol)]


def _position_risk(state: State, symbol: str) -> dict[str, Any]:
    position, places = state.position(symbol), INSTRUMENTS[symbol].price_precision
    entry = ledger.entry_price(position)
    fees = entry * ledger.TAKER_FEE_RATIO * (1 if position.quantity > 0 else -1)
    bid, ask = ledger.order_notionals(state, symbol)
    row = _account_position(state, symbol)
    row["unRealizedProfit"] = row.pop("unrealizedProfit")
    return {
        **row,
        "entryPrice": f"{entry:.{places + 6}f}",
        "breakEvenPrice": f"{entry + fees:.{places + 6}f}",
        "markPrice": money(state.markets[symbol].mark),
        "liquidationPrice": money(ledger.liquidation_price(state, symbol)),
        "marginAsset": "USDT",
        "positionInitialMargin": money(ledger.position_margin(state, symbol)),
        "openOrderInitialMargin": money(ledger.order_margin(state, symbol)),
        "adl": 1,
        "bidNotional": money(bid),
        "askNotional": money(ask),
    }


def symbol_config(venue: SimulatedVenue, params: Params) -> Any:
    symbols = venue.engine.feed.symbols
    wanted = (params.symbol(symbols),) if "symbol" in params else symbols
    return [_symbol_config(venue.engine.state, symbol) for symbol in wanted]


def _symbol_config(state: State, symbol: str) -> dict[str, Any]:
    setting = state.setting(symbol)
    return {
        "symbol": symbol,
        "marginType": "ISOLATED" if setting.isolated else "CROSSED",
        "isAutoAddMargin": False,
        "leverage": setting.leverage,
        "maxNotionalValue": str(INSTRUMENTS[symbol].largest_notional(setting.leverage)),
    }


def account_config(venue: SimulatedVenue, params: Params) -> Any:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": venue.engine.state.dual_side,
        "updateTime": venue.engine.state.wallet_ms,
        "multiAssetsMargin": venue.engine.state.multi_assets,
        "tradeGroupId": -1,
    }


def set_leverage(venue: SimulatedVenue, params: Params) -> Any:
    symbol, leverage = params.symbol(venue.engine.feed.symbols), params.integer("leverage")
    venue.execute("set_leverage", symbol=symbol, leverage=leverage)
    cap = INSTRUMENTS[symbol].largest_notional(leverage)
    return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": str(cap)}


def set_margin_type(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    kind = params.text("marginType").upper()
    if kind not in ("ISOLATED", "CROSSED"):
        raise VenueError(-1130, "Data sent for parameter 'marginType' is not valid.")
    venue.execute("set_margin_type", symbol=symbol, isolated=kind == "ISOLATED")
    return DONE


def get_position_mode(venue: SimulatedVenue, params: Params) -> Any:
    return {"dualSidePosition": venue.engine.state.dual_side}


def set_position_mode(venue: SimulatedVenue, params: Params) -> Any:
    params.text("dualSidePosition")
    venue.execute("set_dual_side", dual=params.flag("dualSidePosition"))
    return DONE


def get_multi_assets(venue: SimulatedVenue, params: Params) -> Any:
    return {"multiAssetsMargin": venue.engine.state.multi_assets}


def set_multi_assets(venue: SimulatedVenue, params: Params) -> Any:
    params.text("multiAssetsMargin")
    venue.execute("set_multi_assets", multi=params.flag("multiAssetsMargin"))
    return DONE


def leverage_brackets(venue: SimulatedVenue, params: Params) -> Any:
    symbols = venue.engine.feed.symbols
    wanted = (params.symbol(symbols),) if "symbol" in params else symbols
    return [
        {
            "symbol": symbol,
            "brackets": [
                {
                    "bracket": band.number,
                    "initialLeverage": band.max_leverage,
                    "notionalCap": int(band.notional_cap),
                    "notionalFloor": int(band.notional_floor),
                    "maintMarginRatio": float(band.maintenance_ratio),
                    "cum": float(band.maintenance_amount),
                }
                for band in INSTRUMENTS[symbol].brackets
            ],
        }
        for symbol in wanted
    ]


def commission_rate(venue: SimulatedVenue, params: Params) -> Any:
    return {
        "symbol": params.symbol(venue.engine.feed.symbols),
        "makerCommissionRate": f"{ledger.MAKER_FEE_RATIO:.6f}",
        "takerCommissionRate": f"{ledger.TAKER_FEE_RATIO:.6f}",
    }


def income(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols) if "symbol" in params else None
    kind = params.text("incomeType", "")
    start, end = params.integer("startTime", 0), params.integer("endTime", 1 << 62)
    limit, page = min(params.integer("limit", 100), 1000), params.integer("page", 1)
    rows = [
        {
            "symbol": row.symbol,
            "incomeType": row.type,
            "income": money(row.amount),
            "asset": "USDT",
            "info": row.type,
            "time": row.at_ms,
            "tranId": row.income_id,
            "tradeId": str(row.trade_id) if row.trade_id else "",
        }
        for row in venue.engine.state.incomes
        if symbol in (None, row.symbol) and kind in ("", row.type) and start <= row.at_ms <= end
    ]
    if "startTime" in params or "page" in params:
        return rows[(page - 1) * limit : page * limit]
    return rows[-limit:]


def api_restrictions(venue: SimulatedVenue, params: Params) -> Any:
    allowed = venue.permissions
    return {
        "ipRestrict": allowed.ip_restricted,
        "createTime": venue.engine.state.started_ms,
        "enableReading": True,
        "enableWithdrawals": allowed.withdrawals,
        "enableInternalTransfer": allowed.internal_transfer,
        "permitsUniversalTransfer": allowed.universal_transfer,
        "enableFutures": allowed.futures,
        "enableMargin": False,
        "enableSpotAndMarginTrading": False,
        "enableVanillaOptions": False,
        "enablePortfolioMarginTrading": False,
    }


def system_status(venue: SimulatedVenue, params: Params) -> Any:
    return {"status": 0, "msg": "normal"}


def coins(venue: SimulatedVenue, params: Params) -> Any:
    """What ccxt asks for currencies with when a key is set."""
    names = ["USDT", *(INSTRUMENTS[symbol].base for symbol in venue.engine.feed.symbols)]
    return [
        {"coin": name, "name": name, "isLegalMoney": False, "trading": True, "networkList": []}
        for name in names
    ]


def nothing(venue: SimulatedVenue, params: Params) -> Any:
    """Lists of the spot side, which this venue does not have."""
    return []
