"""Binance USD-M futures: one-way, single-asset, isolated; conditional orders on the algo endpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from trading.core.margin import Bracket
from trading.core.values import (
    BalanceReport,
    Bar,
    Environment,
    FillReport,
    IncomeReport,
    Instrument,
    OrderReport,
    OrderRequest,
    OrderState,
    Outcome,
    OutcomeKind,
    PositionReport,
    Prices,
)
from trading.venues import binanceusdm_answers as answers
from trading.venues.binanceusdm_orders import to_params
from trading.venues.ccxt_client import MALFORMED, CallFailed, VenueClient, to_venue_error
from trading.venues.gateway import (
    AccountMode,
    Capabilities,
    Cause,
    Fence,
    KeyPermissions,
    SymbolSettings,
    VenueError,
    VenueRejected,
    VenueUnavailable,
)
from trading.venues.outcomes import Failure, classify_failure, find_cause
from trading.venues.transport import fenced_by

VENUE = answers.VENUE
KEY_PREFIX = "BINANCE"
PRODUCTION_HOSTS = ("fapi.binance.com", "api.binance.com")
PAGE = 1000
NOT_FOUND = frozenset({"-2011", "-2013"})
NO_CHANGE_OF_MARGIN_TYPE = "-4046"
NO_CHANGE_OF_POSITION_SIDE = "-4059"
NO_CHANGE_OF_ASSET_MODE = "-4171"

T = TypeVar("T")


class BinanceUsdmGateway:
    """One account at Binance USD-M futures."""

    def __init__(self, client: VenueClient) -> None:
        self._client = client

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            venue=VENUE,
            has_test_order=True,
            has_attached_protection=False,
            has_closing_stop=True,
            has_dead_man_timer=True,
            has_key_permissions=self._client.environment is not Environment.DEMO,
            client_order_id_field="newClientOrderId",
            client_conditional_id_field="clientAlgoId",
        )

    @property
    def endpoint(self) -> str:
        return self._client.find_address("fapiPublic")

    @property
    def key_fingerprint(self) -> str:
        return self._client.keys.fingerprint

    # Reads ------------------------------------------------------------------------------------

    def load_instruments(self, market_at: datetime) -> tuple[tuple[Instrument, tuple[Bracket, ...]], ...]:
        answer = self._call("fapiPublicGetExchangeInfo")
        instruments = self._parse(answers.read_instruments, answer, market_at)
        brackets = self._read(answers.read_brackets, "fapiPrivateGetLeverageBracket")
        return tuple((instrument, brackets.get(instrument.symbol, ())) for instrument in instruments)

    def fetch_prices(self, symbols: Sequence[str]) -> dict[str, Prices]:
        only = {"symbol": symbols[0]} if len(symbols) == 1 else {}
        index = self._read(_by_symbol, "fapiPublicGetPremiumIndex", **only)
        book = self._read(_by_symbol, "fapiPublicGetTickerBookTicker", **only)
        last = self._read(_by_symbol, "fapiPublicV2GetTickerPrice", **only)
        found: dict[str, Prices] = {}
        for symbol in symbols:
            if symbol in index and symbol in book and symbol in last:
                prices = self._parse(answers.read_prices, index[symbol], book[symbol], last[symbol])
                found |= {} if prices is None else {symbol: prices}
        return found

    def fetch_bars(
        self, symbol: str, interval: str, limit: int, *, since: datetime | None = None
    ) -> tuple[Bar, ...]:
        params: dict[str, str | int] = {"symbol": symbol, "interval": interval, "limit": limit}
        if since is not None:
            params["startTime"] = _to_ms(since)
        return self._read(answers.read_bars, "fapiPublicGetKlines", **params)

    def fetch_balance(self) -> BalanceReport:
        return self._read(answers.read_balance, "fapiPrivateV3GetAccount")

    def fetch_positions(self) -> tuple[PositionReport, ...]:
        return self._read(answers.read_positions, "fapiPrivateV3GetPositionRisk")

    def fetch_open_orders(self, symbol: str | None = None) -> tuple[OrderReport, ...]:
        only = {} if symbol is None else {"symbol": symbol}
        # Conditional first: one that triggers between the two calls is then seen twice, not never.
        conditional = self._read(_each(answers.read_conditional), "fapiPrivateGetOpenAlgoOrders", **only)
        return self._read(_each(answers.read_order), "fapiPrivateGetOpenOrders", **only) + conditional

    def fetch_order(self, symbol: str, client_order_id: str, conditional: bool) -> OrderReport | None:
        if not conditional:
            return self._look_up(
                answers.read_order, "fapiPrivateGetOrder", symbol=symbol, origClientOrderId=client_order_id
            )
        report = self._look_up(
            answers.read_conditional, "fapiPrivateGetAlgoOrder", symbol=symbol, clientAlgoId=client_order_id
        )
        if report is None or report.executed_by is None:
            return report
        became = self._look_up(
            answers.read_order, "fapiPrivateGetOrder", symbol=symbol, orderId=report.executed_by
        )
        if became is None:
            return replace(report, state=OrderState.UNKNOWN)
        return replace(
            report,
            state=became.state,
            filled_quantity=became.filled_quantity,
            average_price=became.average_price,
            updated_at=became.updated_at,
        )

    def fetch_client_order_id(self, symbol: str, venue_order_id: str) -> str | None:
        report = self._look_up(
            answers.read_order, "fapiPrivateGetOrder", symbol=symbol, orderId=venue_order_id
        )
        return None if report is None else report.client_order_id

    def fetch_fills(
        self, symbol: str, *, since: datetime | None = None, from_id: str | None = None
    ) -> tuple[FillReport, ...]:
        where: dict[str, str | int] = {}
        if from_id is not None:
            where = {"fromId": from_id}
        elif since is not None:
            where = {"startTime": _to_ms(since)}
        found: list[FillReport] = []
        while True:
            page: tuple[FillReport, ...] = self._read(
                _each(answers.read_fill), "fapiPrivateGetUserTrades", symbol=symbol, limit=PAGE, **where
            )
            found += page
            if len(page) < PAGE:
                return tuple(sorted(found, key=lambda fill: int(fill.venue_fill_id)))
            where = {"fromId": int(page[-1].venue_fill_id) + 1}

    def fetch_income(self, *, since: datetime) -> tuple[IncomeReport, ...]:
        found: dict[tuple[str, str, str], IncomeReport] = {}
        start = _to_ms(since)
        while True:
            page: tuple[IncomeReport, ...] = self._read(
                _each(answers.read_income), "fapiPrivateGetIncome", startTime=start, limit=PAGE
            )
            # Pages overlap by the millisecond they meet in.
            found |= {(row.kind, row.venue_income_id, row.symbol): row for row in page}
            if len(page) < PAGE:
                return tuple(sorted(found.values(), key=lambda row: row.at))
            start = max(_to_ms(page[-1].at), start + 1)

    def fetch_server_time(self) -> datetime:
        return self._read(_read_server_time, "fapiPublicGetTime")

    def measure_clock_skew_ms(self) -> int:
        sent = self._client.get_wall_ms()
        served = _to_ms(self.fetch_server_time())
        return (sent + self._client.get_wall_ms()) // 2 - served

    def fetch_permissions(self) -> KeyPermissions | None:
        if self._client.environment is Environment.DEMO:
            return None
        try:
            answer = self._client.call("sapiGetAccountApiRestrictions")
        except CallFailed as failed:
            is_absent = failed.failure.status == 404 and self._client.environment is Environment.PAPER
            if is_absent:
                return None
            raise to_venue_error(failed, VENUE) from failed
        return self._parse(answers.read_permissions, answer)

    # Account and symbol settings --------------------------------------------------------------

    def fetch_account_mode(self) -> AccountMode:
        position_side = self._call("fapiPrivateGetPositionSideDual")
        multi_assets = self._call("fapiPrivateGetMultiAssetsMargin")
        return self._parse(answers.read_account_mode, position_side, multi_assets)

    def ensure_account_mode(self) -> AccountMode:
        mode = self.fetch_account_mode()
        if mode.is_one_way and mode.is_single_asset:
            return mode
        if not mode.is_one_way:
            self._change(
                NO_CHANGE_OF_POSITION_SIDE, "fapiPrivatePostPositionSideDual", dualSidePosition="false"
            )
        if not mode.is_single_asset:
            self._change(
                NO_CHANGE_OF_ASSET_MODE, "fapiPrivatePostMultiAssetsMargin", multiAssetsMargin="false"
            )
        return self.fetch_account_mode()

    def fetch_symbol_settings(self, symbol: str) -> SymbolSettings:
        answer = self._call("fapiPrivateGetSymbolConfig", symbol=symbol)
        return self._parse(answers.read_symbol_settings, answer, symbol)

    def ensure_symbol_settings(self, symbol: str, leverage: int, isolated: bool) -> SymbolSettings:
        found = self.fetch_symbol_settings(symbol)
        if (found.leverage, found.is_isolated) == (leverage, isolated):
            return found
        if found.is_isolated != isolated:
            mode = "ISOLATED" if isolated else "CROSSED"
            self._change(
                NO_CHANGE_OF_MARGIN_TYPE, "fapiPrivatePostMarginType", symbol=symbol, marginType=mode
            )
        if found.leverage != leverage:
            self._call("fapiPrivatePostLeverage", symbol=symbol, leverage=leverage)
        return self.fetch_symbol_settings(symbol)

    # Writes -----------------------------------------------------------------------------------

    def submit_order(self, request: OrderRequest, *, fence: Fence | None = None) -> Outcome:
        conditional = request.order_type.is_conditional
        endpoint = "fapiPrivatePostAlgoOrder" if conditional else "fapiPrivatePostOrder"
        reader = answers.read_conditional if conditional else answers.read_order
        params = to_params(request)
        try:
            with fenced_by(fence):
                report = reader(self._client.call(endpoint, **params))
        except CallFailed as failed:
            return self._judge(failed.failure)
        except MALFORMED:
            return self._judge(self._client.get_last_failure("answered without a readable order"))
        if report.client_order_id != request.client_order_id or report.venue_order_id in {"", "None"}:
            return self._judge(self._client.get_last_failure("answered with another order"))
        kind = OutcomeKind.REJECTED if report.state is OrderState.REJECTED else OutcomeKind.ACCEPTED
        return Outcome(kind=kind, report=report)

    def cancel_order(self, symbol: str, client_order_id: str, conditional: bool) -> Outcome:
        try:
            if not conditional:
                answer = self._client.call(
                    "fapiPrivateDeleteOrder", symbol=symbol, origClientOrderId=client_order_id
                )
                return Outcome(kind=OutcomeKind.ACCEPTED, report=answers.read_order(answer))
            self._client.call("fapiPrivateDeleteAlgoOrder", symbol=symbol, clientAlgoId=client_order_id)
        except CallFailed as failed:
            return self._judge(failed.failure)
        except MALFORMED:
            return self._judge(self._client.get_last_failure("answered without a readable order"))
        return self._confirm_cancelled(symbol, client_order_id)

    def _confirm_cancelled(self, symbol: str, client_order_id: str) -> Outcome:
        """The answer to a conditional's cancel names no state, so that it is looked up."""
        try:
            report = self.fetch_order(symbol, client_order_id, conditional=True)
        except VenueError as error:
            return Outcome(kind=OutcomeKind.UNKNOWN, text=error.message)
        if report is None or not report.state.is_final:
            return Outcome(kind=OutcomeKind.UNKNOWN, report=report, text="cancelled, but not read back so")
        return Outcome(kind=OutcomeKind.ACCEPTED, report=report)

    def test_order(self, request: OrderRequest) -> Outcome:
        if request.order_type.is_conditional:
            raise ValueError("the venue can test ordinary orders only")
        params = to_params(request)
        try:
            self._client.call("fapiPrivatePostOrderTest", **params)
        except CallFailed as failed:
            return self._judge(failed.failure)
        return Outcome(kind=OutcomeKind.ACCEPTED)

    def arm_dead_man_timer(self, symbol: str, milliseconds: int) -> Outcome:
        try:
            answer = self._client.call(
                "fapiPrivatePostCountdownCancelAll", symbol=symbol, countdownTime=milliseconds
            )
            is_armed = (answer["symbol"], int(answer["countdownTime"])) == (symbol, milliseconds)
        except CallFailed as failed:
            return self._judge(failed.failure)
        except MALFORMED:
            return self._judge(self._client.get_last_failure("answered without a readable timer"))
        if not is_armed:
            return self._judge(self._client.get_last_failure("answered with another timer"))
        return Outcome(kind=OutcomeKind.ACCEPTED)

    def _judge(self, failure: Failure) -> Outcome:
        kind = classify_failure(failure)
        if find_cause(failure) is Cause.CLOCK:
            self._client.resync_clock()
        return Outcome(kind=kind, code=failure.code, text=failure.text, retry_after=failure.retry_after)

    # Calls ------------------------------------------------------------------------------------

    def _call(self, endpoint: str, **params: str | int) -> Any:
        """One request; a read refused for its time stamp is repeated once with the clock measured anew."""
        try:
            return self._client.call(endpoint, **params)
        except CallFailed as failed:
            if find_cause(failed.failure) is not Cause.CLOCK or failed.failure.is_unsent:
                raise to_venue_error(failed, VENUE) from failed
        self._client.resync_clock()
        try:
            return self._client.call(endpoint, **params)
        except CallFailed as failed:
            raise to_venue_error(failed, VENUE) from failed

    def _parse(self, reader: Callable[..., T], *parts: Any) -> T:
        try:
            return reader(*parts)
        except MALFORMED as error:
            kind = type(error).__name__
            raise VenueUnavailable(
                f"{VENUE}: an answer cannot be read: {kind} {error}"[:300], cause=Cause.VENUE
            ) from error

    def _read(self, reader: Callable[..., T], endpoint: str, **params: str | int) -> T:
        return self._parse(reader, self._call(endpoint, **params))

    def _look_up(
        self, reader: Callable[[Any], OrderReport], endpoint: str, **params: str | int
    ) -> OrderReport | None:
        try:
            return self._read(reader, endpoint, **params)
        except VenueRejected as refusal:
            if refusal.venue_code in NOT_FOUND:
                return None
            raise

    def _change(self, no_change_code: str, endpoint: str, **params: str | int) -> None:
        """Change a setting; the venue's refusal to change what is already so is no refusal."""
        try:
            self._call(endpoint, **params)
        except VenueRejected as refusal:
            if refusal.venue_code != no_change_code:
                raise


def _to_ms(at: datetime) -> int:
    elapsed = at - datetime(1970, 1, 1, tzinfo=UTC)
    return elapsed // timedelta(milliseconds=1)


def _read_server_time(answer: Mapping[str, Any]) -> datetime:
    return answers.read_moment(answer, "serverTime")


def _each(reader: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """Reads a list, every row of it or none."""
    return lambda answer: tuple(reader(row) for row in answers.read_rows(answer))


def _by_symbol(answer: Any) -> dict[str, Any]:
    """Rows by symbol; asked for one symbol the venue gives the row itself."""
    rows = answer if isinstance(answer, list) else [answer]
    return {row["symbol"]: row for row in rows}
