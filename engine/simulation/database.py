"""The database and the latch file of a simulated engine: what outlives a crash.

`Database` answers as `engine.store.repository.Repository` would on the same facts; a test compares
the two.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from engine.core.events import (
    Event,
    KillSwitchRearmed,
    KillSwitchState,
    KillSwitchTriggered,
    OrderEvent,
    OrderIntended,
    PositionChanged,
    PositionClosed,
    Restored,
    SignalGenerated,
    StrategyFailed,
    StrategyPaused,
    StrategyResumed,
    StrategyState,
    StrategyToggled,
    TradingDayStarted,
)
from engine.core.model import Fill, Order, Position


class Database:
    """Rows that are durable. `intents` are those of `commit_intent`, never changed."""

    def __init__(self, starting_cash: Decimal) -> None:
        self.intents: dict[str, Order] = {}
        self.latched = False
        self.kill = KillSwitchState()
        self._cash = starting_cash
        self._orders: dict[str, Order] = {}
        self._fills: dict[str, Fill] = {}
        self._positions: dict[tuple[str, str], Position] = {}
        self._strategies: dict[str, StrategyState] = {}
        self._day: TradingDayStarted | None = None
        self._marks: dict[str, float] = {}
        self._peak: float | None = None

    def commit_intent(self, order: Order) -> bool:
        """Make an intent durable; False where its client order id was committed before."""
        key = order.client_order_id
        if key in self._orders:
            return False
        self.intents[key] = self._orders[key] = order
        return True

    def record(self, facts: Sequence[Event]) -> None:
        """Record facts, all of them."""
        for fact in facts:
            self._record(fact)

    def save(self, marks: Mapping[str, float], peak: float) -> None:
        """What is saved every few seconds: mark prices and the high-water mark."""
        self._marks = {symbol: mark for symbol, mark in marks.items() if mark == mark}
        self._peak = peak if peak == peak else self._peak

    def restore(self) -> Restored:
        """The durable state at the start of a session."""
        since = self._day.ts if self._day else None
        orders = [
            order
            for order in sorted(self._orders.values(), key=lambda o: o.created_ts)
            if order.is_open or (since is not None and order.created_ts >= since) or since is None
        ]
        fills = sorted(self._fills.values(), key=lambda fill: fill.ts)
        return Restored(
            cash=self._cash + sum((fill.cash_change for fill in fills), Decimal(0)),
            orders=tuple(orders),
            positions=tuple(self._positions.values()),
            marks=self._marks,
            execution_ids=tuple(fill.execution_id for fill in fills),
            strategies=tuple(self._strategies.values()),
            kill=self.kill,
            day=self._day.day if self._day else "",
            day_equity=self._day.equity if self._day else None,
            peak_equity=self._peak,
        )

    def _record(self, fact: Event) -> None:
        match fact:
            case OrderIntended():
                pass
            case OrderEvent(order=order):
                self._orders[order.client_order_id] = order
            case PositionChanged(position=position, fill=fill):
                self._fills.setdefault(fill.execution_id, fill)
                self._positions[position.strategy, position.symbol] = position
            case KillSwitchTriggered() if not self.kill.tripped:
                self.kill = KillSwitchState(True, fact.source, fact.reason, fact.ts, fact.action)
            case KillSwitchRearmed():
                self.kill = KillSwitchState()
            case TradingDayStarted() if fact.equity == fact.equity:
                self._day = fact
            case _:
                self._record_strategy(fact)

    def _record_strategy(self, fact: Event) -> None:
        match fact:
            case SignalGenerated(signal=signal):
                before = self._strategy(signal.strategy)
                signals = {**before.last_signals, signal.symbol: signal.side}
                self._put(replace(before, last_signals=signals))
            case StrategyToggled(strategy=name, enabled=True):
                self._put(replace(self._strategy(name), enabled=True, paused="", losses=0))
            case StrategyToggled(strategy=name):
                self._put(replace(self._strategy(name), enabled=False))
            case StrategyPaused(strategy=name):
                self._put(replace(self._strategy(name), paused=fact.reason))
            case StrategyResumed(strategy=name):
                self._put(replace(self._strategy(name), paused="", losses=0))
            case StrategyFailed(strategy=name):
                self._put(replace(self._strategy(name), enabled=False, paused=fact.reason))
            case PositionClosed(round_trip=trip):
                before = self._strategy(trip.strategy)
                self._put(replace(before, losses=before.losses + 1 if trip.pnl < 0 else 0))
            case _:
                pass

    def _strategy(self, name: str) -> StrategyState:
        return self._strategies.get(name) or StrategyState(name, enabled=True)

    def _put(self, state: StrategyState) -> None:
        self._strategies[state.strategy] = state
