"""Entries: how they are priced and sized, and what is done with one that does not fill."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec.structs import replace

from engine.core.events import OrderSized
from engine.core.execution.context import Context, Key
from engine.core.execution.deadlines import Deadlines
from engine.core.execution.rules import (
    SLIPPAGE_ALLOWANCE,
    EntryTimeout,
    PartialRemainder,
)
from engine.core.model import (
    BASIS_POINT,
    HUNDRED,
    NANOS,
    Instrument,
    Order,
    OrderPurpose,
    OrderTerms,
    OrderType,
    Signal,
    TimeInForce,
)
from engine.core.orders import client_order_id
from engine.core.sizing import Circumstances, Sized, fixed_fraction, sized

Blocked = tuple[str, str]
"""The check that stands in an entry's way, and the reason."""


class Entries:
    """Makes entries from signals and works those that wait: a limit entry that is not filled in
    time follows the touch, or is given up."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.deadlines = Deadlines(context, context.rules.entry_timeout, self._look_after)

    def open(self, key: Key) -> list[Order]:
        return [
            o for o in self._context.orders.open_orders(*key) if o.purpose is OrderPurpose.ENTRY
        ]

    # --- making one -----------------------------------------------------------------------------

    def enter(self, signal: Signal) -> Blocked | None:
        """Open a position; or what stands in the way."""
        if blocked := self._objection(signal):
            return blocked
        order = self._order(signal)
        if not isinstance(order, Order):
            return order
        context = self._context
        failed = context.risk.check(order, signal)
        if failed is not None:
            return failed.check, failed.reason
        if veto := context.runner.veto(order):
            return "veto", veto
        if not context.orders.intend(order):
            return "duplicate", f"order {order.client_order_id} was made from this signal before"
        if order.type is OrderType.LIMIT:
            self.deadlines.watch(order)
        return None

    def _objection(self, signal: Signal) -> Blocked | None:
        context, symbol = self._context, signal.symbol
        if reason := context.entry_objection((signal.strategy, symbol)):
            return "stop", reason
        if reason := context.pauses.objection(symbol):
            return "paused", reason
        key = (signal.strategy, symbol)
        if context.portfolio.is_open(context.portfolio.position(*key)) or self.open(key):
            return "position", "already long, or about to be"
        if not context.market.is_fresh(symbol):
            return "stale", context.market.age_objection(symbol)
        ask = context.market.ask(symbol)
        if signal.stop_price is None and context.risk.limits.stop_loss_required:
            return "stop_loss", "the signal has no stop-loss, and STOP_LOSS_REQUIRED is set"
        if signal.stop_price is not None and signal.stop_price >= ask:
            return "stop_loss", "the signal's stop-loss is not below the price"
        if signal.take_profit is not None and signal.take_profit <= ask:
            return "take_profit", "the signal's target is not above the price"
        extended = context.is_in_extended_hours(symbol) and context.risk.limits.extended_hours
        if extended and (reason := self._extended_objection(symbol)):
            return "market_hours", reason
        kind, tif = context.rules.entry_order_type, self._time_in_force(symbol)
        able = context.capabilities(symbol)
        if kind not in able.order_types or tif not in able.times_in_force:
            return "order_type", f"{context.venue(symbol)} takes no {kind} order with {tif}"
        if OrderType.STOP not in able.order_types:
            return "order_type", f"{context.venue(symbol)} takes no stop under the position"
        return None

    def _extended_objection(self, symbol: str) -> str:
        """Why no entry is worked outside the regular session. Venues take limit orders of the day
        there; a market order would wait for the open, whatever the price is then."""
        rules = self._context.rules
        if not self._context.capabilities(symbol).extended_hours:
            venue = self._context.venue(symbol)
            return f"{venue} works no order outside the regular session as it was started"
        if rules.entry_order_type is not OrderType.LIMIT:
            return "only limit orders are worked outside the regular session: ENTRY_ORDER_TYPE"
        if self._time_in_force(symbol) is not TimeInForce.DAY:
            return (
                "only orders of the day are worked outside the regular session: ENTRY_TIME_IN_FORCE"
            )
        return ""

    def _time_in_force(self, symbol: str) -> TimeInForce:
        """A market entry has nothing to wait for but size. Outside the regular session no order is
        worked beyond the day."""
        rules = self._context.rules
        if rules.entry_order_type is not OrderType.LIMIT:
            return TimeInForce.GTC
        waits = rules.entry_time_in_force is TimeInForce.GTC
        extended = waits and self._context.is_in_extended_hours(symbol)
        return TimeInForce.DAY if extended else rules.entry_time_in_force

    def _order(self, signal: Signal) -> Order | Blocked:
        """An entry sized within what the position limit leaves, once all that strategies hold of
        the symbol and have on order is taken from it; why there is none where it cannot be."""
        context, limits = self._context, self._context.risk.limits
        instrument = context.market.symbols[signal.symbol].instrument
        ask = context.market.ask(signal.symbol)
        touch = Decimal(repr(ask))
        limit, worst = self._prices(instrument, touch)
        books, worth = context.risk.books(), context.portfolio.worth(signal.symbol)
        equity, taken = books.equity, books.notional(signal.symbol)
        if equity is None or taken is None or worth is None or worst <= 0:
            return "size", "equity is unknown: a held symbol has no price, or a currency no rate"
        budget = context.risk.budget(signal.symbol, books, equity, taken)
        valued, price = _valued(instrument, worth), worst * worth
        most = fixed_fraction(valued, price, budget, taken)
        if not most:
            return "size", _too_small(valued, price, budget, taken)
        stop_loss_pct = context.risk.limits_of(signal.symbol).stop_loss_pct
        stop = instrument.price(signal.stop_price or ask * (1 - float(stop_loss_pct) / 100))
        size = self._size(signal, valued, price, stop * worth, equity, most)
        if not size.quantity:
            return "size", _asks_too_little(size)
        key = client_order_id(
            signal.strategy, signal.symbol, signal.side, signal.ts, context.risk.day
        )
        order = Order(
            key,
            signal.strategy,
            signal.symbol,
            signal.side,
            context.rules.entry_order_type,
            size.quantity,
            OrderPurpose.ENTRY,
            context.bus.now,
            context.bus.now,
            worst,
            limit,
            time_in_force=self._time_in_force(signal.symbol),
            stop_loss=stop,
            take_profit=_given(instrument, signal.take_profit, touch, limits.take_profit_pct, 1),
            trail=_given(instrument, signal.trail, touch, limits.trailing_stop_pct, 0),
            cause=context.bus.cause,
        )
        asked = {
            "stop_loss": (signal.stop_price, stop_loss_pct),
            "take_profit": (signal.take_profit, limits.take_profit_pct),
            "trail": (signal.trail, limits.trailing_stop_pct),
        }
        percents = {name: percent for name, (own, percent) in asked.items() if own is None}
        self._tell(order, size, touch, percents)
        return order

    def _size(
        self,
        signal: Signal,
        instrument: Instrument,
        price: Decimal,
        stop: Decimal,
        equity: Decimal,
        most: Decimal,
    ) -> Sized:
        context, strategy = self._context, signal.strategy
        returns = context.records.returns(strategy)
        bars = context.market.symbols[signal.symbol].bars
        now = context.bus.now
        wish = signal.sizing
        circumstances = Circumstances(instrument, price, stop, equity, returns, bars, now, wish)
        return sized(context.sizing, strategy, circumstances, most)

    def _tell(
        self, order: Order, size: Sized, touch: Decimal, percents: dict[str, Decimal]
    ) -> None:
        self._context.bus.publish(
            OrderSized(
                order.client_order_id,
                order.strategy,
                order.symbol,
                size.method,
                size.asked,
                size.most,
                size.quantity,
                size.basis,
                touch,
                order.stop_loss,
                order.take_profit,
                order.trail,
                percents,
            )
        )

    def _prices(self, instrument: Instrument, touch: Decimal) -> tuple[Decimal | None, Decimal]:
        """The limit price, None for a market order; and the worst price that it may come to."""
        rules = self._context.rules
        if rules.entry_order_type is not OrderType.LIMIT:
            return None, instrument.price(touch * (1 + SLIPPAGE_ALLOWANCE))
        limit = instrument.price(touch * (1 + rules.entry_offset_bps * BASIS_POINT))
        if rules.entry_on_timeout is EntryTimeout.GIVE_UP:
            return limit, limit
        furthest = instrument.price(touch * (1 + rules.entry_max_chase_bps * BASIS_POINT))
        return limit, max(limit, furthest)

    # --- waiting for the fill -------------------------------------------------------------------

    def restore(self) -> None:
        """Go on with the entries of a former session."""
        for order in self._context.orders.open.values():
            if order.purpose is OrderPurpose.ENTRY and order.type is OrderType.LIMIT:
                self.deadlines.watch(order)

    def _look_after(self, order: Order) -> None:
        context, rules = self._context, self._context.rules
        age = context.bus.now - order.created_ts
        if order.filled and rules.partial_remainder is PartialRemainder.CANCEL:
            self._give_up(order, f"{order.leaves} left after {age // NANOS} s")
        elif rules.entry_on_timeout is EntryTimeout.CHASE:
            if age // rules.entry_timeout > rules.entry_max_chases:
                self._give_up(order, f"not filled after {rules.entry_max_chases} new prices")
            else:
                self._chase(order)
        elif not order.filled:
            self._give_up(order, f"not filled in {age // NANOS} s")

    def _chase(self, order: Order) -> None:
        """Follow the touch, as far as the price at which the order counts against limits."""
        context = self._context
        instrument = context.market.symbols[order.symbol].instrument
        if reason := self._chase_objection(order):
            self._give_up(order, reason)
            return
        touch = Decimal(repr(context.market.ask(order.symbol)))
        limit = instrument.price(touch * (1 + context.rules.entry_offset_bps * BASIS_POINT))
        if limit > order.reference_price:
            self._give_up(order, f"the price went to {limit}, beyond {order.reference_price}")
        elif limit != order.limit_price and limit > 0:
            context.orders.replace(
                order.client_order_id,
                OrderTerms(order.quantity, limit, order.stop_price),
                "follows the price",
            )

    def _chase_objection(self, order: Order) -> str:
        context = self._context
        if reason := context.entry_objection((order.strategy, order.symbol)):
            return reason
        if reason := context.pauses.objection(order.symbol):
            return reason
        if not context.runner.is_on(order.strategy):
            return "the strategy is off"
        if not context.market.is_fresh(order.symbol):
            return context.market.age_objection(order.symbol)
        if not context.capabilities(order.symbol).replace:
            return f"{context.venue(order.symbol)} cannot replace orders"
        return ""

    def _give_up(self, order: Order, reason: str) -> None:
        self._context.orders.cancel(order.client_order_id, f"given up: {reason}")

    def withdraw(self, orders: Iterable[Order], reason: str) -> None:
        """Cancel what of `orders` is an entry."""
        self._context.cancel([o for o in orders if o.purpose is OrderPurpose.ENTRY], reason)


def _valued(instrument: Instrument, worth: Decimal) -> Instrument:
    """`instrument` with its smallest order in the base currency, of which a unit of its own is
    `worth` so much: entries are sized there."""
    if worth == 1:
        return instrument
    return replace(instrument, min_notional=instrument.min_notional * worth)


def _given(
    instrument: Instrument, given: float | None, touch: Decimal, percent: Decimal, base: int
) -> Decimal | None:
    """A price or distance that the signal gave; else the default, `percent` of the touch on top of
    `base` touches; None where there is none."""
    if given is None and not percent:
        return None
    exact = Decimal(repr(given)) if given is not None else touch * (base + percent / HUNDRED)
    return max(instrument.price(exact), instrument.tick)


def _too_small(instrument: Instrument, price: Decimal, budget: Decimal, taken: Decimal) -> str:
    """In numbers, why nothing can be bought."""
    least = max(max(instrument.lot, instrument.min_quantity) * price, instrument.min_notional)
    return (
        f"nothing can be bought within the position size limit: {budget:.6g} may be held over all "
        f"strategies, {taken:.6g} is or is on order, and the smallest order is "
        f"{least.normalize():f}"
    )


def _asks_too_little(size: Sized) -> str:
    """In numbers, why the sizing makes no order."""
    basis = " ".join(f"{name}={value:.6g}" for name, value in size.basis.items())
    asked = f"{size.asked:.6g}" if size.asked else "nothing"
    return f"{size.method} asks for {asked}, less than the smallest order: {basis}"
