"""Three tiers of limits: position, strategy, account.

Every check of an entry is published with its numbers. The account's loss limits are watched at
every price of a held symbol, and a breach is published in the event that crosses it.
"""

from collections.abc import Callable
from decimal import Decimal

from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    ClockTick,
    LimitBreached,
    OrderIntended,
    PositionChanged,
    PositionClosed,
    QuoteUpdate,
    Restored,
    RiskChecked,
    StrategyPaused,
    StrategyResumed,
    StrategyToggled,
    TradingDayStarted,
)
from engine.core.market import Market
from engine.core.model import ZERO, Order, OrderPurpose
from engine.core.orders import OrderBook
from engine.core.portfolio import Portfolio
from engine.core.risk.limits import RiskLimits
from engine.core.risk.usage import Usage
from engine.core.sessions import TradingDay

HUNDRED = Decimal(100)
ROUNDING = 1e-9


class Risk:
    """Measures the limits, checks entries against them, and watches the account's losses."""

    def __init__(
        self,
        bus: Bus,
        limits: RiskLimits,
        market: Market,
        portfolio: Portfolio,
        orders: OrderBook,
        day_zone: str,
    ) -> None:
        self._bus = bus
        self.limits = limits
        self._market = market
        self._portfolio = portfolio
        self._orders = orders
        self._day = TradingDay(day_zone)
        self._restored_day = ""
        self.day_equity: float | None = None
        self.peak_equity = portfolio.equity_estimate
        self.trades: dict[str, int] = {}
        self.losses: dict[str, int] = {}
        self._floor = float("-inf")
        self.rules: Callable[[Order], list[Usage]] = lambda order: []  # those from outside

    # --- measuring ------------------------------------------------------------------------------

    def account_usage(self, extra: Decimal = ZERO) -> list[Usage]:
        """The account's limits, with `extra` notional on top of positions and open entries."""
        limits, equity = self.limits, self._portfolio.equity()
        exposure = self._portfolio.exposure()
        loss = loss_pct = exposed = drawdown = None
        if equity is not None:
            if self.day_equity is not None and self.day_equity > 0:
                day_equity = Decimal(repr(self.day_equity))
                loss = max(ZERO, day_equity - equity)
                loss_pct = loss / day_equity * HUNDRED
            if exposure is not None and equity > 0:
                exposed = (exposure + self._open_entries() + extra) / equity * HUNDRED
            peak = max(Decimal(repr(self.peak_equity)), equity)
            if peak > 0:
                drawdown = (peak - equity) / peak * HUNDRED
        return [
            Usage("account", "daily_loss", "", loss, limits.max_daily_loss, "$", below=True),
            Usage(
                "account",
                "daily_loss_pct",
                "",
                loss_pct,
                limits.max_daily_loss_pct,
                "%",
                below=True,
            ),
            Usage("account", "exposure", "", exposed, limits.max_exposure_pct, "%"),
            Usage("account", "drawdown", "", drawdown, limits.max_drawdown_pct, "%", below=True),
        ]

    def strategy_usage(self, strategy: str, extra: int = 0) -> list[Usage]:
        """A strategy's limits, with `extra` trades on top of today's."""
        trades = Decimal(self.trades.get(strategy, 0) + extra)
        losses = Decimal(self.losses.get(strategy, 0))
        max_trades = Decimal(self.limits.max_trades_per_day)
        max_losses = Decimal(self.limits.max_consecutive_losses)
        return [
            Usage("strategy", "trades_per_day", strategy, trades, max_trades, ""),
            Usage("strategy", "consecutive_losses", strategy, losses, max_losses, "", below=True),
        ]

    def position_usage(self, symbol: str, extra: Decimal = ZERO) -> Usage:
        """The size of the position in `symbol` over all strategies, open entries included."""
        notional = self._portfolio.notional(symbol)
        entries = self._open_entries(symbol) + extra
        return self._position_usage(symbol, notional, entries, self._portfolio.equity())

    def position_usages(self) -> list[Usage]:
        """`position_usage` of every symbol that is held or has open orders, in one pass."""
        equity, notionals = self._portfolio.equity(), self._portfolio.notionals()
        entries: dict[str, Decimal] = {}
        for order in self._orders.open.values():
            entry = order.purpose is OrderPurpose.ENTRY
            worst = order.worst_notional if entry else ZERO
            entries[order.symbol] = entries.get(order.symbol, ZERO) + worst
        return [
            self._position_usage(
                symbol, notionals.get(symbol, ZERO), entries.get(symbol, ZERO), equity
            )
            for symbol in notionals | entries
        ]

    def _position_usage(
        self, symbol: str, notional: Decimal | None, entries: Decimal, equity: Decimal | None
    ) -> Usage:
        used = None
        if equity is not None and equity > 0 and notional is not None:
            used = (notional + entries) / equity * HUNDRED
        limit = self.limits.max_position_size_pct
        return Usage("position", "position_size", symbol, used, limit, "%")

    def usage(self, order: Order, *, counted: bool) -> list[Usage]:
        """Every limit that `order` must keep; `counted` says that it is among the open orders."""
        extra = ZERO if counted else order.worst_notional
        return [
            self.position_usage(order.symbol, extra),
            *self.strategy_usage(order.strategy, 0 if counted else 1),
            *self.account_usage(extra),
            *self.rules(order),
        ]

    def _open_entries(self, symbol: str = "") -> Decimal:
        """Open entries at their worst: what is left of each, at its reference price."""
        return sum(
            (
                order.worst_notional
                for order in self._orders.open.values()
                if order.purpose is OrderPurpose.ENTRY and (not symbol or order.symbol == symbol)
            ),
            ZERO,
        )

    # --- checking -------------------------------------------------------------------------------

    def check(self, order: Order) -> Usage | None:
        """Check a new entry against every limit, publish each check, and return the first that
        fails."""
        failed: Usage | None = None
        for usage in self.usage(order, counted=False):
            used = float("nan") if usage.used is None else float(usage.used)
            self._bus.publish(
                RiskChecked(
                    order.client_order_id,
                    usage.tier,
                    usage.check,
                    used,
                    float(usage.limit),
                    usage.within,
                )
            )
            if failed is None and not usage.within:
                failed = usage
        return failed

    def objection(self, order: Order) -> str:
        """Why an entry that is about to leave must not; empty text where nothing stands against
        it. An order that reduces a position is never held back."""
        if order.purpose is not OrderPurpose.ENTRY:
            return ""
        for usage in self.usage(order, counted=True):
            if not usage.within:
                return f"{usage.check} {usage.numbers}"
        return ""

    # --- the trading day ------------------------------------------------------------------------

    @property
    def day(self) -> str:
        """ISO date of the trading day, empty before the first live price."""
        return self._day.date

    def on_quote(self, event: QuoteUpdate) -> None:
        if event.ts >= self._day.end:
            self._start_day(event.ts)
        equity = self._portfolio.equity_estimate
        if equity < self._floor or equity > self.peak_equity:
            self._watch(equity)

    def on_bar(self, event: BarClosed) -> None:
        if not event.live:
            return
        if event.ts > self._day.end or not self._day.end:  # a bar closing at midnight ends the day
            self._start_day(event.ts - 1)
        equity = self._portfolio.equity_estimate
        if equity < self._floor or equity > self.peak_equity:
            self._watch(equity)

    def on_tick(self, event: ClockTick) -> None:
        if self._day.end and event.ts >= self._day.end:
            self._start_day(event.ts)

    def on_position(self, _: PositionChanged) -> None:
        equity = self._portfolio.equity_estimate
        if equity < self._floor:
            self._watch(equity)

    def _start_day(self, ts: int) -> None:
        """Start the day of `ts`, or go on with the one that was restored; not before equity is
        known."""
        equity = self._portfolio.equity()
        if equity is None:
            return
        self._day.roll(ts)
        self._count_trades()
        self._market.start_day(self._day.start)
        if self._restored_day != self._day.date or self.day_equity is None:
            self._resume_paused()
            self.day_equity = float(equity)
            self._bus.publish(TradingDayStarted(self._day.date, self.day_equity))
        self._restored_day = ""
        self._set_floor()

    def _count_trades(self) -> None:
        self.trades.clear()
        for order in self._orders.orders.values():
            if order.created_ts >= self._day.start:
                self._count(order)

    def _resume_paused(self) -> None:
        """Losses in a row pause a strategy for the rest of the trading day."""
        for strategy, losses in self.losses.items():
            if losses >= self.limits.max_consecutive_losses:
                self.losses[strategy] = 0
                self._bus.publish(StrategyResumed(strategy))

    def _count(self, order: Order) -> None:
        if order.purpose is OrderPurpose.ENTRY:
            self.trades[order.strategy] = self.trades.get(order.strategy, 0) + 1

    # --- watching -------------------------------------------------------------------------------

    def _set_floor(self) -> None:
        """The equity at which a loss limit is reached, and a little above it: the estimate of
        equity is rounded, and the limits are then measured exactly."""
        limits = self.limits
        floor = self.peak_equity * (1 - float(limits.max_drawdown_pct) / 100)
        if self.day_equity is not None:
            allowed = float(limits.max_daily_loss_pct) / 100 * self.day_equity
            floor = max(floor, self.day_equity - min(float(limits.max_daily_loss), allowed))
        self._floor = floor + self.peak_equity * ROUNDING

    def _watch(self, equity: float) -> None:
        if equity > self.peak_equity:
            self.peak_equity = equity
            self._set_floor()
            return
        for usage in self.account_usage():
            if usage.below and usage.used is not None and not usage.within:
                self._floor = float("-inf")  # said once; a new day or a new peak watches again
                reason = f"{usage.check.replace('_', ' ')} {usage.numbers}"
                used, limit = float(usage.used), float(usage.limit)
                self._bus.publish(LimitBreached(usage.check, used, limit, reason))
                return

    # --- facts ----------------------------------------------------------------------------------

    def on_intended(self, event: OrderIntended) -> None:
        self._count(event.order)

    def on_closed(self, event: PositionClosed) -> None:
        trip = event.round_trip
        if trip.pnl >= 0:
            self.losses[trip.strategy] = 0
            return
        self.losses[trip.strategy] = losses = self.losses.get(trip.strategy, 0) + 1
        if losses == self.limits.max_consecutive_losses:
            reason = f"{losses} losses in a row: no entries today, unless it is switched off and on"
            self._bus.publish(StrategyPaused(trip.strategy, reason))

    def on_toggled(self, event: StrategyToggled) -> None:
        if event.enabled:
            self.losses[event.strategy] = 0

    def on_restored(self, event: Restored) -> None:
        equity = self._portfolio.equity()
        self.peak_equity = event.peak_equity or float(equity or ZERO)
        self.day_equity = event.day_equity
        self._restored_day = event.day
        self.losses = {state.strategy: state.losses for state in event.strategies}
