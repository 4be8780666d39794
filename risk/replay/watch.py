"""What a desk's guard would do between orders: global risk, trading state, use of each limit.

Read once a bar, and at every step of a bar in which something is reached. Where people must act, the
replay takes the earliest moment at which the rules let them: after a daily loss the next UTC day, after
a weekly one the next Monday, after an emergency stop the next UTC day and 12 hours later, each with the
loss below its limit again; a capital loss stays.

The stop is judged by the core that judges live (risk.core.triggers). Prices stand still for a step of the
simulated venue, so that each look stands for the readings that a guard would take within one step.
"""

from datetime import timedelta
from decimal import Decimal

from risk.core import global_risk, portfolio, triggers
from risk.core.emergency_stop import StopSource
from risk.core.global_risk import AccountFacts
from risk.core.measures import equity_for_risk, position_risk
from risk.core.portfolio import Exposure, LossMeasures
from risk.core.triggers import Reading, WatchState
from risk.core.values import BalanceFacts, PositionFacts, RiskLevel
from risk.replay.book import Account
from risk.replay.curve import DAY_MS
from risk.replay.tape import to_time
from risk.replay.values import ACCOUNT, VENUE, Plan, StateChange, Stretch, Use
from risk.stops.rules import get_stop_rules
from trading.core.values import TradingStateName
from trading.simulator.feed import STEP_MS
from trading.simulator.state import ZERO

REARM_MS = 12 * 3_600_000
HOUR_MS = 3_600_000
NOW = timedelta(0)
DAILY_LOSS, WEEKLY_LOSS = "daily loss limit", "weekly loss limit"
DRAWDOWN, CAPITAL_LOSS = "daily drawdown stop", "capital loss stop"
USES = ("daily loss", "weekly loss", "risk at the stops", "gross exposure", "positions", "entries today")


