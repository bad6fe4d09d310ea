"""Exits: closing a position by signal, at its target, or because everything is to be flat."""

from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from engine.core.events import OrderEvent, OrderRejected, PositionNotFlat, Restored
from engine.core.execution.context import Context, Key, closing_side
from engine.core.execution.deadlines import Deadlines
from engine.core.model import (
    BASIS_POINT,
    HUNDRED,
    NANOS,
    ZERO,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Position,
    Side,
)
from engine.core.orders import client_order_id
from engine.core.pauses import REFUSED_PAUSE

TRY_AGAIN = 5 * NANOS
"""An exit of a flatten that did not fill leaves again after this long."""

NOT_THERE = "its venue has none of it, by the last statement"

NEVER = 2**62
"""Not before it is asked for again."""


class Exit(Struct, frozen=True):
    """A position is to be closed, by a signal (or a price) of the time `ts`.

    One that is `forced` goes on until the position is flat, whether its strategy is on or off. A
    `short`, which only an execution after a confirmed cancel can have made, is bought back. `order`
    is the last order that was made for it; `attempt` counts those that did not close it, and the
    next leaves from `after` on (ns UTC). It was `asked` for at that time (ns UTC): where its market
    has closed since, one that is forced leaves only if that is set. `problem` is why it is not
    closed yet. `cause` is the sequence number of the event that wanted it, 0 where that was in a
    former session.
    """

    ts: int
    purpose: OrderPurpose = OrderPurpose.EXIT
    forced: bool = False
    short: bool = False
    order: str = ""
    attempt: int = 0
    after: int = 0
    asked: int = 0
    problem: str = ""
    cause: int = 0


class NotFlat(Struct, frozen=True):
    """A position that is to be flat and is not yet, and why."""

    position: Position
    reason: str


