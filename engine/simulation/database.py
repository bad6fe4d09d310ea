"""The database and the latch file of a simulated engine: what outlives a crash.

`Database` answers as `engine.store.repository.Repository` would on the same facts; a test compares
the two.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from engine.core.events import (
    Bracket,
    BracketChanged,
    ChangedLimit,
    CircuitBreakerState,
    Event,
    FintracFlagged,
    FintracUpdated,
    KilledPart,
    KillSwitchState,
    KillSwitchTriggered,
    LimitChanged,
    OrderEvent,
    OrderIntended,
    PartKilled,
    PartRearmed,
    Pause,
    PositionChanged,
    Restored,
    SettlementViolated,
    StrategyState,
    SymbolPaused,
    SymbolResumed,
    TradeReversed,
    TradingDayStarted,
)
from engine.core.model import Fill, FintracReport, Order, Position, Violation
from engine.core.risk import HIGH_WATER_MARK
from engine.store import ledger
from engine.store.durable import (
    Breaker,
    KillSwitch,
    brackets_after,
    breaker_after,
    kill_after,
    killed_parts_after,
    limits_after,
    pauses_after,
    strategy_after,
    strategy_of,
)


class Database:
    """Rows that are durable. `intents` are those of `commit_intent`, never changed; `killed` says
    whether the last fact of the kill switch tripped it, whatever is made of that."""

    def __init__(self, starting_cash: Decimal) -> None:
        self.intents: dict[str, Order] = {}
        self.latched = False
        self.killed = False
        self.kill = KillSwitchState()
        self._breaker = CircuitBreakerState()
        self._limits: tuple[ChangedLimit, ...] = ()
        self._cash = starting_cash
        self._orders: dict[str, Order] = {}
        self._fills: dict[str, Fill] = {}
        self._positions: dict[tuple[str, str], Position] = {}
        self._strategies: dict[str, StrategyState] = {}
        self._day: TradingDayStarted | None = None
        self._marks: dict[str, float] = {}
        self._peak: float | None = None
        self._pauses: tuple[Pause, ...] = ()
        self._brackets: tuple[Bracket, ...] = ()
        self._killed_parts: tuple[KilledPart, ...] = ()
        self._violations: list[Violation] = []
        self._reports: dict[str, FintracReport] = {}

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
            breaker=self._breaker,
            limits=self._limits,
            pauses=self._pauses,
            brackets=self._brackets,
            killed_parts=self._killed_parts,
            day=self._day.day if self._day else "",
            day_equity=self._day.equity if self._day else None,
            peak_equity=self._peak,
            fills=tuple(ledger.standing(fills)),
            violations=tuple(self._violations),
            fintrac=tuple(self._reports.values()),
        )

    def _record(self, fact: Event) -> None:
        match fact:
            case OrderIntended():
                pass
            case OrderEvent(order=order):
                self._orders[order.client_order_id] = order
            case PositionChanged(position=position) | TradeReversed(position=position):
                for entry in ledger.entries_of(fact):
                    self._fills.setdefault(entry.execution_id, entry)
                self._positions[position.strategy, position.symbol] = position
            case SymbolPaused() | SymbolResumed():
                self._pauses = pauses_after(self._pauses, fact)
            case PartKilled() | PartRearmed():
                self._killed_parts = killed_parts_after(self._killed_parts, fact)
            case BracketChanged():
                self._brackets = brackets_after(self._brackets, fact)
            case SettlementViolated(violation=violation):
                self._violations.append(violation)
            case FintracFlagged(report=report) | FintracUpdated(report=report):
                self._reports[report.report_id] = report
            case TradingDayStarted() if fact.equity == fact.equity:
                self._day = fact
            case _:
                pass
        if isinstance(fact, KillSwitch):
            self.killed = isinstance(fact, KillSwitchTriggered)
            self.kill = kill_after(self.kill, fact)
        elif isinstance(fact, Breaker):
            self._breaker = breaker_after(self._breaker, fact)
        elif isinstance(fact, LimitChanged):
            self._limits = limits_after(self._limits, fact)
            self._peak = float(fact.after) if fact.name == HIGH_WATER_MARK else self._peak
        elif name := strategy_of(fact):
            before = self._strategies.get(name) or StrategyState(name, enabled=True)
            self._strategies[name] = strategy_after(before, fact)
