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
    KillSwitchTriggered,
    OrderEvent,
    OrderIntended,
    PositionChanged,
    Restored,
    StrategyState,
    TradeReversed,
)
from engine.core.model import Fill, FintracReport, KillAction, Order, Position
from engine.store import ledger
from engine.store.durable import (
    AccountState,
    account_after,
    reports_after,
    restored_account,
    strategy_after,
    strategy_of,
)


class Database:
    """Rows that are durable. `intents` are those of `commit_intent`, never changed; `kill` is
    what the last fact of the kill switch has it do, None where it is not tripped, whatever is made
    of that; `opening` is the cash that each account began with, by its venue."""

    def __init__(self, opening: Mapping[str, Decimal]) -> None:
        self.intents: dict[str, Order] = {}
        self.latched = False
        self.kill: KillAction | None = None
        self._opening = opening
        self._account = AccountState()
        self._orders: dict[str, Order] = {}
        self._fills: dict[str, Fill] = {}
        self._positions: dict[tuple[str, str], Position] = {}
        self._strategies: dict[str, StrategyState] = {}
        self._marks: dict[str, float] = {}
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
        self._reports |= reports_after(self._reports, facts)
        self._account = replace(self._account, **account_after(self._account, facts))

    def save(self, marks: Mapping[str, float], peak: float) -> None:
        """What is saved every few seconds: mark prices and the high-water mark."""
        self._marks = {symbol: mark for symbol, mark in marks.items() if mark == mark}
        if peak == peak:
            self._account = replace(self._account, peak_equity=peak)

    def restore(self) -> Restored:
        """The durable state at the start of a session."""
        account = self._account
        day = account.trading_day
        since = day.ts if day else None
        orders = [
            order
            for order in sorted(self._orders.values(), key=lambda o: o.created_ts)
            if order.is_open or (since is not None and order.created_ts >= since) or since is None
        ]
        fills = sorted(self._fills.values(), key=lambda fill: fill.ts)
        return replace(
            restored_account(account, ledger.cash(self._opening, fills, account.adjustments)),
            orders=tuple(orders),
            positions=tuple(self._positions.values()),
            marks=self._marks,
            execution_ids=tuple(fill.execution_id for fill in fills),
            strategies=tuple(self._strategies.values()),
            fills=tuple(ledger.standing(fills)),
            fintrac=tuple(self._reports.values()),
            venues={fill.symbol: fill.venue for fill in fills},
            adjustments=account.adjustments,
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
            case KillSwitchTriggered(action=action):
                self.kill = action
            case KillSwitchRearmed():
                self.kill = None
            case _:
                pass
        if name := strategy_of(fact):
            before = self._strategies.get(name) or StrategyState(name, enabled=True)
            self._strategies[name] = strategy_after(before, fact)
