"""Three tiers of limits: position, strategy, account.

Every check of an entry is published with its numbers. The account's loss limits are watched at
every price of a held symbol, and a breach is published in the event that crosses it.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from math import isfinite, nan
from typing import Any

from msgspec.structs import replace

from engine.core.bus import Bus
from engine.core.events import (
    ChangedLimit,
    ChangeLimit,
    CommandRefused,
    LimitChanged,
    OrderIntended,
    PositionClosed,
    Restored,
    RiskChecked,
)
from engine.core.market import Market
from engine.core.model import ZERO, Order, OrderPurpose, Signal
from engine.core.orders import OrderBook
from engine.core.portfolio import Portfolio
from engine.core.risk.account import AccountTier
from engine.core.risk.books import Books, measure
from engine.core.risk.limits import HIGH_WATER_MARK, PositionLimits, RiskLimits, changed, shown
from engine.core.risk.position import PositionTier
from engine.core.risk.strategy import StrategyTier
from engine.core.risk.usage import Usage
from engine.core.risk.watch import LossWatch
from engine.core.sessions import Calendars
from engine.core.text import clean

LOOSEN_WORD = "LOOSEN"


class Risk:
    """Measures the limits, checks entries against them, and watches the account's losses.

    `rules` gives further usages of an order: of settlement and day trading, say.
    """

    def __init__(
        self,
        bus: Bus,
        limits: RiskLimits,
        market: Market,
        portfolio: Portfolio,
        orders: OrderBook,
        *,
        day_zone: str,
        calendars: Calendars,
        trip_breaker: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._set_by_settings = self.limits = limits
        self._market = market
        self._portfolio = portfolio
        self._orders = orders
        self.rules: Callable[[Order], list[Usage]] = lambda order: []  # those from outside
        self.position = PositionTier(market, portfolio, calendars, limits, orders.capabilities_of)
        self.strategy = StrategyTier(bus, trip_breaker)
        self.account = AccountTier(market, portfolio, orders)
        self._last: tuple[Order, dict[str, Decimal | None]] | None = None
        self.watch = LossWatch(bus, portfolio, limits, day_zone, self._equity, self._on_day)

    @property
    def day(self) -> str:
        """ISO date of the trading day, empty before the first live price."""
        return self.watch.day.date

    @property
    def day_equity(self) -> float | None:
        return self.watch.day_equity

    @property
    def peak_equity(self) -> float:
        return self.watch.peak_equity

    @property
    def trades(self) -> dict[str, int]:
        return self.strategy.trades

    @property
    def losses(self) -> dict[str, int]:
        return self.strategy.losses

    def state(self) -> dict[str, Any]:
        """All of it that decides what comes next, as plain values."""
        strategy, account = self.strategy, self.account
        return {
            "limits": self.limits,
            "day": [self.day, self.day_equity, self.peak_equity],
            "trades": strategy.trades,
            "losses": strategy.losses,
            "cooling": [[*key, ts] for key, ts in strategy.cooling.items()],
            "recent": [[*key, times] for key, times in strategy.recent.items()],
            "messages": {venue: list(times) for venue, times in account.messages.items()},
            "buying_power": account.statements,
        }

    # --- measuring ------------------------------------------------------------------------------

    def limits_of(self, symbol: str) -> PositionLimits:
        """The limits of positions in `symbol`."""
        return self.position.of(symbol)

    def budget(self, symbol: str, books: Books, equity: Decimal, taken: Decimal) -> Decimal:
        """The largest notional that `symbol`, of which so much is `taken`, may be brought to by one
        order, in the base currency: no more than its account has the funds for, where there are
        several."""
        budget = self.position.budget(symbol, equity, taken)
        venue = self._portfolio.venue(symbol)
        if venue not in books.funds:
            return budget
        funds, spent = books.funds[venue], books.exposure(books.of_account(venue))
        left = ZERO if funds is None or spent is None else funds * self.limits.max_leverage - spent
        return min(budget, taken + max(left, ZERO))

    def books(self) -> Books:
        """What the account has at stake, the open orders of all strategies at their worst."""
        return self._measure()

    def standing(self, strategies: Iterable[str]) -> list[Usage]:
        """The limits as they stand: the account's, those of `strategies`, and the size of every
        symbol that is held or has open entries, in one pass; and those of single orders."""
        limits, books, now = self.limits, self._measure(), self._bus.now
        return [
            *self.watch.losses(books.equity),
            *self.account.standing(books, limits),
            *self.account.funds(books, limits),
            *self.account.rates(limits, now),
            *self.account.powers(),
            *(usage for name in strategies for usage in self.strategy.standing(name, limits)),
            *(usage for name in strategies for usage in self.strategy.repeats(name, limits, now)),
            *(usage for symbol in books.symbols() for usage in self.position.size(symbol, books)),
            *self._of_last_order(),
        ]

    def _of_last_order(self) -> list[Usage]:
        """The limits of single orders, each with what the last one that was checked came to."""
        order, used = self._last or (None, dict[str, Decimal | None]())
        symbol = order.symbol if order is not None else ""
        strategy = order.strategy if order is not None else ""
        limits = [
            *self.position.of_one_order(symbol),
            self.strategy.strength(strategy, None, self.limits),
        ]
        return [replace(u, used=used.get(u.check), past=True) for u in limits]

    def _measure(self, more: Order | None = None) -> Books:
        return measure(self._portfolio, self._orders.open.values(), more)

    def _usage(self, order: Order, *, counted: bool) -> list[Usage]:
        """Every limit that `order` must keep; `counted` says that it is among the open orders."""
        now, limits = self._bus.now, self.limits
        books = self._measure(None if counted else order)
        return [
            *self.position.usages(order, books, now),
            *self.strategy.standing(order.strategy, limits, 0 if counted else 1),
            *self.watch.losses(books.equity),
            *self.account.standing(books, limits),
            *self._funds(order, books),
            *self.account.venue(order, limits, now),
            *self.rules(order),
        ]

    def _funds(self, order: Order, books: Books) -> list[Usage]:
        """What the order's own account has to pay for it, where there are several."""
        venue = self._portfolio.venue(order.symbol)
        return [self.account.funds_of(venue, books, self.limits)] if venue in books.funds else []

    # --- checking -------------------------------------------------------------------------------

    def check(self, order: Order, signal: Signal) -> Usage | None:
        """Check a new entry, made from `signal`, against every limit, publish each check, and
        return the first that fails."""
        failed: Usage | None = None
        usages = self._usage(order, counted=False)
        usages += self.strategy.new(order, self.limits, signal.strength, self._bus.now)
        self._last = order, {usage.check: usage.used for usage in usages}
        for usage in usages:
            used = nan if usage.used is None else float(usage.used)
            self._bus.publish(
                RiskChecked(
                    order.client_order_id,
                    usage.tier,
                    usage.check,
                    used,
                    float(usage.limit),
                    usage.within,
                    usage.bound,
                    usage.unit,
                    usage.setting,
                    usage.note,
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
        for usage in self._usage(order, counted=True):
            if not usage.within:
                return usage.reason
        return ""

    # --- changing a limit -----------------------------------------------------------------------

    def on_change_limit(self, event: ChangeLimit) -> None:
        """Tightening takes effect at once; loosening needs the word."""
        name, value = event.name.strip().lower(), event.value.strip().lower()
        try:
            if name == HIGH_WATER_MARK:
                self._reset_high_water_mark(event, value)
            else:
                self._change(event, name, value)
        except ValueError as error:
            self._bus.publish(CommandRefused.of(event, clean(str(error))))

    def _change(self, event: ChangeLimit, name: str, value: str) -> None:
        limits, loosened = changed(self.limits, name, value)
        before, after = shown(self.limits.value(name)), shown(limits.value(name))
        if before == after:
            raise ValueError(f"{name} is {after} already")
        _require_word(event, loosened, f"{name} from {before} to {after}")
        setting = shown(getattr(self._set_by_settings, name))
        author = clean(event.author)
        self._bus.publish(LimitChanged(name, before, after, loosened, author, setting))
        self._use(limits)

    def _reset_high_water_mark(self, event: ChangeLimit, value: str) -> None:
        equity = self._portfolio.equity()
        if value != "equity" or equity is None or equity <= 0:
            raise ValueError("high_water_mark is set to equity, where equity is known and above 0")
        before, after = shown(Decimal(repr(self.peak_equity))), shown(equity)
        _require_word(event, True, f"{HIGH_WATER_MARK} from {before} to {after}")
        self._bus.publish(LimitChanged(HIGH_WATER_MARK, before, after, True, clean(event.author)))
        self.watch.reset_peak(equity)

    def _use(self, limits: RiskLimits) -> None:
        self.limits = limits
        self.position.use(limits)
        self.watch.use(limits)

    # --- facts ----------------------------------------------------------------------------------

    def _equity(self) -> Decimal | None:
        """The equity that losses are told by: without lone prints far off."""
        return self._portfolio.equity(self._confirmed_price)

    def _confirmed_price(self, symbol: str) -> Decimal | None:
        if symbol not in self._market.symbols:
            return None
        price = self._market.confirmed(symbol, float(self.limits_of(symbol).price_collar_pct))
        return Decimal(repr(price)) if isfinite(price) else None

    def _on_day(self, is_new: bool) -> None:
        start = self.watch.day.start
        self.strategy.start_day(self._orders.orders.values(), start)
        self._market.start_day(start)
        if is_new:
            self.strategy.end_pauses(self.limits)

    def on_intended(self, event: OrderIntended) -> None:
        self.strategy.on_intended(event, self.limits)

    def on_closed(self, event: PositionClosed) -> None:
        self.strategy.on_closed(event, self.limits)

    def on_restored(self, event: Restored) -> None:
        """Changes of limits outlive a restart, unless the setting was changed since."""
        limits = self.limits
        for change in event.limits:
            if self._is_in_force(change):
                limits, _ = changed(limits, change.name, change.value)
        self.watch.on_restored(event)
        self.strategy.on_restored(event, limits)
        self._use(limits)

    def _is_in_force(self, change: ChangedLimit) -> bool:
        setting = getattr(self._set_by_settings, change.name, None)
        return shown(setting) == change.setting


def _require_word(event: ChangeLimit, loosened: bool, what: str) -> None:
    if loosened and event.word != LOOSEN_WORD:
        raise ValueError(f"this loosens {what}: type {LOOSEN_WORD}")
