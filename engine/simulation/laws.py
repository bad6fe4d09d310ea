"""The laws, checked after every event by books of their own.

Nothing here asks the engine's code whether a law holds: positions, cash, open orders, prices and
strategies are kept from what went into the machine and what came out of it.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import isfinite, nan
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from engine.core.accounts import of_accounts
from engine.core.average_cost import REVERSED
from engine.core.events import (
    AccountStatement,
    AdjustCash,
    AlertRaised,
    AlertsAcknowledged,
    BarClosed,
    BrokerStatusChanged,
    CancelOrder,
    CashAdjusted,
    CircuitBreakerReset,
    CircuitBreakerTripped,
    ClockTick,
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
    OrderAdopted,
    OrderCancelRejected,
    OrderEvent,
    OrderFilled,
    OrderMarked,
    OrderOverdue,
    OrderPartiallyFilled,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    PartKilled,
    PartRearmed,
    PositionChanged,
    QueryOrder,
    QuoteUpdate,
    Reconciled,
    Record,
    ReloadStrategy,
    ReplaceOrder,
    Restored,
    SettlementViolated,
    SignalBlocked,
    StrategyFailed,
    StrategyToggled,
    SubmitOrder,
    SymbolPaused,
    SymbolResumed,
    ToggleStrategy,
    TradeBusted,
    TradingDayStarted,
)
from engine.core.execution.rules import StopRefused, StrategyOff
from engine.core.machine import MachineConfig
from engine.core.model import (
    DAY,
    EXTERNAL,
    MINUTE,
    NANOS,
    Bar,
    Fill,
    Instrument,
    KillAction,
    Mode,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Part,
    Quote,
    Scope,
    TimeInForce,
    utc,
)
from engine.core.sessions import SessionTable
from engine.simulation.cash_laws import CashLaws
from engine.simulation.limit_laws import LimitLaws, Violation
from engine.simulation.rate_laws import RateLaws

S = OrderState

AT_VENUE = {S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_REPLACE, S.PENDING_CANCEL}
UNSETTLED = {S.SUBMITTED, S.IN_DOUBT, S.PENDING_REPLACE, S.PENDING_CANCEL}
ENDED = {S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED, S.ABANDONED}
GRAPH: dict[OrderState, set[OrderState]] = {
    S.INTENDED: {S.SUBMITTED, S.CANCELED, S.REJECTED, S.IN_DOUBT},
    S.SUBMITTED: AT_VENUE | ENDED | {S.IN_DOUBT},
    S.IN_DOUBT: AT_VENUE | ENDED,
    S.ACCEPTED: AT_VENUE | ENDED | {S.IN_DOUBT},
    S.PARTIALLY_FILLED: (AT_VENUE | ENDED | {S.IN_DOUBT}) - {S.ACCEPTED},
    S.PENDING_REPLACE: (AT_VENUE | ENDED | {S.IN_DOUBT}) - {S.PENDING_REPLACE},
    S.PENDING_CANCEL: ENDED,
    S.CANCELED: {S.FILLED},
    S.EXPIRED: {S.FILLED},
    S.REJECTED: {S.FILLED},
    S.ABANDONED: AT_VENUE | {S.IN_DOUBT, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED},
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

ROUNDED = Fraction(1, 10**12)
"""A rate is a rounded quotient."""
DEADLINE = 5 * NANOS
"""Within it an order is asked about whose state is not settled (I17)."""

Key = tuple[str, str]


def law(holds: object, name: str, what: object) -> None:
    if not holds:
        raise Violation(name, what)


class Trip(NamedTuple):
    """A round trip that is open: the `money` that it brought, and the average `cost` of what is
    held, negative for a short."""

    money: Decimal
    cost: Decimal


NO_TRIP = Trip(Decimal(0), Decimal(0))


class Laws:
    """`follow` raises Violation, with the law's name, where an event broke one."""

    def __init__(self, config: MachineConfig) -> None:
        self.config = config
        self.venues = {i.symbol: i.venue for i in config.instruments}
        self.cash = dict.fromkeys(self.venues.values(), config.starting_cash)
        self.rates = RateLaws(config)
        self.held: dict[Key, Decimal] = {}
        self.marks: dict[str, float] = {}
        self.priced: dict[str, int] = {}
        self.bars: dict[str, Bar] = {}
        self.quoted: set[str] = set()
        self.daily: set[str] = set()
        self.orders: dict[str, Order] = {}
        self.filled: dict[str, Decimal] = {}
        self.executions: set[str] = set()
        self.fills: dict[str, tuple[str, Fill]] = {}
        self.offered: dict[str, Fill] = {}
        self.committed: set[str] = set()
        self.sent: dict[str, Order] = {}
        self.asked: set[str] = set()
        self.heard: dict[str, int] = {}
        self.marked: set[str] = set()
        self.on: set[str] = set()
        self.losses: dict[str, int] = {}
        self.trips: dict[Key, Trip] = {}
        self.entries: dict[Key, list[tuple[Decimal, Trip, Fill]]] = {}
        self.instruments = {i.symbol: i for i in config.instruments}
        self.reversed: set[str] = set()
        self.day_equity: Decimal | None = None
        self.kill: KillAction | None = None
        self.killed_parts: dict[Part, KillAction] = {}
        self.breaker = False
        self.limits = LimitLaws(config)
        self.settlement = CashLaws(config)
        self.violated: set[str] = set()
        self.previous: dict[str, float] = {}
        self.failures = 0
        self.live: dict[str, bool] = {}
        self.confirmed: set[str] = set()
        self.alerts: set[str] = set()
        self.reconciled: set[str] = set()
        self.paused: set[str] = set()
        self.halted: set[str] = set()
        self.forced: set[Key] = set()
        self.asked_cash: AdjustCash | None = None
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
                case ReplaceOrder():
                    self._replacing(effect)
                case CancelOrder(order=order):
                    self.asked.add(order.client_order_id)
                    self.heard[order.client_order_id] = event.ts
                case QueryOrder(order=order):
                    self.heard[order.client_order_id] = event.ts
                case _:
                    pass
        self._compare(state)
        self.forced = {key for key in self.forced if self.held.get(key)}
        if isinstance(event, ClockTick):
            self._in_time(event.ts)

    # --- what went in ---------------------------------------------------------------------------

    def _take_in(self, event: Event) -> None:
        self.asked_cash = event if isinstance(event, AdjustCash) else None
        self.limits.take_in(event)
        self.rates.take_in(event)
        match event:
            case QuoteUpdate(quote=quote) if self._is_price(quote):
                self.previous[quote.symbol] = self.marks.get(quote.symbol, nan)
                self.quoted.add(quote.symbol)
                self._price(quote.symbol, (quote.bid + quote.ask) / 2, quote.ts)
            case BarClosed(bar=bar) if self._is_next(bar) or self._is_corrected(bar):
                self.bars[bar.symbol] = bar
                self.quoted.discard(bar.symbol)
                (self.daily.discard if bar.interval < DAY else self.daily.add)(bar.symbol)
                self.previous[bar.symbol] = bar.open if bar.interval < 60 * MINUTE else bar.close
                self._price(bar.symbol, bar.close, bar.ts)
            case IntentCommitted(client_order_id=key):
                self.committed.add(key)
            case ExecutionReport(client_order_id="", fill=Fill() as fill):
                self.offered[fill.execution_id] = fill
            case ExecutionReport(fill=Fill() as fill):
                self._execute(event, fill)
            case AccountStatement(fills=fills):
                for fill in fills:
                    if fill.client_order_id in self.orders:
                        self._execute(_report_of(fill), fill)
                    else:
                        self.offered[fill.execution_id] = fill
            case TradeBusted():
                self._reverse(event)
            case Restored():
                self._restore(event)
            case ToggleStrategy(enabled=True):
                self.losses[event.strategy] = 0
            case ReloadStrategy():
                self.on.discard(event.strategy)
            case _:
                pass

    def _is_price(self, quote: Quote) -> bool:
        known = quote.symbol in self._symbols()
        return known and quote.is_sound and not quote.is_stub

    def _is_next(self, bar: Bar) -> bool:
        """Whether a bar is the newest of its symbol."""
        known = bar.is_sound and bar.symbol in self._symbols()
        last = self.bars.get(bar.symbol)
        return known and (last is None or bar.ts > last.ts)

    def _is_corrected(self, bar: Bar) -> bool:
        """Whether a bar, that comes again, has another price than the last one told."""
        last = self.bars.get(bar.symbol)
        is_again = last is not None and last.key == bar.key
        return is_again and bar.is_sound and bar != last and bar.symbol not in self.quoted

    def _symbols(self) -> set[str]:
        return {instrument.symbol for instrument in self.config.instruments}

    def _price(self, symbol: str, mark: float, ts: int) -> None:
        self.marks[symbol] = mark
        self.priced[symbol] = ts

    def _restore(self, event: Restored) -> None:
        self.cash |= event.cash
        self.held = {(p.strategy, p.symbol): p.quantity for p in event.positions}
        self.trips = {
            (p.strategy, p.symbol): Trip(p.trip_pnl - p.trip_commission - p.cost, p.cost)
            for p in event.positions
            if p.quantity
        }
        self.marks = dict(event.marks)
        self.bars = {}
        self.orders = {order.client_order_id: order for order in event.orders}
        self.filled = {order.client_order_id: order.filled for order in event.orders}
        self.executions = set(event.execution_ids)
        self.reversed = {
            key.removesuffix(REVERSED) for key in self.executions if key.endswith(REVERSED)
        }
        self.fills = {fill.execution_id: (fill.strategy, fill) for fill in event.fills}
        self.violated = {violation.client_order_id for violation in event.violations}
        self.settlement.violated |= self.violated
        self.settlement.adjustments = list(event.adjustments)
        self._settle()
        self.on = {state.strategy for state in event.strategies if state.enabled}
        self.losses = {state.strategy: state.losses for state in event.strategies}
        self.kill = event.kill.action if event.kill.tripped else None
        self.breaker, self.failures = event.breaker.tripped, event.breaker.failures
        self.paused = {pause.symbol for pause in event.pauses if not pause.halted}
        self.halted = {pause.symbol for pause in event.pauses if pause.halted}
        self.killed_parts = {k.part: k.action for k in event.killed_parts}
        self.alerts = set()
        self.forced = {key for key in self.held if KillAction.FLATTEN in self._kills(*key)}
        if event.day_equity is not None:
            self.day_equity = Decimal(repr(event.day_equity))

    def _execute(self, event: ExecutionReport, fill: Fill) -> None:
        """An execution counts once, where it can be true of its order; one of no order that we know
        is external."""
        client_order_id = event.client_order_id
        order = self.orders.get(client_order_id)
        if fill.execution_id in self.executions or not _is_sound(fill, order):
            return
        if order is None and fill.symbol not in self._symbols():
            return
        before = self.filled.get(client_order_id, Decimal(0))
        if order is not None and order.purpose is not OrderPurpose.EXTERNAL:
            most = [order.quantity, order.pending_quantity, event.terms and event.terms.quantity]
            after = before + fill.quantity
            if order.state is S.INTENDED or after > max(q for q in most if q is not None):
                return
        self.executions.add(fill.execution_id)
        self.fills[fill.execution_id] = (order.strategy if order else EXTERNAL, fill)
        self.filled[client_order_id] = before + fill.quantity
        key = (order.strategy if order is not None else EXTERNAL, fill.symbol)
        self.cash[self.venues[fill.symbol]] += _cash_change(fill)
        self._hold(key, fill)
        self._force(key)
        self._settle()

    def _attribute(self, offered: Fill, booked: Fill) -> None:
        """An execution that came without one of our ids counts for the order that the machine says,
        where the venue's id is that order's."""
        key = offered.client_order_id or booked.client_order_id
        order = self.orders.get(key)
        named = order.venue_order_id if order is not None else ""
        law(not named or named == booked.venue_order_id, "I3: another order's", (order, offered))
        named_so = replace(offered, client_order_id=key)
        self._execute(_report_of(named_so), named_so)

    def _hold(self, key: Key, fill: Fill) -> None:
        before, trip = self.held.get(key, Decimal(0)), self.trips.get(key, NO_TRIP)
        self.entries.setdefault(key, []).append((before, trip, fill))
        self.held[key], self.trips[key], ended = self._carried(before, trip, fill)
        if ended is not None:
            self.losses[key[0]] = self.losses.get(key[0], 0) + 1 if ended < 0 else 0

    def _carried(
        self, before: Decimal, trip: Trip, fill: Fill
    ) -> tuple[Decimal, Trip, Decimal | None]:
        """The quantity and the round trip after `fill`, and what the one that it ended came to. A
        round trip is from flat to flat, or to less than a lot: a fill that passes through zero ends
        one, with its whole commission, and begins another."""
        moved = _position_change(fill)
        after = before + moved
        closes, crosses = before * moved < 0, before * after < 0
        money = trip.money + _cash_change(fill)
        cost = trip.cost + moved * fill.price
        if closes:
            cost = after * fill.price if crosses else trip.cost * after / before
        instrument = self.instruments.get(fill.symbol)
        ends = not after or (instrument is not None and abs(after) < instrument.lot)
        if crosses or (closes and ends):
            return after, Trip(-cost, cost), money + cost
        return after, Trip(money, cost), None

    def _reverse(self, event: TradeBusted) -> None:
        """An execution is as if it had never been, or had been another."""
        if event.execution_id not in self.fills or event.execution_id in self.reversed:
            return
        strategy, fill = self.fills[event.execution_id]
        correction = event.corrected
        same = correction is None or (correction.symbol, correction.side) == (
            fill.symbol,
            fill.side,
        )
        if fill.symbol != event.symbol or not same or not _is_sound(correction or fill, None):
            return
        del self.fills[event.execution_id]
        self.reversed.add(event.execution_id)
        self.cash[self.venues[fill.symbol]] -= _cash_change(fill)
        others = self.executions - {event.execution_id}
        if correction is not None and correction.execution_id in others:
            correction = None
        if correction is not None:
            self.executions.add(correction.execution_id)
            self.fills[correction.execution_id] = (strategy, correction)
            self.cash[self.venues[fill.symbol]] += _cash_change(correction)
        self._restate((strategy, fill.symbol), fill, correction)

    def _settle(self) -> None:
        self.settlement.follow(fill for _, fill in self.fills.values())

    def _force(self, key: Key) -> None:
        """While a kill flattens, what is held may be closed, whoever owns it: until it is flat once
        all executions of an event are in, whatever their order."""
        if self.held[key] and KillAction.FLATTEN in self._kills(*key):
            self.forced.add(key)

    def _restate(self, key: Key, fill: Fill, correction: Fill | None) -> None:
        """Follow the position anew from before `fill`; one of a former session is bought or sold
        back at its price. No loss is counted for it."""
        corrected = [] if correction is None else [correction]
        entries = self.entries.setdefault(key, [])
        number = next((n for n, entry in enumerate(entries) if entry[2] == fill), None)
        if number is None:
            held, trip = self.held[key], self.trips.get(key, NO_TRIP)
            back = replace(
                fill,
                side=fill.side.opposite,
                commission=-fill.commission,
                commission_quantity=-fill.commission_quantity,
            )
            for entry in (back, *corrected):
                held, trip, _ = self._carried(held, trip, entry)
            entries.clear()
        else:
            held, trip, _ = entries[number]
            again = corrected + [entry for _, _, entry in entries[number + 1 :]]
            del entries[number:]
            for entry in again:
                entries.append((held, trip, entry))
                held, trip, _ = self._carried(held, trip, entry)
        self.held[key], self.trips[key] = held, trip
        self._force(key)
        self._settle()

    # --- what came out --------------------------------------------------------------------------

    def _note(self, fact: Event) -> None:
        law(fact.seq > self.seq, "order of events", fact)
        law(fact.ts >= self.ts, "I14", fact)
        self.seq, self.ts = fact.seq, fact.ts
        self.limits.note(fact)
        match fact:
            case OrderEvent():
                self._moved(fact)
                self._count(fact)
            case DuplicateRefused(order=order):
                del self.orders[order.client_order_id]
            case PositionChanged(fill=fill):
                if offered := self.offered.pop(fill.execution_id, None):
                    self._attribute(offered, fill)
                law(fill.execution_id in self.executions, "I3", fill)
                if entry := self.fills.pop(fill.execution_id, None):
                    self.fills[fill.execution_id] = entry  # of one time, they count as they come
                    self._settle()
            case SignalBlocked(check="position"):
                key = (fact.signal.strategy, fact.signal.symbol)
                entered = any(_key(o) == key and o.state not in ENDED for o in self.orders.values())
                law(entered or self._sells(key), "dust stands in the way", fact)
            case SettlementViolated(violation=violation):
                self.violated.add(violation.client_order_id)
            case CashAdjusted():
                self._adjust_cash(fact)
            case Reconciled():
                self.reconciled.add(fact.broker)
            case KillSwitchTriggered():
                weaker = self.kill is not None and fact.action in WEAKER[self.kill]
                law(not weaker, "I5: the kill switch does less than it did", fact)
                self.kill = fact.action
                if fact.action is KillAction.FLATTEN:
                    self.forced |= {key for key, quantity in self.held.items() if quantity}
            case KillSwitchRearmed():
                doubts = [o for o in self.orders.values() if o.state is S.IN_DOUBT]
                law(not doubts, "no re-arm in doubt", doubts)
                self.kill = None
            case PartKilled():
                before = self.killed_parts.get(fact.part)
                weaker = before is not None and fact.action in WEAKER[before]
                law(not weaker, "I5: the kill of a part does less than it did", fact)
                self.killed_parts[fact.part] = fact.action
                self.forced |= {
                    key
                    for key, held in self.held.items()
                    if held and KillAction.FLATTEN in self._kills(*key)
                }
            case PartRearmed():
                del self.killed_parts[fact.part]
            case BrokerStatusChanged():
                self.live[fact.broker] = fact.live
                self.reconciled.discard(fact.broker)
            case AlertRaised():
                self.alerts.add(fact.name)
            case AlertsAcknowledged():
                self.alerts -= set(fact.names)
            case LiveConfirmed():
                self.confirmed |= set(fact.brokers)
            case SymbolPaused():
                (self.halted if fact.halted else self.paused).add(fact.symbol)
            case SymbolResumed():
                (self.halted if fact.halted else self.paused).discard(fact.symbol)
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
                most = self.limits.limits.max_consecutive_losses
                self.losses = {name: n for name, n in self.losses.items() if n < most}
            case _:
                pass

    def _adjust_cash(self, fact: CashAdjusted) -> None:
        """Only as the operator asked; it is an entry in the ledger, and neither gain nor loss."""
        asked, venue, amount = self.asked_cash, fact.adjustment.venue, fact.adjustment.amount
        said = asked and (asked.word, asked.broker, asked.amount)
        law(said == ("ADJUST", venue, amount), "I4: cash adjusted unasked", (fact, asked))
        worth = Fraction(amount) * (self.rates.of_venue(venue) or 0)
        law(abs(Fraction(fact.worth) - worth) <= abs(worth) * ROUNDED, "I4", fact)
        self.cash[venue] += amount
        if self.day_equity is not None:
            self.day_equity = Decimal(repr(float(self.day_equity) + float(fact.worth)))
        self.settlement.adjustments.append(fact.adjustment)
        self._settle()

    def _moved(self, fact: OrderEvent) -> None:
        order = fact.order
        key = order.client_order_id
        before = self.orders.get(key)
        self.orders[key] = order
        self.heard[key] = fact.ts
        grows = isinstance(fact, OrderReplaced) or order.purpose is OrderPurpose.EXTERNAL
        if before is None:
            new = order.state is S.INTENDED and not order.filled
            law(new or isinstance(fact, OrderAdopted), "I7", order)
            instrument = self.instruments.get(order.symbol)
            if instrument is not None and order.purpose is not OrderPurpose.EXTERNAL:
                law(not order.quantity % instrument.lot, "asked for in lots", order)
            return
        law(self._may_stay(fact, before) or order.state in self._next(before), "I7", fact)
        if order.state not in ENDED:
            self.marked.discard(key)
        law(grows or order.quantity == before.quantity, "I7", order)
        law(before.filled <= order.filled <= order.quantity, "I7", order)
        whole = order.filled == max(order.quantity, order.pending_quantity or order.quantity)
        law((order.state is S.FILLED) == whole, "I7", order)

    def _next(self, before: Order) -> set[OrderState]:
        """What was marked by hand is like what was given up: it may turn up."""
        if before.client_order_id in self.marked:
            return GRAPH[S.ABANDONED] | {before.state}
        return GRAPH[before.state]

    def _may_stay(self, fact: OrderEvent, before: Order) -> bool:
        order = fact.order
        match fact:
            case OrderMarked():
                law(before.state is S.IN_DOUBT and order.state in ENDED, "I7", order)
                self.marked.add(order.client_order_id)
                return True
            case OrderOverdue():
                # The venue's id alone is no answer, and no fact.
                same = order == replace(before, venue_order_id=order.venue_order_id)
                return same and order.state in UNSETTLED
            case OrderAdopted():
                return before.purpose is OrderPurpose.EXTERNAL and before.state is S.FILLED
            case OrderCancelRejected():
                return (order.state, order.filled) == (before.state, before.filled)
            case OrderReplaced() | OrderReplaceRejected():
                return order.state is before.state
            case _:
                return order.state is before.state and order.filled > before.filled

    def _in_time(self, ts: int) -> None:
        for key, order in self.orders.items():
            if order.state in UNSETTLED:
                law(ts - self.heard.get(key, 0) <= DEADLINE, "I17", order)

    def _kills(self, strategy: str, symbol: str) -> set[KillAction]:
        """What the kill switch, and those of the parts that this is of, do."""
        names = (strategy, symbol, self.venues.get(symbol))
        parts = {Part(scope, name) for scope, name in zip(Scope, names, strict=True) if name}
        actions = {self.killed_parts[part] for part in parts & self.killed_parts.keys()}
        return actions | ({self.kill} if self.kill is not None else set())

    def _may_leave(self, order: Order) -> bool:
        """Whether no kill stands against an order; one that flattens lets exits."""
        kills = self._kills(order.strategy, order.symbol)
        flattens = self.kill in (None, KillAction.FLATTEN) and KillAction.FLATTEN in kills
        return not kills or (flattens and order.purpose is OrderPurpose.EXIT)

    def _replacing(self, effect: ReplaceOrder) -> None:
        """A replace asks for no more than the limits leave, of an order that works."""
        order = effect.order
        shrinks = order.purpose is not OrderPurpose.ENTRY and (
            effect.terms.quantity < order.quantity
        )
        law(shrinks or self._may_leave(order), "I5", order)
        law(order.state is S.PENDING_REPLACE, "I7", order)
        law(order.pending_terms == effect.terms, "I6", effect)
        law(effect.terms.quantity > order.filled, "I7", effect)
        if order.purpose is not OrderPurpose.ENTRY and not shrinks:
            self._reduces(order)

    def _count(self, fact: OrderEvent) -> None:
        """Rejections in a row: an order that a venue takes or fills starts the count anew."""
        match fact:
            case OrderRejected(order=order):
                self.failures += 1
                self._refused(order)
            case OrderAccepted() | OrderPartiallyFilled() | OrderFilled():
                self.failures = 0
            case _:
                pass

    def _refused(self, order: Order) -> None:
        """A position whose stop was refused may be closed, whoever owns it."""
        key = (order.strategy, order.symbol)
        stop = order.purpose is OrderPurpose.PROTECTIVE_STOP and self.held.get(key)
        if stop and self.config.execution.on_stop_refused is StopRefused.EXIT:
            self.forced.add(key)

    def _intended(self, order: Order) -> None:
        law(order.client_order_id not in self.sent, "I2", order)
        if order.purpose is OrderPurpose.ENTRY:
            age = self.ts - self.priced.get(order.symbol, 0)
            law(age <= self.config.stale_after, "I13", (order.symbol, age))

    def _submitted(self, order: Order) -> None:
        key = order.client_order_id
        law(key in self.committed, "I1", order)
        law(key not in self.sent, "I2", order)
        law(self._may_leave(order), "I5", order)
        law(not self.config.safety.dry_run, "dry run", order)
        self._may_be_live(order)
        if self.config.reconcile_every:
            venue = self.venues[order.symbol]
            law(venue in self.reconciled, "I8: not reconciled", order)
        self.sent[key] = order
        law(order.strategy in self.on or self._acts_while_off(order), "I10", order)
        law(order.symbol not in self.halted, "halted", order)
        self._in_hours(order)
        if order.purpose is OrderPurpose.ENTRY:
            law(not self.breaker, "circuit breaker", order)
            law(order.symbol not in self.paused, "paused", order)
            self._within_limits(order)
        else:
            self._reduces(order)

    def _in_hours(self, order: Order) -> None:
        """No entry leaves while its market is closed, but for one that is decided on daily bars;
        nor is anything closed by force then."""
        kills = self._kills(order.strategy, order.symbol)
        forced = KillAction.FLATTEN in kills or order.strategy not in self.on
        forced = forced and order.purpose is OrderPurpose.EXIT
        if forced or (order.purpose is OrderPurpose.ENTRY and order.symbol not in self.daily):
            extended = self.limits.limits.extended_hours and not forced
            (calendar,) = (i.calendar for i in self.config.instruments if i.symbol == order.symbol)
            for table in self.config.calendars:
                if table.name == calendar:
                    before, after = (table.before, table.after) if extended else (0, 0)
                    # What was decided while it was closed may be forced to leave once it opens.
                    times = (order.created_ts, self.ts) if forced else (self.ts,)
                    is_open = any(_is_within(table, ts, before, after) for ts in times)
                    law(is_open, "closed", order)
                    of_day = (order.type, order.time_in_force) == (OrderType.LIMIT, TimeInForce.DAY)
                    regular = not extended or _is_within(table, order.created_ts)
                    law(regular or of_day, "extended hours", order)

    def _may_be_live(self, order: Order) -> None:
        """I11: a real account gets an order where all was asked for, and only then does any leave
        in live mode."""
        venue = self.venues[order.symbol]
        asked_for = self.config.mode is Mode.LIVE
        law(self.live.get(venue, False) == asked_for, "I11", (venue, self.config.mode))
        if asked_for:
            law(self.config.safety.allow_live and venue in self.confirmed, "I11", order)
            entry = order.purpose is OrderPurpose.ENTRY
            law(not (entry and self.alerts), "I11: alerts", (order, self.alerts))

    def _acts_while_off(self, order: Order) -> bool:
        """What protects a position belongs to it, not to its strategy; and what is to be flat is
        closed whoever owns it."""
        protects = (OrderPurpose.PROTECTIVE_STOP, OrderPurpose.TAKE_PROFIT)
        flattens = self.config.execution.on_strategy_off is StrategyOff.FLATTEN
        forced = flattens or (order.strategy, order.symbol) in self.forced
        return order.purpose in protects or (order.purpose is OrderPurpose.EXIT and forced)

    def _reduces(self, order: Order) -> None:
        """What closes a position never adds up to more than is held, of linked orders (one cancels
        the other) the largest: nothing is sold twice."""
        key = (order.strategy, order.symbol)
        held = abs(self.held.get(key, Decimal(0)))
        closing: dict[str, Decimal] = {}
        for o in self.orders.values():
            closes = o.purpose not in (OrderPurpose.ENTRY, OrderPurpose.EXTERNAL)
            if closes and (o.strategy, o.symbol) == key and o.state not in ENDED:
                group = o.oco_group or o.client_order_id
                closing[group] = max(closing.get(group, Decimal(0)), o.worst_leaves)
        law(sum(closing.values()) <= held, "reduce only", (order, closing, held))

    def _within_limits(self, order: Order) -> None:
        """I6, with every open entry at its worst. Fractions: no rounding on either side."""
        limits = self.limits.limits
        taking = (OrderPurpose.ENTRY, OrderPurpose.EXTERNAL)
        entries = [o for o in self.orders.values() if o.purpose in taking and o.state not in ENDED]
        law(order.client_order_id in {o.client_order_id for o in entries}, "I6", order)
        equity = self.equity()
        if equity is None or equity <= 0:
            raise Violation("I6", f"equity {equity}")
        gross = {s: self._gross(s, entries) for s in self._symbols()}
        size = gross[order.symbol]
        most = Fraction(self.limits.of(order, "max_position_size_pct"))
        law(size * 100 <= most * equity, "I6 position", size)
        exposure = sum(gross.values(), Fraction(0))
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
        self._within_funds(order, gross)
        prices = (self.previous.get(order.symbol, nan), self.marks[order.symbol])
        held = {key[1] for key in self.held if self._sells(key)}
        worth = self.rates.worth(order.symbol)
        broken = self.limits.broken(order, gross, equity, prices, entries, held, worth)
        law(not broken, f"I6 {broken}", order)
        broken = self.settlement.broken(order, entries, self.ts)
        law(not broken, "settlement", (broken, order))

    def _within_funds(self, order: Order, gross: Mapping[str, Fraction]) -> None:
        """I6 of the account that pays, where there are several: with no more than it has, whatever
        is in the others."""
        venue = self.venues[order.symbol]
        if len(self.cash) > 1:
            own = {symbol for symbol, at in self.venues.items() if at == venue}
            spent, has = sum((gross[s] for s in own), Fraction(0)), self.equity({venue})
            most = Fraction(self.limits.limits.max_leverage)
            law(has is not None and spent <= has * most, "I6 funds", (venue, spent, has))

    # --- books ----------------------------------------------------------------------------------

    def equity(self, venues: Iterable[str] | None = None) -> Fraction | None:
        """Cash and positions of all accounts, or of those at `venues`, at the last prices and
        rates; None where a held symbol has none, or a currency."""
        total = Fraction(0)
        for venue in self.cash if venues is None else venues:
            cash, worth = self.cash[venue], self.rates.of_venue(venue)
            if worth is None:
                return None
            total += Fraction(cash) * worth
            for (_, symbol), quantity in self.held.items():
                if quantity and self.venues.get(symbol, venue) == venue:
                    mark = self.marks.get(symbol, nan)
                    if not isfinite(mark):
                        return None
                    total += Fraction(quantity) * Fraction(repr(mark)) * worth
        return total

    def _gross(self, symbol: str, entries: Iterable[Order]) -> Fraction:
        """What is held of a symbol, whoever holds it, and what its entries may add to that."""
        held = sum(abs(Fraction(q)) for (_, s), q in self.held.items() if s == symbol)
        value = held * Fraction(repr(self.marks[symbol])) if held else Fraction(0)
        worst = _worst(o for o in entries if o.symbol == symbol)
        return (value + worst) * self.rates.worth(symbol)

    def _sells(self, key: Key) -> bool:
        """Whether what is held is enough for an order at the last price."""
        instrument, mark = self.instruments.get(key[1]), self.marks.get(key[1], nan)
        return sells(instrument, self.held.get(key, Decimal(0)), mark)

    def _day(self, ts: int) -> str:
        return utc(ts).astimezone(ZoneInfo(self.config.day_zone)).date().isoformat()

    def _compare(self, state: Mapping[str, Any]) -> None:
        held = {(p.strategy, p.symbol): p.quantity for p in state["positions"] if p.quantity}
        law(held == {key: q for key, q in self.held.items() if q}, "I3", (held, self.held))
        cash = of_accounts(self.cash)
        law(state["cash"] == cash, "I4", (state["cash"], cash))
        settlement = self.settlement
        if settlement.is_known:
            law(settlement.now_violated <= self.violated, "violations", settlement.now_violated)
            law(self.violated <= settlement.violated, "violations", self.violated)
        kill = state["kill"]
        law((kill.action if kill.tripped else None) is self.kill, "I5", kill)
        parts = {k.part: k.action for k in state["killed_parts"]}
        law(parts == self.killed_parts, "I5: killed parts", parts)
        law(state["breaker"].tripped == self.breaker, "circuit breaker", state["breaker"])
        most = self.config.safety.breaker_failures
        law(self.breaker or self.failures < most, "circuit breaker", self.failures)
        for order in state["orders"]:
            key = order.client_order_id
            law(order.filled == self.filled.get(key, 0), "I3", order)
            law(order.state is self.orders[key].state, "every move is a fact", order)
            kills = self._kills(order.strategy, order.symbol)
            if order.state not in ENDED and is_cancelled_by(_strongest(kills), order):
                law(key in self.asked, "I5: no cancel", order)


