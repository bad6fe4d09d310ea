"""The account's losses, watched at every price, and the trading day that they are of."""

from collections.abc import Callable
from decimal import Decimal

from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    CashAdjusted,
    ClockTick,
    Event,
    LimitBreached,
    QuoteUpdate,
    Restored,
    TradingDayStarted,
)
from engine.core.model import HUNDRED, ZERO
from engine.core.portfolio import Portfolio
from engine.core.risk.limits import RiskLimits
from engine.core.risk.usage import Usage
from engine.core.sessions import TradingDay

ROUNDING = 1e-9


class LossWatch:
    """Publishes a breach of the account's loss limits in the event that crosses it.

    `equity` tells the account's equity, None where it is unknown. A lone print far off is neither
    loss nor peak: there it counts with the price before, until the next print confirms it. Fills
    and commissions count at once.
    `on_day` is called when a trading day starts; its argument says whether it is a new one, and not
    the one that a former session began.
    """

    def __init__(
        self,
        bus: Bus,
        portfolio: Portfolio,
        limits: RiskLimits,
        day_zone: str,
        equity: Callable[[], Decimal | None],
        on_day: Callable[[bool], None],
    ) -> None:
        self._bus = bus
        self._portfolio = portfolio
        self._limits = limits
        self._equity = equity
        self._on_day = on_day
        self.day = TradingDay(day_zone)
        self._restored_day = ""
        self.day_equity: float | None = None
        self.peak_equity = portfolio.equity_estimate
        self._floor = float("-inf")

    def losses(self, equity: Decimal | None) -> list[Usage]:
        """The loss of the day and the fall from the peak, at `equity`."""
        limits = self._limits
        loss = loss_pct = drawdown = None
        if equity is not None:
            if self.day_equity is not None and self.day_equity > 0:
                day_equity = Decimal(repr(self.day_equity))
                loss = max(ZERO, day_equity - equity)
                loss_pct = loss / day_equity * HUNDRED
            peak = max(Decimal(repr(self.peak_equity)), equity)
            if peak > 0:
                drawdown = (peak - equity) / peak * HUNDRED
        return [
            _loss("daily_loss", loss, limits.max_daily_loss, self._portfolio.accounts.money),
            _loss("daily_loss_pct", loss_pct, limits.max_daily_loss_pct, "%"),
            _loss("drawdown", drawdown, limits.max_drawdown_pct, "%"),
        ]

    # --- inputs and facts -----------------------------------------------------------------------

    def on_quote(self, event: QuoteUpdate) -> None:
        if not event.live:
            return
        if event.ts >= self.day.end:
            self._start_day(event.ts)
        equity = self._portfolio.equity_estimate
        if equity < self._floor or equity > self.peak_equity:
            self._watch()

    def on_bar(self, event: BarClosed) -> None:
        if not event.live:
            return
        if event.ts > self.day.end or not self.day.end:  # a bar closing at midnight ends the day
            self._start_day(event.ts - 1)
        equity = self._portfolio.equity_estimate
        if equity < self._floor or equity > self.peak_equity:
            self._watch()

    def on_tick(self, event: ClockTick) -> None:
        if self.day.end and event.ts >= self.day.end:
            self._start_day(event.ts)

    def on_books(self, _: Event) -> None:
        """Fills, their commissions, executions that were taken back, corrected bars, and exchange
        rates change equity too."""
        self._look()

    def on_adjusted(self, event: CashAdjusted) -> None:
        """What came or went is neither gain nor loss."""
        self.peak_equity = event.peak_equity
        if self.day_equity is not None:
            self.day_equity += float(event.worth)
        if self.day.end:
            self._set_floor()
            self._look()

    def on_restored(self, event: Restored) -> None:
        equity = self._portfolio.equity()
        self.peak_equity = event.peak_equity or float(equity or ZERO)
        self.day_equity = event.day_equity
        self._restored_day = event.day

    def use(self, limits: RiskLimits) -> None:
        """Watch other limits from now on; one that is crossed already is a breach now."""
        self._limits = limits
        if self.day.end:
            self._set_floor()
            self._look()

    def reset_peak(self, equity: Decimal) -> None:
        """Measure the drawdown from `equity`."""
        self.peak_equity = float(equity)
        self._set_floor()

    # --- the day and the floor ------------------------------------------------------------------

    def _start_day(self, ts: int) -> None:
        """Start the day of `ts`, or go on with the one that was restored; not before equity is
        known."""
        equity = self._equity()
        if equity is None:
            return
        self.day.roll(ts)
        is_new = self._restored_day != self.day.date or self.day_equity is None
        self._on_day(is_new)
        if is_new:
            self.day_equity = float(equity)
            self._bus.publish(TradingDayStarted(self.day.date, self.day_equity))
        self._restored_day = ""
        self._set_floor()

    def _set_floor(self) -> None:
        """The equity at which a loss limit is reached, and a little above it: the estimate of
        equity is rounded, and the limits are then measured exactly."""
        limits = self._limits
        floor = self.peak_equity * (1 - float(limits.max_drawdown_pct) / 100)
        if self.day_equity is not None:
            allowed = float(limits.max_daily_loss_pct) / 100 * self.day_equity
            floor = max(floor, self.day_equity - min(float(limits.max_daily_loss), allowed))
        self._floor = floor + self.peak_equity * ROUNDING

    def _look(self) -> None:
        if self._portfolio.equity_estimate < self._floor:
            self._watch()

    def _watch(self) -> None:
        equity = self._equity()
        if equity is not None and equity > self.peak_equity:
            self.peak_equity = float(equity)
            self._set_floor()
            return
        for usage in self.losses(equity):
            if usage.used is not None and not usage.within:
                self._floor = float("-inf")  # said once; a new day or a new peak watches again
                reason = f"{usage.check.replace('_', ' ')} {usage.numbers}"
                used, limit = float(usage.used), float(usage.limit)
                self._bus.publish(LimitBreached(usage.check, used, limit, reason))
                return


def _loss(check: str, used: Decimal | None, limit: Decimal, unit: str) -> Usage:
    name = f"max_{check}_pct" if check == "drawdown" else f"max_{check}"
    return Usage("account", check, "", used, limit, unit, below=True, setting=name)