class Watch:
    """Looks at the account after every bar in which something may have changed."""

    def __init__(self, account: Account, plan: Plan, at_ms: int, spacing_ms: int) -> None:
        self.account, self.plan = account, plan
        self.stretches = [Stretch(at_ms=at_ms, level=RiskLevel.OK, reasons=())]
        self.states = [StateChange(at_ms=at_ms, state=TradingStateName.ACTIVE, reason="start")]
        self.uses: list[Use] = []
        self._spacing_ms, self._until_ms = spacing_ms, at_ms + spacing_ms
        self._peak = dict.fromkeys(USES, 0.0)
        self._loss: tuple[tuple[object, ...], LossMeasures | None] = ((), None)
        self._is_calm = False
        self._rules = get_stop_rules()
        self._watches = dict.fromkeys((StopSource.CAPITAL_LOSS, StopSource.DAILY_DRAWDOWN), WatchState())

    def look(self, at_ms: int) -> None:
        """Take note of equity, level, state and use; the account is the one of this moment."""
        account = self.account
        account.curve.add(at_ms, account.equity())
        if self._is_calm and not account.owned and at_ms % HOUR_MS:
            return
        balance, positions = account.balance(at_ms), tuple(account.positions(at_ms))
        losses = account.curve.losses(at_ms)
        self._read(at_ms)
        self._change_state(at_ms, *losses)
        self._assess(at_ms, balance, positions)
        self._note_use(at_ms, positions, balance, *losses)
        # Flat and calm: until something is held again only the hour can change what is known.
        self._is_calm = not account.owned

    def could_trip(self, lowest: Decimal, highest: Decimal) -> bool:
        """Whether equity (USDT) that moves between these bounds could come to trip the stop."""
        curve, limits = self.account.curve, self.plan.limits
        if self.states[-1].state is TradingStateName.HALTED:
            return False
        peak = max(curve.day_peak, highest)
        drawdown = 1 - lowest / peak if peak > 0 else ZERO
        return (
            drawdown >= limits.daily_drawdown_stop_ratio
            or triggers.capital_loss_ratio(curve.start, ZERO, lowest) >= limits.capital_loss_stop_ratio
        )

    # Trading state ------------------------------------------------------------------------------

    def _read(self, at_ms: int) -> None:
        """The readings of one step, an interval apart, of what equity is now."""
        curve, limits, rules = self.account.curve, self.plan.limits, self._rules
        at = to_time(at_ms)
        count = max(1, timedelta(milliseconds=STEP_MS) // rules.reading_interval)
        for source, value, threshold in (
            (StopSource.CAPITAL_LOSS, curve.capital_loss, limits.capital_loss_stop_ratio),
            (StopSource.DAILY_DRAWDOWN, curve.day_drawdown, limits.daily_drawdown_stop_ratio),
        ):
            # Within the threshold one reading says all that the others would.
            for number in range(count if value >= threshold else 1):
                moment = at + number * rules.reading_interval
                self._watches[source], _ = triggers.advance(
                    self._watches[source],
                    Reading(value=value, market_at=moment),
                    threshold,
                    wall_at=moment,
                    began_at=at,
                    rules=rules,
                )

    def _is_latched(self, source: StopSource) -> bool:
        return self._watches[source].breaches >= self._rules.readings

    def _change_state(self, at_ms: int, daily: Decimal, weekly: Decimal) -> None:
        now, limits = self.states[-1], self.plan.limits
        found = self._find_state(daily, weekly)
        if found is not None and found[0].strictness > now.state.strictness:
            self._set(at_ms, *found)
        elif now.state is not TradingStateName.ACTIVE and found is None and self._may_resume(at_ms, now):
            self._set(at_ms, TradingStateName.ACTIVE, f"after the {now.reason}")
        elif found is not None and now.reason == DAILY_LOSS and weekly >= limits.max_weekly_loss_ratio:
            self._set(at_ms, *found)

    def _find_state(self, daily: Decimal, weekly: Decimal) -> tuple[TradingStateName, str] | None:
        limits = self.plan.limits
        if self._is_latched(StopSource.CAPITAL_LOSS):
            return TradingStateName.HALTED, CAPITAL_LOSS
        if self._is_latched(StopSource.DAILY_DRAWDOWN):
            return TradingStateName.HALTED, DRAWDOWN
        if weekly >= limits.max_weekly_loss_ratio:
            return TradingStateName.REDUCING, WEEKLY_LOSS
        if daily >= limits.max_daily_loss_ratio:
            return TradingStateName.REDUCING, DAILY_LOSS
        return None

    def _may_resume(self, at_ms: int, since: StateChange) -> bool:
        if since.reason == WEEKLY_LOSS:
            return _week(at_ms) != _week(since.at_ms)
        is_next_day = at_ms // DAY_MS != since.at_ms // DAY_MS
        if since.state is TradingStateName.HALTED:
            return is_next_day and at_ms - since.at_ms >= REARM_MS
        return is_next_day

    def _set(self, at_ms: int, state: TradingStateName, reason: str) -> None:
        if self.states[-1].reason != reason:
            self.states.append(StateChange(at_ms=at_ms, state=state, reason=reason))
            self.account.state = state

    # Global risk --------------------------------------------------------------------------------

    def _assess(self, at_ms: int, balance: BalanceFacts, positions: tuple[PositionFacts, ...]) -> None:
        found = global_risk.assess((self._measure(at_ms, balance, positions),), self.plan.global_limits)
        self.account.level = found.level
        last = self.stretches[-1]
        if (last.level, last.reasons) != (found.level, found.reasons):
            self.stretches.append(Stretch(at_ms=at_ms, level=found.level, reasons=found.reasons))

    def _measure(
        self, at_ms: int, balance: BalanceFacts, positions: tuple[PositionFacts, ...]
    ) -> AccountFacts:
        """Every measure of global risk; the feed never fails here, so that ages are zero."""
        account, limits = self.account, self.plan.limits
        exposed, equity = portfolio.measure_exposures(positions) or (), equity_for_risk(balance, limits)
        if equity <= 0 or not exposed:
            return self._facts(at_ms, is_flat=not exposed)
        loss, known = self._measure_loss(at_ms, exposed), account.returns.correlations(at_ms)
        return self._facts(
            at_ms,
            is_flat=False,
            leverage=portfolio.sum_gross(exposed) / equity,
            leverage_limit=limits.max_leverage,
            concentration_ratio=portfolio.measure_concentration(exposed, equity),
            bet_ratio=portfolio.measure_bet(exposed, known, limits.bet_correlation) / equity,
            var_ratio=None if loss is None else loss.value_at_risk / equity,
            es_ratio=None if loss is None else loss.expected_shortfall / equity,
            loss_method="" if loss is None else loss.method,
            volatility_ratio=account.returns.volatility(
                frozenset(account.owned), at_ms, self.plan.global_limits.short_hours
            ),
            maintenance_ratio=balance.maintenance_margin / balance.equity,
        )

    def _facts(self, at_ms: int, **of_the_book: object) -> AccountFacts:
        facts: dict[str, object] = {
            "account": ACCOUNT,
            "venue": VENUE,
            "price_age": NOW,
            "balance_age": NOW,
            "reconciliation_age": NOW,
            "is_reconciled": True,
            "drawdown_ratio": self.account.curve.day_drawdown,
            "drawdown_limit_ratio": self.plan.limits.daily_drawdown_stop_ratio,
            "answer_age": NOW,
            "unknown_orders": 0,
            "errors": self.account.refusals(at_ms, self.plan.global_limits.error_window),
        }
        return AccountFacts(**(facts | of_the_book))  # type: ignore[arg-type]

    def _measure_loss(self, at_ms: int, exposed: tuple[Exposure, ...]) -> LossMeasures | None:
        """Once an hour, and whenever a position is opened, changed or closed."""
        key = (at_ms // HOUR_MS, *((item.symbol, self.account.held(item.symbol)) for item in exposed))
        if self._loss[0] != key:
            notionals = {item.symbol: float(item.signed) for item in exposed}
            self._loss = (key, self.account.returns.loss(notionals, at_ms, self.plan.global_limits))
        return self._loss[1]

    # Headroom -----------------------------------------------------------------------------------

    def _note_use(
        self,
        at_ms: int,
        positions: tuple[PositionFacts, ...],
        balance: BalanceFacts,
        daily: Decimal,
        weekly: Decimal,
    ) -> None:
        account, limits = self.account, self.plan.limits
        risk = sum((position_risk(item, item.mark or ZERO, limits) for item in positions), ZERO)
        gross = sum((abs(item.quantity) * (item.mark or ZERO) for item in positions), ZERO)
        budget = max(equity_for_risk(balance, limits), Decimal(1)) * limits.max_portfolio_risk_ratio
        shares = (
            daily / limits.max_daily_loss_ratio,
            weekly / limits.max_weekly_loss_ratio,
            risk / budget,
            gross / limits.max_gross_exposure,
            Decimal(len(positions)) / limits.max_positions,
            Decimal(account.entries_today(at_ms)) / limits.max_trades_per_day,
        )
        for name, share in zip(USES, shares, strict=True):
            self._peak[name] = max(self._peak[name], float(share))
        if at_ms >= self._until_ms:
            self.uses.append(Use(at_ms=at_ms, shares={name: round(v, 6) for name, v in self._peak.items()}))
            self._peak = dict.fromkeys(USES, 0.0)
            self._until_ms += (
                at_ms - self._until_ms
            ) // self._spacing_ms * self._spacing_ms + self._spacing_ms


def _week(at_ms: int) -> int:
    """Weeks begin on Monday 00:00 UTC."""
    at = to_time(at_ms)
    return at_ms // DAY_MS - at.weekday()
