"""The laws, checked after every event by books of their own.

Nothing here asks the engine's code whether a law holds: positions, cash, open orders, prices and
strategies are kept from what went into the machine and what came out of it.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

from engine.core.events import (
    BarClosed,
    BrokerStatusChanged,
    CancelOrder,
    CircuitBreakerReset,
    CircuitBreakerTripped,
    CommitIntent,
    DuplicateRefused,
    Effect,
    Event,
    ExecutionReport,
    IntentCommitted,
    KillSwitchRearmed,
    KillSwitchTriggered,
    LiveConfirmed,
    OrderAccepted,
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    PositionChanged,
    QuoteUpdate,
    Record,
    Restored,
    StrategyFailed,
    StrategyToggled,
    SubmitOrder,
    ToggleStrategy,
    TradingDayStarted,
)
from engine.core.machine import MachineConfig
from engine.core.model import Fill, KillAction, Mode, Order, OrderPurpose, OrderState, Quote, utc

S = OrderState

AT_VENUE = {S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL}
ENDED = {S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED, S.ABANDONED}
GRAPH: dict[OrderState, set[OrderState]] = {
    S.INTENDED: {S.SUBMITTED, S.CANCELED, S.IN_DOUBT},
    S.SUBMITTED: AT_VENUE | ENDED | {S.IN_DOUBT},
    S.IN_DOUBT: AT_VENUE | ENDED,
    S.ACCEPTED: AT_VENUE | ENDED | {S.IN_DOUBT},
    S.PARTIALLY_FILLED: (AT_VENUE | ENDED | {S.IN_DOUBT}) - {S.ACCEPTED},
    S.PENDING_CANCEL: ENDED,
    S.CANCELED: {S.FILLED},
    S.EXPIRED: {S.FILLED},
    S.REJECTED: {S.FILLED},
    S.ABANDONED: AT_VENUE | {S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED},
    S.FILLED: set(),
}
"""Where an order may go, written down a second time. To stay is a partial fill's right alone."""

WEAKER: dict[KillAction, set[KillAction]] = {
    KillAction.STOP: set(),
    KillAction.KEEP_STOPS: {KillAction.STOP},
    KillAction.CANCEL: {KillAction.STOP, KillAction.KEEP_STOPS},
    KillAction.FLATTEN: {KillAction.STOP, KillAction.KEEP_STOPS, KillAction.CANCEL},
}
"""What a kill switch must not fall back to, once it was told to do more."""

Key = tuple[str, str]


class Violation(AssertionError):
    """A law does not hold; `law` is its name."""

    def __init__(self, law: str, what: object) -> None:
        super().__init__(f"{law}: {what}")
        self.law = law


def law(holds: object, name: str, what: object) -> None:
    if not holds:
        raise Violation(name, what)