class Exits:
    """The positions that are to be closed, and the orders that close them: reduce-only, at the
    market (or with a limit, by setting), also while no price is known."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.wanted: dict[Key, Exit] = {}
        self.deadlines = Deadlines(context, context.rules.entry_timeout, self._hurry)

    # --- what is wanted -------------------------------------------------------------------------

    def want(self, key: Key, ts: int, purpose: OrderPurpose = OrderPurpose.EXIT) -> None:
        """A signal or a price of the time `ts` wants the position closed."""
        if key not in self.wanted:
            self.wanted[key] = Exit(ts, purpose, cause=self._context.bus.cause)

    def force(self, key: Key, reason: str, asked: int = 0) -> None:
        """Close the position whatever its strategy wants, again and again until it is flat. It was
        `asked` for at that time, by default now."""
        before, now = self.wanted.get(key), self._context.bus.now
        if before is None or not before.forced:
            order = before.order if before is not None else ""
            self.wanted[key] = Exit(
                now,
                forced=True,
                order=order,
                asked=asked or now,
                problem=reason,
                cause=self._context.bus.cause,
            )

    def hurry(self, key: Key) -> None:
        """It was asked for again: what waits for its time leaves now, and a limit makes way for an
        order at the market."""
        if (exit_ := self.wanted.get(key)) is not None:
            self.wanted[key] = replace(exit_, after=0, asked=self._context.bus.now)
        for order in self._context.closing_orders(key):
            if _is_limited(order):
                self._hurry(order)

    def let_be(self, key: Key) -> None:
        """Nothing wants the position flat any more: one that waits to be asked for again is not
        wanted."""
        exit_ = self.wanted.get(key)
        if exit_ is not None and exit_.after == NEVER:
            del self.wanted[key]

    def drop(self, key: Key) -> None:
        """The position is closed."""
        self.wanted.pop(key, None)

    def change_mind(self, key: Key) -> None:
        """The strategy wants to be long after all: an exit that waits does not leave."""
        exit_ = self.wanted.get(key)
        if exit_ is not None and not exit_.forced and exit_.after > self._context.bus.now:
            del self.wanted[key]

    def on_restored(self, event: Restored) -> None:
        """An exit that was signalled before the end and not carried out is still wanted."""
        for state in event.strategies:
            for symbol, side in state.last_signals.items():
                position = self._context.portfolio.position(state.strategy, symbol)
                if side is Side.SELL and position.quantity:
                    self.wanted[state.strategy, symbol] = Exit(position.opened_ts)

    def restore(self) -> None:
        """Go on with the limit exits of a former session; one that is being cancelled makes way."""
        for order in self._context.orders.open.values():
            if _is_limited(order) and order.state is not OrderState.PENDING_CANCEL:
                key = (order.strategy, order.symbol)
                exit_ = self.wanted.get(key) or Exit(order.created_ts)
                self.wanted[key] = replace(exit_, order=order.client_order_id)
                self.deadlines.watch(order)

    # --- leaving --------------------------------------------------------------------------------

    def is_due(self, position: Position) -> bool:
        """Whether an exit of the position is wanted, and may leave now."""
        key, short = (position.strategy, position.symbol), position.quantity < 0
        exit_ = self.wanted.get(key)
        if exit_ is not None and exit_.short != short and not exit_.forced:
            del self.wanted[key]
            exit_ = None
        if exit_ is None:
            if not short:
                return False
            exit_ = self.wanted[key] = Exit(position.opened_ts, short=True)
        if exit_.after > self._context.bus.now:
            return False
        if exit_.forced and not self._is_in_session(key, exit_):
            return False
        reason = self.objection(key)
        if not reason and not self._context.at_venue(position):
            reason = NOT_THERE
        if reason:
            self._explain(key, reason)
            return False
        return True

    def objection(self, key: Key) -> str:
        """Why an exit may not leave; empty text where nothing stands against it."""
        context, (strategy, _) = self._context, key
        exit_ = self.wanted.get(key)
        if exit_ is None or not exit_.forced:
            takes_profit = exit_ is not None and exit_.purpose is OrderPurpose.TAKE_PROFIT
            off = "" if takes_profit or context.runner.is_on(strategy) else "the strategy is off"
            return context.objection(key) or off
        # It may have closed since the exit was decided.
        return self._closed_market(key) or context.exit_objection(key)

    def _closed_market(self, key: Key) -> str:
        """That the market of a position is closed; empty text while it is open."""
        instrument = self._context.instrument(key[1])
        if instrument is None:
            return ""
        calendars, now = self._context.calendars, self._context.bus.now
        is_open = calendars.is_open(instrument.calendar, now)
        return "" if is_open else f"{instrument.calendar} is closed"

    def _is_in_session(self, key: Key, exit_: Exit) -> bool:
        """Whether the market is open, and is not open anew since the exit was asked for; if not,
        the exit waits for the open, or to be asked for again."""
        instrument, calendars = self._context.instrument(key[1]), self._context.calendars
        if instrument is None:
            return True
        calendar, now = instrument.calendar, self._context.bus.now
        armed = self._context.rules.flatten_at_open
        if reason := self._closed_market(key):
            what = "leaves at the open" if armed else "flatten again at the open"
            after = calendars.next_open(calendar, now) if armed else NEVER
            self._postpone(key, f"{reason}: {what}", after or NEVER)
            return False
        if not armed and 0 < calendars.next_open(calendar, exit_.asked) <= now:
            self._postpone(key, f"{calendar} was closed since: flatten again", NEVER)
            return False
        return True

    def send(self, position: Position) -> bool:
        """Make the order that closes the position. False where it was made before."""
        key = (position.strategy, position.symbol)
        exit_ = self.wanted[key]
        order = self._order(position, exit_)
        if not self._context.orders.intend(order, position.quantity):
            self.on_duplicate(order)
            return False
        self.wanted[key] = replace(exit_, order=order.client_order_id, problem="")
        if order.type is OrderType.LIMIT:
            self.deadlines.watch(order)
        return True

    def _order(self, position: Position, exit_: Exit) -> Order:
        context, bus = self._context, self._context.bus
        key, side = (position.strategy, position.symbol), closing_side(position)
        parts = (*key, side, exit_.ts, context.risk.day)
        limit = self._limit(position, exit_)
        return Order(
            client_order_id(*parts, exit_.attempt) if exit_.attempt else client_order_id(*parts),
            *key,
            side,
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            context.at_venue(position),
            exit_.purpose,
            bus.now,
            bus.now,
            limit or context.portfolio.mark_price(position.symbol) or ZERO,
            limit,
            stop_loss=self._stop_loss(position),
            cause=exit_.cause or bus.cause,
        )

    def _stop_loss(self, position: Position) -> Decimal | None:
        """A short that is bought back too far, by an execution after a cancel, leaves a long
        position: what protects that comes with the order."""
        instrument = self._context.instrument(position.symbol)
        mark = self._context.portfolio.mark_price(position.symbol)
        if position.quantity > 0 or instrument is None or mark is None:
            return None
        distance = self._context.risk.limits_of(position.symbol).stop_loss_pct / HUNDRED
        return max(instrument.price(mark * (1 - distance)), instrument.tick)

    def _limit(self, position: Position, exit_: Exit) -> Decimal | None:
        """The limit price of a first try, where one is set and a price is known; else the market's,
        as at a target, which is reached. `entry_offset_bps` is as far from the touch, to the other
        side."""
        context, symbol = self._context, position.symbol
        instrument = context.instrument(symbol)
        if (
            context.rules.exit_order_type is not OrderType.LIMIT
            or exit_.purpose is not OrderPurpose.EXIT
            or exit_.forced
            or exit_.attempt
            or position.quantity < 0
            or instrument is None
            or not context.market.is_fresh(symbol)
        ):
            return None
        touch = Decimal(repr(context.market.bid(symbol)))
        limit = instrument.price(touch * (1 - context.rules.entry_offset_bps * BASIS_POINT))
        return max(limit, instrument.tick)

    # --- what became of it ----------------------------------------------------------------------

    def on_done(self, event: OrderEvent) -> None:
        """An exit ended without closing the position. One that its venue rejected leaves again
        later, one that is forced soon; any other goes back under its stop, and is forgotten."""
        order = event.order
        key = (order.strategy, order.symbol)
        exit_ = self.wanted.get(key)
        if exit_ is None or exit_.order != order.client_order_id:
            return
        reason = order.reason or f"its exit is {order.state}"
        if isinstance(event, OrderRejected):
            self._postpone(key, reason, self._context.bus.now + REFUSED_PAUSE)
        elif exit_.forced:
            self._postpone(key, reason, self._context.bus.now + TRY_AGAIN)
        else:
            del self.wanted[key]

    def on_duplicate(self, order: Order) -> None:
        """An exit of this id was made before; the database may have it when memory has not."""
        key = (order.strategy, order.symbol)
        if key in self.wanted:
            reason = "the same exit was made before"
            self._postpone(key, reason, self._context.bus.now + REFUSED_PAUSE)

    def on_time(self, now: int) -> list[Key]:
        """The positions whose exits may leave again."""
        self.deadlines.on_time(now)
        due = [key for key, exit_ in self.wanted.items() if 0 < exit_.after <= now]
        for key in due:
            self.wanted[key] = replace(self.wanted[key], after=0)
        return due

    def _hurry(self, order: Order) -> None:
        """A limit exit that is not filled in time makes way for one at the market."""
        key = (order.strategy, order.symbol)
        exit_ = self.wanted.get(key)
        if exit_ is not None and exit_.order == order.client_order_id:
            self.wanted[key] = replace(exit_, order="", attempt=exit_.attempt + 1)
        self._context.orders.cancel(
            order.client_order_id, "not filled in time: the rest leaves at the market"
        )

    def _postpone(self, key: Key, reason: str, after: int) -> None:
        exit_ = self.wanted[key]
        self.wanted[key] = replace(exit_, attempt=exit_.attempt + 1, after=after)
        self._explain(key, reason)

    def _explain(self, key: Key, reason: str) -> None:
        """Say, once for each reason, why a position that is to be flat is not."""
        exit_ = self.wanted[key]
        if exit_.problem == reason:
            return
        self.wanted[key] = replace(exit_, problem=reason)
        quantity = self._context.portfolio.position(*key).quantity
        if exit_.forced and quantity:
            self._context.bus.publish(PositionNotFlat(*key, quantity, reason))

    def not_flat(self) -> list[NotFlat]:
        """Every position that is to be flat and is not yet, for the operator."""
        found: list[NotFlat] = []
        for key, exit_ in self.wanted.items():
            position = self._context.portfolio.position(*key)
            if exit_.forced and position.quantity:
                found.append(NotFlat(position, exit_.problem or "its exit is under way"))
        return found

    def state(self) -> dict[str, Any]:
        return {
            "wanted": [[*key, exit_] for key, exit_ in self.wanted.items()],
            "due": self.deadlines.due,
        }


def _is_limited(order: Order) -> bool:
    """Whether an exit waits for its price."""
    return order.purpose is OrderPurpose.EXIT and order.type is OrderType.LIMIT
