"""The second tier: what holds for each strategy."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal

from engine.core.bus import Bus
from engine.core.events import (
    OrderIntended,
    PositionClosed,
    Restored,
    StrategyPaused,
    StrategyResumed,
    StrategyToggled,
)
from engine.core.model import NANOS, Order, OrderPurpose
from engine.core.risk.limits import RiskLimits
from engine.core.risk.usage import Usage

Key = tuple[str, str]

DECIDED = (OrderPurpose.ENTRY, OrderPurpose.EXIT)
"""Orders that a strategy decided on."""
RECENT_KEPT = 1000
"""Orders of a strategy in a symbol whose times are kept for the throttle, where it allows fewer."""


class StrategyTier:
    """Trades and losses of each strategy, and how fast it makes orders.

    `trip` is called with the reason where one makes them too fast: it trips the circuit breaker.
    """

    def __init__(self, bus: Bus, trip: Callable[[str], None]) -> None:
        self._bus = bus
        self._trip = trip
        self.trades: dict[str, int] = {}
        self.losses: dict[str, int] = {}
        self.cooling: dict[Key, int] = {}
        self.recent: dict[Key, list[int]] = {}

    def standing(self, strategy: str, limits: RiskLimits, extra: int = 0) -> list[Usage]:
        """A strategy's limits, with `extra` trades on top of today's."""
        trades = Decimal(self.trades.get(strategy, 0) + extra)
        losses = Decimal(self.losses.get(strategy, 0))
        most, row = Decimal(limits.max_trades_per_day), Decimal(limits.max_consecutive_losses)
        first, second = "max_trades_per_day", "max_consecutive_losses"
        return [
            Usage("strategy", "trades_per_day", strategy, trades, most, "", setting=first),
            Usage("strategy", "consecutive_losses", strategy, losses, row, "", True, False, second),
        ]

    def new(self, order: Order, limits: RiskLimits, strength: float, now: int) -> list[Usage]:
        """The limits of a signal of `strength` that is about to make an order."""
        scope = order.strategy
        usages = [self.strength(scope, Decimal(repr(strength)), limits)]
        since = self.cooling.get((order.strategy, order.symbol))
        if limits.cool_down_s and since is not None:
            waited, name = Decimal(now - since) / NANOS, "cool_down_s"
            usages.append(
                Usage(
                    "strategy", "cool_down", scope, waited, limits.cool_down_s, "s",
                    least=True, setting=name,
                )
            )  # fmt: skip
        return usages

    def strength(self, strategy: str, rated: Decimal | None, limits: RiskLimits) -> Usage:
        """How strong a signal has to be."""
        least, name = limits.min_signal_strength, "min_signal_strength"
        return Usage(
            "strategy", "signal_strength", strategy, rated, least, "", least=True, setting=name
        )

    def repeats(self, strategy: str, limits: RiskLimits, now: int) -> list[Usage]:
        """The most orders that the strategy made in one symbol within the throttle's time."""
        if not limits.throttle_orders:
            return []
        counts = (self._repeated(key, limits, now) for key in self.recent if key[0] == strategy)
        most = max(counts, default=0)
        limit, name = Decimal(limits.throttle_orders), "throttle_orders"
        return [
            Usage("strategy", "repeated_orders", strategy, Decimal(most), limit, "", setting=name)
        ]

    # --- facts ----------------------------------------------------------------------------------

    def on_intended(self, event: OrderIntended, limits: RiskLimits) -> None:
        order = event.order
        self._count(order)
        if order.purpose is OrderPurpose.ENTRY:
            self.cooling[order.strategy, order.symbol] = event.ts
        if order.purpose in DECIDED:
            self._remember((order.strategy, order.symbol), event.ts, limits)
            self._throttle(order, limits, event.ts)

    def _throttle(self, order: Order, limits: RiskLimits, now: int) -> None:
        made = self._repeated((order.strategy, order.symbol), limits, now)
        if limits.throttle_orders and made > limits.throttle_orders:
            seconds = f"{limits.throttle_seconds.normalize():f}"
            self._trip(
                f"{order.strategy} made {made} orders of {order.symbol} within {seconds} s"
                " (THROTTLE_ORDERS)"
            )

    def _remember(self, key: Key, ts: int, limits: RiskLimits) -> None:
        """Whatever the throttle is now: it may be tightened while they still count."""
        times = self.recent.setdefault(key, [])
        times.append(ts)
        del times[: -max(RECENT_KEPT, limits.throttle_orders + 1)]

    def _repeated(self, key: Key, limits: RiskLimits, now: int) -> int:
        times = self.recent.get(key, [])
        return len(times) - bisect_right(times, now - int(limits.throttle_seconds * NANOS))

    def on_closed(self, event: PositionClosed, limits: RiskLimits) -> None:
        trip = event.round_trip
        if trip.pnl >= 0:
            self.losses[trip.strategy] = 0
            return
        self.cooling[trip.strategy, trip.symbol] = event.ts
        self.losses[trip.strategy] = losses = self.losses.get(trip.strategy, 0) + 1
        if losses == limits.max_consecutive_losses:
            told = losses_told(losses)
            reason = f"{told}: no entries today, unless it is switched off and on"
            self._bus.publish(StrategyPaused(trip.strategy, reason))

    def on_toggled(self, event: StrategyToggled) -> None:
        if event.enabled:
            self.losses[event.strategy] = 0

    def start_day(self, orders: Iterable[Order], start: int) -> None:
        """Count the trades of the day that began at `start` (ns UTC)."""
        self.trades.clear()
        for order in orders:
            if order.created_ts >= start:
                self._count(order)

    def end_pauses(self, limits: RiskLimits) -> None:
        """Losses in a row pause a strategy for the rest of the trading day."""
        for strategy, losses in self.losses.items():
            if losses >= limits.max_consecutive_losses:
                self.losses[strategy] = 0
                self._bus.publish(StrategyResumed(strategy))

    def on_restored(self, event: Restored, limits: RiskLimits) -> None:
        """The orders tell when each strategy last made one. Which exits lost is not kept: after a
        restart every one that filled makes its strategy cool down."""
        self.losses = {state.strategy: state.losses for state in event.strategies}
        for order in sorted(event.orders, key=lambda order: order.created_ts):
            key = (order.strategy, order.symbol)
            if order.purpose is OrderPurpose.ENTRY:
                self.cooling[key] = max(self.cooling.get(key, 0), order.created_ts)
            elif order.filled and order.purpose is not OrderPurpose.EXTERNAL:
                self.cooling[key] = max(self.cooling.get(key, 0), order.updated_ts)
            if order.purpose in DECIDED:
                self._remember(key, order.created_ts, limits)

    def _count(self, order: Order) -> None:
        if order.purpose is OrderPurpose.ENTRY:
            self.trades[order.strategy] = self.trades.get(order.strategy, 0) + 1


def losses_told(count: int) -> str:
    """How many trades in a row were lost, in words."""
    return f"{count} {'loss' if count == 1 else 'losses'} in a row"