class Laws:
    """`follow` raises Violation, with the law's name, where an event broke one."""

    def __init__(self, config: MachineConfig) -> None:
        self.config = config
        self.cash = config.starting_cash
        self.held: dict[Key, Decimal] = {}
        self.marks: dict[str, float] = {}
        self.priced: dict[str, int] = {}
        self.orders: dict[str, Order] = {}
        self.filled: dict[str, Decimal] = {}
        self.executions: set[str] = set()
        self.committed: set[str] = set()
        self.sent: dict[str, Order] = {}
        self.asked: set[str] = set()
        self.on: set[str] = set()
        self.losses: dict[str, int] = {}
        self.trips: dict[Key, Decimal] = {}
        self.day_equity: Decimal | None = None
        self.kill: KillAction | None = None
        self.breaker = False
        self.failures = 0
        self.live: dict[str, bool] = {}
        self.confirmed: set[str] = set()
        self.seq = 0
        self.ts = 0

    def follow(self, event: Event, effects: Iterable[Effect], state: Mapping[str, Any]) -> None:
        self._take_in(event)
        for effect in effects:
            match effect:
                case Record(fact=fact):
                    self._note(fact)
                case CommitIntent(order=order):
                    self._intended(order)
                case SubmitOrder(order=order):
                    self._submitted(order)
                case CancelOrder(order=order):
                    self.asked.add(order.client_order_id)
                case _:
                    pass
        self._compare(state)

    # --- what went in ---------------------------------------------------------------------------

    def _take_in(self, event: Event) -> None:
        match event:
            case QuoteUpdate(quote=quote) if self._is_price(quote):
                self._price(quote.symbol, (quote.bid + quote.ask) / 2, quote.ts)
            case BarClosed(bar=bar) if bar.is_sound and bar.symbol in self._symbols():
                self._price(bar.symbol, bar.close, bar.ts)
            case IntentCommitted(client_order_id=key):
                self.committed.add(key)
            case ExecutionReport(fill=Fill() as fill):
                self._execute(event.client_order_id, fill)
            case Restored():
                self._restore(event)
            case ToggleStrategy(enabled=True):
                self.losses[event.strategy] = 0
            case _:
                pass

    def _is_price(self, quote: Quote) -> bool:
        known = quote.symbol in self._symbols()
        return known and quote.is_sound and not quote.is_stub

    def _symbols(self) -> set[str]:
        return {instrument.symbol for instrument in self.config.instruments}

    def _price(self, symbol: str, mark: float, ts: int) -> None:
        self.marks[symbol] = mark
        self.priced[symbol] = ts

    def _restore(self, event: Restored) -> None:
        self.cash = event.cash
        self.held = {(p.strategy, p.symbol): p.quantity for p in event.positions}
        self.marks = dict(event.marks)
        self.orders = {order.client_order_id: order for order in event.orders}
        self.filled = {order.client_order_id: order.filled for order in event.orders}
        self.executions = set(event.execution_ids)
        self.on = {state.strategy for state in event.strategies if state.enabled}
        self.losses = {state.strategy: state.losses for state in event.strategies}
        self.kill = event.kill.action if event.kill.tripped else None
        self.breaker, self.failures = event.breaker.tripped, event.breaker.failures
        if event.day_equity is not None:
            self.day_equity = Decimal(repr(event.day_equity))

    def _execute(self, client_order_id: str, fill: Fill) -> None:
        """An execution counts once, where it can be true of its order."""
        order = self.orders.get(client_order_id)
        if order is None or fill.execution_id in self.executions or not _is_sound(fill, order):
            return
        before = self.filled.get(client_order_id, Decimal(0))
        if order.state is S.INTENDED or before + fill.quantity > order.quantity:
            return
        self.executions.add(fill.execution_id)
        self.filled[client_order_id] = before + fill.quantity
        key = (order.strategy, order.symbol)
        gain = -fill.side.sign * fill.quantity * fill.price - fill.commission
        self.cash += gain
        self.held[key] = self.held.get(key, Decimal(0)) + fill.side.sign * fill.quantity
        self.trips[key] = self.trips.get(key, Decimal(0)) + gain
        if not self.held[key]:
            pnl = self.trips.pop(key)
            self.losses[key[0]] = self.losses.get(key[0], 0) + 1 if pnl < 0 else 0

    # --- what came out --------------------------------------------------------------------------

    def _note(self, fact: Event) -> None:
        law(fact.seq > self.seq, "order of events", fact)
        law(fact.ts >= self.ts, "I14", fact)
        self.seq, self.ts = fact.seq, fact.ts
        match fact:
            case OrderEvent(order=order):
                self._moved(order)
                self._count(fact)
            case DuplicateRefused(order=order):
                del self.orders[order.client_order_id]
            case PositionChanged(fill=fill):
                law(fill.execution_id in self.executions, "I3", fill)
            case KillSwitchTriggered():
                weaker = self.kill is not None and fact.action in WEAKER[self.kill]
                law(not weaker, "I5: the kill switch does less than it did", fact)
                self.kill = fact.action
            case KillSwitchRearmed():
                self.kill = None
            case BrokerStatusChanged():
                self.live[fact.broker] = fact.live
            case LiveConfirmed():
                self.confirmed |= set(fact.brokers)
            case CircuitBreakerTripped():
                self.breaker = True
            case CircuitBreakerReset():
                self.breaker, self.failures = False, 0
            case StrategyToggled():
                (self.on.add if fact.enabled else self.on.discard)(fact.strategy)
            case StrategyFailed():
                self.on.discard(fact.strategy)
            case TradingDayStarted():
                self.day_equity = Decimal(repr(fact.equity))
                most = self.config.limits.max_consecutive_losses
                self.losses = {name: n for name, n in self.losses.items() if n < most}
            case _:
                pass

    def _moved(self, order: Order) -> None:
        key = order.client_order_id
        before = self.orders.get(key)
        self.orders[key] = order
        if before is None:
            law(order.state is S.INTENDED and not order.filled, "I7", order)
            return
        stays = order.state is before.state and order.filled > before.filled
        law(stays or order.state in GRAPH[before.state], "I7", (before.state, order.state))
        law(before.filled <= order.filled <= order.quantity == before.quantity, "I7", order)
        law((order.state is S.FILLED) == (order.filled == order.quantity), "I7", order)

    def _count(self, fact: OrderEvent) -> None:
        """Rejections in a row: an order that a venue takes or fills starts the count anew."""
        match fact:
            case OrderRejected():
                self.failures += 1
            case OrderAccepted() | OrderPartiallyFilled() | OrderFilled():
                self.failures = 0
            case _:
                pass

    def _intended(self, order: Order) -> None:
        law(order.client_order_id not in self.sent, "I2", order)
        if order.purpose is OrderPurpose.ENTRY:
            age = self.ts - self.priced.get(order.symbol, 0)
            law(age <= self.config.stale_after, "I13", (order.symbol, age))

    def _submitted(self, order: Order) -> None:
        key = order.client_order_id
        law(key in self.committed, "I1", order)
        law(key not in self.sent, "I2", order)
        flattens = self.kill is KillAction.FLATTEN and order.purpose is OrderPurpose.EXIT
        law(self.kill is None or flattens, "I5", order)
        law(not self.config.safety.dry_run, "dry run", order)
        self._may_be_live(order)
        self.sent[key] = order
        if order.purpose is not OrderPurpose.PROTECTIVE_STOP:
            law(order.strategy in self.on, "I10", order)
        if order.purpose is OrderPurpose.ENTRY:
            law(not self.breaker, "circuit breaker", order)
            self._within_limits(order)
        else:
            self._reduces(order)

    def _may_be_live(self, order: Order) -> None:
        """I11: a real account gets an order where all was asked for, and only then does any leave
        in live mode."""
        (venue,) = (i.venue for i in self.config.instruments if i.symbol == order.symbol)
        asked_for = self.config.mode is Mode.LIVE
        law(self.live.get(venue, False) == asked_for, "I11", (venue, self.config.mode))
        if asked_for:
            law(self.config.safety.allow_live and venue in self.confirmed, "I11", order)

    def _reduces(self, order: Order) -> None:
        """What closes a position never adds up to more than is held: nothing is sold twice."""
        key = (order.strategy, order.symbol)
        held = abs(self.held.get(key, Decimal(0)))
        closing = [
            o.leaves
            for o in self.orders.values()
            if (o.strategy, o.symbol) == key
            and o.purpose is not OrderPurpose.ENTRY
            and o.state not in ENDED
        ]
        law(sum(closing) <= held, "reduce only", (order, closing, held))

    def _within_limits(self, order: Order) -> None:
        """I6, with every open entry at its worst. Fractions: no rounding on either side."""
        limits = self.config.limits
        entries = [
            o
            for o in self.orders.values()
            if o.purpose is OrderPurpose.ENTRY and o.state not in ENDED
        ]
        law(order.client_order_id in {o.client_order_id for o in entries}, "I6", order)
        equity = self.equity()
        if equity is None or equity <= 0:
            raise Violation("I6", f"equity {equity}")
        size = self._gross({order.symbol}) + _worst(o for o in entries if o.symbol == order.symbol)
        law(size * 100 <= Fraction(limits.max_position_size_pct) * equity, "I6 position", size)
        exposure = self._gross(set(self.marks)) + _worst(entries)
        law(exposure * 100 <= Fraction(limits.max_exposure_pct) * equity, "I6 exposure", exposure)
        day = self._day(order.created_ts)
        trades = [
            o
            for o in self.sent.values()
            if o.purpose is OrderPurpose.ENTRY
            and o.strategy == order.strategy
            and self._day(o.created_ts) == day
        ]
        law(len(trades) <= limits.max_trades_per_day, "I6 trades", len(trades))
        losses = self.losses.get(order.strategy, 0)
        law(losses < limits.max_consecutive_losses, "I6 losses", losses)
        if self.day_equity is None:
            raise Violation("I6", "the day's equity is unknown")
        loss = Fraction(self.day_equity) - equity
        law(loss < Fraction(limits.max_daily_loss), "I6 daily loss", loss)
        most = Fraction(limits.max_daily_loss_pct) * Fraction(self.day_equity) / 100
        law(loss < most, "I6 daily loss %", loss)

    # --- books ----------------------------------------------------------------------------------

    def equity(self) -> Fraction | None:
        """Cash and positions at the last prices; None where a held symbol has none."""
        total = Fraction(self.cash)
        for (_, symbol), quantity in self.held.items():
            if quantity:
                mark = self.marks.get(symbol, float("nan"))
                if not isfinite(mark):
                    return None
                total += Fraction(quantity) * Fraction(repr(mark))
        return total

    def _gross(self, symbols: set[str]) -> Fraction:
        return sum(
            (
                abs(Fraction(quantity)) * Fraction(repr(self.marks[symbol]))
                for (_, symbol), quantity in self.held.items()
                if quantity and symbol in symbols
            ),
            Fraction(0),
        )

    def _day(self, ts: int) -> str:
        return utc(ts).astimezone(ZoneInfo(self.config.day_zone)).date().isoformat()

    def _compare(self, state: Mapping[str, Any]) -> None:
        held = {(p.strategy, p.symbol): p.quantity for p in state["positions"] if p.quantity}
        law(held == {key: q for key, q in self.held.items() if q}, "I3", (held, self.held))
        law(state["cash"] == self.cash, "I4", (state["cash"], self.cash))
        kill = state["kill"]
        law((kill.action if kill.tripped else None) is self.kill, "I5", kill)
        law(state["breaker"].tripped == self.breaker, "circuit breaker", state["breaker"])
        most = self.config.safety.breaker_failures
        law(self.breaker or self.failures < most, "circuit breaker", self.failures)
        for order in state["orders"]:
            key = order.client_order_id
            law(order.filled == self.filled.get(key, 0), "I3", order)
            law(order.state is self.orders[key].state, "every move is a fact", order)
            if order.state not in ENDED and is_cancelled_by(self.kill, order):
                law(key in self.asked, "I5: no cancel", order)


def is_cancelled_by(kill: KillAction | None, order: Order) -> bool:
    """Whether a kill switch that is tripped (None: it is not) asks for the cancel of an order."""
    stays: OrderPurpose | None = None
    match kill:
        case None | KillAction.STOP:
            return False
        case KillAction.KEEP_STOPS:
            stays = OrderPurpose.PROTECTIVE_STOP
        case KillAction.FLATTEN:
            stays = OrderPurpose.EXIT
        case KillAction.CANCEL:
            pass
    return order.purpose is not stays


def _is_sound(fill: Fill, order: Order) -> bool:
    numbers = (fill.quantity, fill.price, fill.commission)
    if not all(number.is_finite() for number in numbers):
        return False
    same = (fill.symbol, fill.side) == (order.symbol, order.side)
    return same and fill.quantity > 0 and fill.price > 0


def _worst(orders: Iterable[Order]) -> Fraction:
    return sum(
        (Fraction(o.quantity - o.filled) * Fraction(o.reference_price) for o in orders),
        Fraction(0),
    )
