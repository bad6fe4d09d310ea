"""From signals to orders: entries, exits, and a protective stop under every position.

For each position the desk tends to one rule: while an exit is wanted, no stop stands in its way;
otherwise exactly one stop, of the position's size, is open.
"""

from decimal import Decimal

from engine.core.bus import Bus
from engine.core.events import (
    BrokerStatusChanged,
    ClockTick,
    DuplicateRefused,
    EngineStarted,
    Event,
    LateFill,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    Restored,
    SignalBlocked,
    SignalGenerated,
    StoreStatusChanged,
    StrategyFailed,
    StrategyToggled,
    TradeReversed,
)
from engine.core.market import Market
from engine.core.model import NANOS, ZERO, Order, OrderPurpose, OrderType, Position, Side, Signal
from engine.core.orders import OrderBook, client_order_id
from engine.core.portfolio import Portfolio
from engine.core.risk import Risk
from engine.core.safety import Safety
from engine.core.sizing import fixed_fraction
from engine.core.strategy import StrategyRunner

SLIPPAGE_ALLOWANCE = Decimal("0.005")
"""A market order counts against limits at a price this much worse than the touch."""

REFUSED_PAUSE = 300 * NANOS
"""A venue that rejected a protective stop is not asked again for this long."""

Key = tuple[str, str]


