"""What the parts of the desk work with."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from engine.core.bus import Bus
from engine.core.execution.rules import ExecutionRules
from engine.core.market import Market
from engine.core.model import (
    EXTERNAL,
    ZERO,
    Capabilities,
    Instrument,
    Order,
    OrderPurpose,
    OrderType,
    Position,
    Side,
)
from engine.core.order_rules import in_lots
from engine.core.orders import OrderBook
from engine.core.parts import KilledParts
from engine.core.pauses import Pauses
from engine.core.portfolio import Portfolio
from engine.core.records import TradeRecords
from engine.core.risk import Risk
from engine.core.safety import Safety
from engine.core.sessions import Calendars
from engine.core.sizing import SizingRules
from engine.core.strategy import StrategyRunner

Key = tuple[str, str]
"""Strategy and symbol."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the machine that the desk reads, and the order book that it acts through."""

    bus: Bus
    market: Market
    portfolio: Portfolio
    orders: OrderBook
    risk: Risk
    safety: Safety
    runner: StrategyRunner
    parts: KilledParts
    pauses: Pauses
    calendars: Calendars
    rules: ExecutionRules
    sizing: SizingRules
    records: TradeRecords

    def instrument(self, symbol: str) -> Instrument | None:
        """None for a symbol that others brought into the account, and no feed has."""
        market = self.market.symbols.get(symbol)
        return None if market is None else market.instrument

    def venue(self, symbol: str) -> str:
        instrument = self.instrument(symbol)
        return "" if instrument is None else instrument.venue

    def capabilities(self, symbol: str) -> Capabilities:
        return self.orders.capabilities_of(self.instrument(symbol))

    def is_in_extended_hours(self, symbol: str) -> bool:
        """Whether the market trades now, but not in its regular session."""
        market, now = self.market.symbols[symbol], self.bus.now
        calendar, is_open = market.instrument.calendar, self.calendars.is_open
        in_session = market.is_daily or is_open(calendar, now)
        return not in_session and is_open(calendar, now, extended=True)

    def objection(self, key: Key) -> str:
        """Why no order may leave now; empty text where nothing stands against it."""
        _, symbol = key
        if self.pauses.is_halted(symbol):
            return self.pauses.objection(symbol)
        return self.safety.objection(self.venue(symbol)) or self.parts.objection(*key)

    def entry_objection(self, key: Key) -> str:
        """Why no new risk may be taken now, pauses and limits aside."""
        _, symbol = key
        return self.safety.entry_objection(self.venue(symbol)) or self.parts.objection(*key)

    def exit_objection(self, key: Key) -> str:
        """Why an order that is to close a position, whatever its strategy wants, may not leave."""
        _, symbol = key
        if self.pauses.is_halted(symbol):
            return self.pauses.objection(symbol)
        reason = self.safety.exit_objection(self.venue(symbol))
        flattening = self.safety.is_flattening
        return reason or ("" if flattening else self.parts.exit_objection(*key))

    def kill_objection(self, order: Order) -> str:
        """Why a kill, of all or of its part, lets `order` not leave; empty text where none stands
        against it. Threads of adapters ask too."""
        key = (order.strategy, order.symbol)
        if shrinks(order):
            return ""
        if order.purpose is OrderPurpose.ENTRY or is_resting(order):
            return self.safety.killed or self.parts.objection(*key)
        flattening = self.safety.is_flattening
        return "" if flattening else self.safety.killed or self.parts.exit_objection(*key)

    def closable(self, position: Position) -> Decimal:
        """How much of a position an order can close: what its account still has, in lots."""
        return self._in_lots(position, self._left(position))

    def at_venue(self, position: Position) -> Decimal:
        """As `closable`, and no more than the broker's last statement has: without an execution,
        shares may have been renamed, merged or taken away."""
        beyond = self.portfolio.beyond.get(position.symbol, ZERO)
        return self._in_lots(position, self._left(position, beyond))

    def _in_lots(self, position: Position, quantity: Decimal) -> Decimal:
        instrument = self.instrument(position.symbol)
        return quantity if instrument is None else in_lots(quantity, instrument)

    def _left(self, position: Position, beyond: Decimal = ZERO) -> Decimal:
        """How much of a position its account still has: others may have closed it at the venue,
        which has so much `beyond` the books. What is missing is taken from the strategies in the
        order of their names."""
        symbol, own = position.symbol, position.strategy
        external = self.portfolio.position(EXTERNAL, symbol).quantity + beyond
        if external * position.quantity >= 0 and own != EXTERNAL:
            return abs(position.quantity)
        against = [
            (strategy, held.quantity)
            for (strategy, of), held in sorted(self.portfolio.positions.items())
            if of == symbol and strategy != EXTERNAL and held.quantity * external < 0
        ]
        missing = abs(external)
        for strategy, quantity in against:
            taken = min(missing, abs(quantity))
            missing -= taken
            if strategy == own:
                return abs(quantity) - taken
        return min(missing, abs(position.quantity))

    def closing_orders(self, key: Key) -> list[Order]:
        """The open orders of the desk that close what `key` holds."""
        return [o for o in self.orders.open_orders(*key) if o.purpose in CLOSING]

    def cancel(self, orders: Iterable[Order], reason: str) -> None:
        for order in orders:
            self.orders.cancel(order.client_order_id, reason)


CLOSING = (OrderPurpose.EXIT, OrderPurpose.PROTECTIVE_STOP, OrderPurpose.TAKE_PROFIT)


def closing_side(position: Position) -> Side:
    return Side.SELL if position.quantity > 0 else Side.BUY


def is_resting(order: Order) -> bool:
    """Whether a closing order waits for a price; the others are to fill at once."""
    return order.purpose is OrderPurpose.PROTECTIVE_STOP or (
        order.purpose is OrderPurpose.TAKE_PROFIT and order.type is OrderType.LIMIT
    )


def shrinks(order: Order) -> bool:
    """Whether a replace is to make smaller what closes a position: that may always leave."""
    pending, closes = order.pending_quantity, order.purpose is not OrderPurpose.ENTRY
    return closes and pending is not None and pending < order.quantity


def worst_closed(orders: Iterable[Order]) -> Decimal:
    """The most that `orders` may close together: of an OCO group only one fills."""
    groups: dict[str, Decimal] = {}
    for order in orders:
        group = order.oco_group or order.client_order_id
        groups[group] = max(groups.get(group, ZERO), order.worst_leaves)
    return sum(groups.values(), ZERO)
