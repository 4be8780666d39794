"""Binance USD-M answers read into the desk's values (pure).

Every reader raises one of ArithmeticError, LookupError, TypeError or ValueError where the answer
has another shape than documented: an answer is read whole or not at all.
Source: Binance USD-M futures REST documentation, and recorded answers.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from trading.core.margin import Bracket
from trading.core.values import (
    BalanceReport,
    Bar,
    FillReport,
    IncomeReport,
    Instrument,
    OrderReport,
    OrderState,
    PositionReport,
    Prices,
    Side,
)
from trading.venues.gateway import AccountMode, KeyPermissions, SymbolSettings

VENUE = "binanceusdm"
DELISTING_NOTICE = timedelta(hours=24)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ORDER_STATES = {
    "NEW": OrderState.OPEN,
    "PENDING_NEW": OrderState.OPEN,
    "PARTIALLY_FILLED": OrderState.OPEN,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
}
# TRIGGERED and FINISHED say nothing of the fill: that is the ordinary order's to tell.
_CONDITIONAL_STATES = {
    "NEW": OrderState.OPEN,
    "TRIGGERING": OrderState.OPEN,
    "TRIGGERED": OrderState.OPEN,
    "CANCELED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
}


def read_rows(answer: Any) -> list[Any]:
    """A list as it is; anything else is no list of rows (an empty object above all)."""
    if not isinstance(answer, list):
        raise TypeError("expected a list")
    return answer


def read_decimal(row: Mapping[str, Any], key: str) -> Decimal:
    value = Decimal(str(row[key]))
    if not value.is_finite():
        raise ValueError(f"{key} is not a number")
    return value


def read_moment(row: Mapping[str, Any], key: str) -> datetime:
    """Milliseconds since 1970 as an aware UTC time; exact."""
    return _EPOCH + timedelta(milliseconds=int(row[key]))


def read_flag(row: Mapping[str, Any], key: str) -> bool:
    """true or false, as JSON or as text."""
    text = str(row[key]).lower()
    if text not in {"true", "false"}:
        raise ValueError(f"{key} is not true or false")
    return text == "true"


def _nonzero(value: Decimal) -> Decimal | None:
    return value if value else None


def _read_optional(row: Mapping[str, Any], key: str) -> Decimal | None:
    return None if row.get(key) in {None, ""} else _nonzero(read_decimal(row, key))


def read_instruments(info: Any, market_at: datetime) -> tuple[Instrument, ...]:
    """USDT-margined perpetuals of exchangeInfo; one about to be delisted is not trading."""
    return tuple(
        _read_instrument(row, market_at)
        for row in read_rows(info["symbols"])
        if row["contractType"] == "PERPETUAL" and row["quoteAsset"] == row["marginAsset"] == "USDT"
    )


def _read_instrument(row: Mapping[str, Any], market_at: datetime) -> Instrument:
    filters = {rule["filterType"]: rule for rule in row["filters"]}
    price, lot, market = (filters[name] for name in ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE"))
    delists_at = read_moment(row, "deliveryDate")
    stays = delists_at - market_at > DELISTING_NOTICE
    return Instrument(
        venue=VENUE,
        symbol=row["symbol"],
        base=row["baseAsset"],
        is_trading=row["status"] == "TRADING" and stays,
        tick_size=read_decimal(price, "tickSize"),
        # The market step is the lot's or coarser; the coarser one fits both kinds of order.
        lot_size=max(read_decimal(lot, "stepSize"), read_decimal(market, "stepSize")),
        min_quantity=max(read_decimal(lot, "minQty"), read_decimal(market, "minQty")),
        max_quantity=read_decimal(lot, "maxQty"),
        max_market_quantity=read_decimal(market, "maxQty"),
        min_notional=read_decimal(filters["MIN_NOTIONAL"], "notional"),
        min_price=read_decimal(price, "minPrice"),
        max_price=read_decimal(price, "maxPrice"),
        # A perpetual that stays carries a date in 2100.
        delists_at=delists_at,
        max_conditional_orders=_read_conditional_limit(filters),
    )


def _read_conditional_limit(filters: Mapping[str, Mapping[str, Any]]) -> int | None:
    """How many conditional orders may rest on the symbol; None where the venue does not say."""
    rule = filters.get("MAX_NUM_ALGO_ORDERS")
    return None if rule is None else int(rule["limit"])


def read_brackets(answer: Any) -> dict[str, tuple[Bracket, ...]]:
    """Margin brackets per symbol, ascending by notional cap."""
    return {
        row["symbol"]: tuple(
            sorted(
                (
                    Bracket(
                        notional_cap=read_decimal(band, "notionalCap"),
                        maintenance_ratio=read_decimal(band, "maintMarginRatio"),
                        maintenance_amount=read_decimal(band, "cum"),
                        max_leverage=int(band["initialLeverage"]),
                    )
                    for band in read_rows(row["brackets"])
                ),
                key=lambda band: band.notional_cap,
            )
        )
        for row in read_rows(answer)
    }


def read_prices(index: Mapping[str, Any], book: Mapping[str, Any], last: Mapping[str, Any]) -> Prices | None:
    """Prices dated by the older of mark and book; the last trade may rightly be older than both.

    None where one of them is not positive: an empty side of the book is stated as 0, and that is no price.
    """
    prices = Prices(
        symbol=index["symbol"],
        mark=read_decimal(index, "markPrice"),
        last=read_decimal(last, "price"),
        index=read_decimal(index, "indexPrice"),
        bid=read_decimal(book, "bidPrice"),
        ask=read_decimal(book, "askPrice"),
        at=min(read_moment(index, "time"), read_moment(book, "time")),
        bid_quantity=_read_optional(book, "bidQty"),
        ask_quantity=_read_optional(book, "askQty"),
        # A contract without funding has an empty rate and the time 0.
        funding_rate=read_decimal(index, "lastFundingRate") if index.get("lastFundingRate") else None,
        funding_at=read_moment(index, "nextFundingTime") if int(index.get("nextFundingTime") or 0) else None,
    )
    stated = (prices.mark, prices.last, prices.index, prices.bid, prices.ask)
    return prices if min(stated) > 0 else None


def read_bars(answer: Any) -> tuple[Bar, ...]:
    names = ("open_at", "open", "high", "low", "close", "volume")
    rows = [dict(zip(names, row, strict=False)) for row in read_rows(answer)]
    return tuple(
        Bar(
            open_at=read_moment(row, "open_at"),
            open=read_decimal(row, "open"),
            high=read_decimal(row, "high"),
            low=read_decimal(row, "low"),
            close=read_decimal(row, "close"),
            volume=read_decimal(row, "volume"),
        )
        for row in rows
    )


def read_balance(answer: Any) -> BalanceReport:
    """The USDT row of the account; LookupError if there is none, as absence is not zero."""
    for row in read_rows(answer["assets"]):
        if row["asset"] == "USDT":
            return BalanceReport(
                wallet=read_decimal(row, "walletBalance"),
                equity=read_decimal(row, "marginBalance"),
                available=read_decimal(row, "availableBalance"),
                initial_margin=read_decimal(row, "initialMargin"),
                maintenance_margin=read_decimal(row, "maintMargin"),
            )
    raise LookupError("no USDT in the account")


def read_positions(answer: Any) -> tuple[PositionReport, ...]:
    """Open positions; ValueError in hedge mode, where one symbol has two."""
    rows = [row for row in read_rows(answer) if read_decimal(row, "positionAmt")]
    if any(row["positionSide"] != "BOTH" for row in rows):
        raise ValueError("positions are held in hedge mode")
    return tuple(_read_position(row) for row in rows)


def _read_position(row: Mapping[str, Any]) -> PositionReport:
    return PositionReport(
        symbol=row["symbol"],
        quantity=read_decimal(row, "positionAmt"),
        entry_price=_nonzero(read_decimal(row, "entryPrice")),
        mark_price=_nonzero(read_decimal(row, "markPrice")),
        unrealised_pnl=read_decimal(row, "unRealizedProfit"),
        liquidation_price=_nonzero(read_decimal(row, "liquidationPrice")),
        initial_margin=read_decimal(row, "initialMargin"),
        maintenance_margin=read_decimal(row, "maintMargin"),
        margin_mode="isolated" if read_decimal(row, "isolatedMargin") else "cross",
        # This endpoint does not state it; the symbol's settings do.
        leverage=None,
        updated_at=read_moment(row, "updateTime"),
    )


def read_order(row: Mapping[str, Any]) -> OrderReport:
    """An ordinary order; a status never heard of is UNKNOWN."""
    quantity = read_decimal(row, "origQty")
    return OrderReport(
        symbol=row["symbol"],
        client_order_id=str(row["clientOrderId"]),
        venue_order_id=str(row["orderId"]),
        state=_ORDER_STATES.get(row["status"], OrderState.UNKNOWN),
        is_conditional=False,
        side=Side(row["side"].lower()),
        quantity=_nonzero(quantity),
        filled_quantity=read_decimal(row, "executedQty"),
        average_price=_read_optional(row, "avgPrice"),
        price=_read_optional(row, "price"),
        trigger_price=_read_optional(row, "stopPrice"),
        reduce_only=read_flag(row, "reduceOnly"),
        close_position=read_flag(row, "closePosition") if "closePosition" in row else False,
        executed_by=None,
        updated_at=read_moment(row, "updateTime"),
    )


def read_conditional(row: Mapping[str, Any]) -> OrderReport:
    """A conditional order; once triggered, `executed_by` names the ordinary order it became."""
    executed_by = str(row.get("actualOrderId") or "")
    closing = read_flag(row, "closePosition") if "closePosition" in row else False
    return OrderReport(
        symbol=row["symbol"],
        client_order_id=str(row["clientAlgoId"]),
        venue_order_id=str(row["algoId"]),
        state=_CONDITIONAL_STATES.get(row["algoStatus"], OrderState.UNKNOWN),
        is_conditional=True,
        side=Side(row["side"].lower()),
        quantity=None if closing else _read_optional(row, "quantity"),
        filled_quantity=Decimal(0),
        average_price=None,
        price=_read_optional(row, "price"),
        trigger_price=read_decimal(row, "triggerPrice"),
        reduce_only=read_flag(row, "reduceOnly"),
        close_position=closing,
        executed_by=executed_by if executed_by not in {"", "0"} else None,
        updated_at=read_moment(row, "updateTime"),
    )


def read_fill(row: Mapping[str, Any]) -> FillReport:
    return FillReport(
        symbol=row["symbol"],
        venue_fill_id=str(row["id"]),
        venue_order_id=str(row["orderId"]),
        side=Side(row["side"].lower()),
        quantity=read_decimal(row, "qty"),
        price=read_decimal(row, "price"),
        fee=read_decimal(row, "commission"),
        fee_asset=row["commissionAsset"],
        realised_pnl=read_decimal(row, "realizedPnl"),
        is_maker=read_flag(row, "maker"),
        at=read_moment(row, "time"),
    )


def read_income(row: Mapping[str, Any]) -> IncomeReport:
    return IncomeReport(
        venue_income_id=str(row["tranId"]),
        kind=row["incomeType"],
        symbol=row["symbol"],
        amount=read_decimal(row, "income"),
        at=read_moment(row, "time"),
    )


def read_symbol_settings(answer: Any, symbol: str) -> SymbolSettings:
    for row in read_rows(answer):
        if row["symbol"] == symbol:
            return SymbolSettings(
                symbol=symbol,
                leverage=int(row["leverage"]),
                is_isolated=row["marginType"] == "ISOLATED",
                is_auto_add_margin=read_flag(row, "isAutoAddMargin"),
            )
    raise LookupError(f"no settings of {symbol}")


def read_account_mode(position_side: Any, multi_assets: Any) -> AccountMode:
    return AccountMode(
        is_one_way=not read_flag(position_side, "dualSidePosition"),
        is_single_asset=not read_flag(multi_assets, "multiAssetsMargin"),
    )


def read_permissions(row: Mapping[str, Any]) -> KeyPermissions:
    return KeyPermissions(
        can_trade_futures=read_flag(row, "enableFutures"),
        can_withdraw=read_flag(row, "enableWithdrawals"),
        can_transfer=read_flag(row, "enableInternalTransfer") or read_flag(row, "permitsUniversalTransfer"),
        is_bound_to_address=read_flag(row, "ipRestrict"),
    )