class Desk:
    """Turns signals into orders and keeps positions protected. Long only: a sell signal closes."""

    def __init__(
        self,
        bus: Bus,
        market: Market,
        portfolio: Portfolio,
        orders: OrderBook,
        risk: Risk,
        safety: Safety,
        runner: StrategyRunner,
    ) -> None:
        self._bus = bus
        self._market = market
        self._portfolio = portfolio
        self._orders = orders
        self._risk = risk
        self._safety = safety
        self._runner = runner
        self._started = False
        self.exits: dict[Key, int] = {}
        self.refused: dict[Key, int] = {}
        orders.gate = self._gate

    # --- signals --------------------------------------------------------------------------------

    def on_signal(self, event: SignalGenerated) -> None:
        signal = event.signal
        buys = signal.side is Side.BUY
        blocked = self._enter(signal) if buys else self._leave(signal)
        if blocked:
            self._bus.publish(SignalBlocked(signal, *blocked))

    def _enter(self, signal: Signal) -> tuple[str, str] | None:
        """Open a position; or what stands in the way, as check and reason."""
        key = (signal.strategy, signal.symbol)
        if reason := self._safety.entry_objection(self._venue(signal.symbol)):
            return "stop", reason
        if self._portfolio.position(*key).quantity or self._entries(key):
            return "position", "already long, or about to be"
        if not self._market.is_fresh(signal.symbol):
            return "stale", "the last price is older than its limit"
        if signal.stop_price is None and self._risk.limits.stop_loss_required:
            return "stop_loss", "the signal has no stop-loss, and STOP_LOSS_REQUIRED is set"
        if signal.stop_price is not None and signal.stop_price >= self._market.ask(signal.symbol):
            return "stop_loss", "the signal's stop-loss is not below the price"
        order = self._entry(signal)
        if order is None:
            return "size", "nothing can be bought within the position size limit"
        failed = self._risk.check(order, signal)
        if failed is not None:
            return failed.check, failed.reason
        if not self._orders.intend(order):
            return "duplicate", f"order {order.client_order_id} was made from this signal before"
        return None

    def _entry(self, signal: Signal) -> Order | None:
        """A market order sized within the position limit; None where not even one lot fits."""
        instrument = self._market.symbols[signal.symbol].instrument
        ask = self._market.ask(signal.symbol)
        price = instrument.price(Decimal(repr(ask)) * (1 + SLIPPAGE_ALLOWANCE))
        equity = self._portfolio.equity()
        held = self._portfolio.notional(signal.symbol)
        if equity is None or held is None:
            return None
        budget = self._risk.budget(signal.symbol, equity)
        quantity = fixed_fraction(instrument, price, budget, held)
        if not quantity:
            return None
        stop_loss_pct = self._risk.limits_of(signal.symbol).stop_loss_pct
        stop = signal.stop_price or ask * (1 - float(stop_loss_pct) / 100)
        return Order(
            client_order_id(signal.strategy, signal.symbol, signal.side, signal.ts, self._risk.day),
            signal.strategy,
            signal.symbol,
            signal.side,
            OrderType.MARKET,
            quantity,
            OrderPurpose.ENTRY,
            self._bus.now,
            self._bus.now,
            price,
            stop_loss=instrument.price(stop),
            cause=self._bus.cause,
        )

    def _leave(self, signal: Signal) -> tuple[str, str] | None:
        """Close the position; or why there is nothing to close."""
        key = (signal.strategy, signal.symbol)
        entries = self._entries(key)
        for order in entries:
            self._orders.cancel(order.client_order_id, "the strategy wants out")
        if not self._portfolio.position(*key).quantity:
            cancelled = "its entry is cancelled" if entries else "short selling is off"
            return "flat", f"no position to close; {cancelled}"
        self.exits[key] = signal.ts
        if reason := self._safety.objection(self._venue(signal.symbol)):
            return "stop", reason
        self._tend(key)
        return None

    def _entries(self, key: Key) -> list[Order]:
        return [o for o in self._orders.open_orders(*key) if o.purpose is OrderPurpose.ENTRY]

    # --- positions ------------------------------------------------------------------------------

    def on_fill(self, event: OrderPartiallyFilled | OrderFilled | LateFill) -> None:
        """The ledger has the fill already: protect what is held now."""
        self._tend((event.order.strategy, event.order.symbol))

    def on_reversed(self, event: TradeReversed) -> None:
        """The venue took an execution back: protect what is held then."""
        self._tend((event.position.strategy, event.position.symbol))

    def on_order_done(self, event: OrderEvent) -> None:
        order = event.order
        key = (order.strategy, order.symbol)
        if order.purpose is OrderPurpose.EXIT and order.is_final:
            self.exits.pop(key, None)  # an exit that did not fill: back under the stop
        if isinstance(event, OrderRejected) and order.purpose is OrderPurpose.PROTECTIVE_STOP:
            self.refused[key] = self._bus.now
        self._tend(key)

    def on_duplicate(self, event: DuplicateRefused) -> None:
        key = (event.order.strategy, event.order.symbol)
        self.exits.pop(key, None)
        self._tend(key)

    def on_tick(self, event: ClockTick) -> None:
        for key, since in list(self.refused.items()):
            if event.ts - since >= REFUSED_PAUSE:
                del self.refused[key]
                self._tend(key)

    def on_started(self, event: EngineStarted) -> None:
        """Entries that a former session left of a strategy that is off, or gone, must not fill."""
        self._started = True
        for order in list(self._orders.open.values()):
            if order.purpose is OrderPurpose.ENTRY and not self._runner.is_on(order.strategy):
                self._orders.cancel(order.client_order_id, "the strategy is off")
        self.on_resumed(event)

    def on_resumed(self, _: Event) -> None:
        """Orders may leave (again): look after every position."""
        for key, position in list(self._portfolio.positions.items()):
            if position.quantity:
                self._tend(key)

    def on_store_status(self, event: StoreStatusChanged) -> None:
        if event.available:
            self.on_resumed(event)

    def on_broker_status(self, event: BrokerStatusChanged) -> None:
        if event.connected:
            self.on_resumed(event)

    def on_restored(self, event: Restored) -> None:
        """An exit that was signalled before the end and not carried out is still wanted."""
        for state in event.strategies:
            for symbol, side in state.last_signals.items():
                position = self._portfolio.position(state.strategy, symbol)
                if side is Side.SELL and position.quantity:
                    self.exits[state.strategy, symbol] = position.opened_ts

    def on_toggled(self, event: StrategyToggled) -> None:
        if not event.enabled:
            self._withdraw(event.strategy, "the strategy was switched off")

    def on_failed(self, event: StrategyFailed) -> None:
        self._withdraw(event.strategy, "the strategy failed")

    def _withdraw(self, strategy: str, reason: str) -> None:
        """A strategy that is off has no entries open; its positions stay under their stops."""
        for order in list(self._orders.open.values()):
            if order.strategy == strategy and order.purpose is OrderPurpose.ENTRY:
                self._orders.cancel(order.client_order_id, reason)

    def _tend(self, key: Key) -> None:
        position = self._portfolio.position(*key)
        open_orders = self._orders.open_orders(*key)
        stops = [o for o in open_orders if o.purpose is OrderPurpose.PROTECTIVE_STOP]
        exits = [o for o in open_orders if o.purpose is OrderPurpose.EXIT]
        if not position.quantity:
            self.exits.pop(key, None)
            self._cancel(stops + exits, "the position is closed")
        elif exits or not self._started or self._safety.objection(self._venue(key[1])):
            return
        elif self._is_unwanted(position) and self._runner.is_on(key[0]):
            self._cancel(stops, "makes way for the exit")
            if not stops:
                self._exit(position, self.exits.get(key, position.opened_ts))
        elif not any(o.leaves == abs(position.quantity) for o in stops):
            self._cancel(stops, "the position changed")
            if not stops and position.stop_price is not None and key not in self.refused:
                self._protect(position, position.stop_price)

    def _is_unwanted(self, position: Position) -> bool:
        """Whether a position is to be closed: an exit is signalled, or it is short, which only an
        execution after a confirmed cancel can have made it."""
        return (position.strategy, position.symbol) in self.exits or position.quantity < 0

    def _cancel(self, orders: list[Order], reason: str) -> None:
        for order in orders:
            self._orders.cancel(order.client_order_id, reason)

    def _exit(self, position: Position, signalled: int) -> None:
        key = (position.strategy, position.symbol)
        side = Side.SELL if position.quantity > 0 else Side.BUY
        known = client_order_id(*key, side, signalled, self._risk.day)
        order = self._closing(position, known, OrderType.MARKET, OrderPurpose.EXIT)
        if not self._orders.intend(order) and self.exits.pop(key, None) is not None:
            self._tend(key)

    def _protect(self, position: Position, stop_price: Decimal) -> None:
        known = client_order_id(
            position.strategy, position.symbol, "stop", self._bus.now, self._bus.seq
        )
        order = self._closing(
            position, known, OrderType.STOP, OrderPurpose.PROTECTIVE_STOP, stop_price
        )
        self._orders.intend(order)

    def _closing(
        self,
        position: Position,
        known: str,
        kind: OrderType,
        purpose: OrderPurpose,
        stop_price: Decimal | None = None,
    ) -> Order:
        """An order of the position's size that closes it."""
        return Order(
            known,
            position.strategy,
            position.symbol,
            Side.SELL if position.quantity > 0 else Side.BUY,
            kind,
            abs(position.quantity),
            purpose,
            self._bus.now,
            self._bus.now,
            stop_price or self._portfolio.mark_price(position.symbol) or ZERO,
            stop_price=stop_price,
            cause=self._bus.cause,
        )

    # --- the last moment ------------------------------------------------------------------------

    def _gate(self, order: Order) -> str:
        """Why an order whose intent is durable must not leave all the same."""
        if reason := self._objection(order):
            return reason
        protects = order.purpose is OrderPurpose.PROTECTIVE_STOP
        if not protects and not self._runner.is_on(order.strategy):
            return "the strategy is off"
        if order.purpose is OrderPurpose.ENTRY:
            return self._risk.objection(order)
        key = (order.strategy, order.symbol)
        closing = [
            o.worst_leaves
            for o in self._orders.open_orders(*key)
            if o.purpose is not OrderPurpose.ENTRY
        ]
        held = abs(self._portfolio.position(*key).quantity)
        return "" if sum(closing, ZERO) <= held else "open orders would close more than is held"

    def _objection(self, order: Order) -> str:
        venue = self._venue(order.symbol)
        match order.purpose:
            case OrderPurpose.ENTRY:
                return self._safety.entry_objection(venue)
            case OrderPurpose.EXIT:
                return self._safety.exit_objection(venue)
            case _:
                return self._safety.objection(venue)

    def _venue(self, symbol: str) -> str:
        return self._market.symbols[symbol].instrument.venue