def _strongest(kills: set[KillAction]) -> KillAction | None:
    """The one of `kills` that does most."""
    return max(kills, key=lambda kill: len(WEAKER[kill]), default=None)


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


def _position_change(fill: Fill) -> Decimal:
    """A commission that was taken in the instrument itself is held no more."""
    return fill.side.sign * fill.quantity - fill.commission_quantity


def _cash_change(fill: Fill) -> Decimal:
    return -fill.side.sign * fill.quantity * fill.price - fill.commission


def _key(order: Order) -> Key:
    return order.strategy, order.symbol


def sells(instrument: Instrument | None, quantity: Decimal, price: float) -> bool:
    """Whether so much is enough for an order at `price`, which may be NaN."""
    if instrument is None:
        return quantity != 0
    lots = int(abs(quantity) / instrument.lot)
    worth = lots * Fraction(instrument.lot) * Fraction(repr(price)) if isfinite(price) else None
    enough = lots > 0 and lots * Fraction(instrument.lot) >= Fraction(instrument.min_quantity)
    return enough and (worth is None or worth >= Fraction(instrument.min_notional))


def _report_of(fill: Fill) -> ExecutionReport:
    return ExecutionReport(fill.client_order_id, S.PARTIALLY_FILLED, fill=fill)


def _is_sound(fill: Fill, order: Order | None) -> bool:
    numbers = (fill.quantity, fill.price, fill.commission, fill.commission_quantity)
    if not all(number.is_finite() for number in numbers):
        return False
    if fill.commission_quantity < 0 or fill.commission_quantity >= fill.quantity:
        return False
    same = order is None or (fill.symbol, fill.side) == (order.symbol, order.side)
    return same and fill.quantity > 0 and fill.price > 0


def _worst(orders: Iterable[Order]) -> Fraction:
    return sum(
        (
            Fraction(max(o.quantity, o.pending_quantity or o.quantity) - o.filled)
            * Fraction(max(filter(None, (o.reference_price, o.pending_limit_price))))
            for o in orders
        ),
        Fraction(0),
    )


def _is_within(table: SessionTable, ts: int, before: int = 0, after: int = 0) -> bool:
    sessions = zip(table.opens, table.closes, strict=True)
    return any(opens - before <= ts < closes + after for opens, closes in sessions)
