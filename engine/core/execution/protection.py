"""What protects a position: a stop under it, a target above it, a stop that follows the price."""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from engine.core.events import (
    BarClosed,
    Bracket,
    BracketChanged,
    OrderRejected,
    PositionUnprotected,
    QuoteUpdate,
    Restored,
    TargetReached,
)
from engine.core.execution.context import Context, Key, closing_side, worst_closed
from engine.core.execution.exits import TRY_AGAIN, Exits
from engine.core.execution.rules import StopRefused
from engine.core.model import (
    AT_VENUE,
    ZERO,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Position,
)
from engine.core.newest import Newest
from engine.core.orders import client_order_id
from engine.core.pauses import REFUSED_PAUSE

TRAIL_STEP = Decimal("0.05")
"""A stop follows the price in steps of this share of its distance: not at every quote."""

NOT_SENT = "not sent"
"""How the order book begins the reason of an order that never left."""

WITHDRAWN_KEPT = 1000
"""Orders whose cancel was ours that are remembered."""

NOT_KEPT = 3
"""A leg that its venue takes and cancels so often within `REFUSED_PAUSE` is as good as refused."""

SETTLED = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
IN_FLIGHT = (OrderState.INTENDED, OrderState.SUBMITTED, OrderState.PENDING_REPLACE)


class Leg(Struct, frozen=True):
    """An order that is to rest at the venue for a position. The price of one that `follows` rises
    here; of any other it is the venue's or the operator's to change once it is there."""

    purpose: OrderPurpose
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    oco_group: str = ""
    follows: bool = False

    def is_met_by(self, order: Order) -> bool:
        """Whether `order` is what is wanted, or will be."""
        terms = order.pending_terms or order.terms
        same_size = terms.quantity - order.filled == self.quantity
        return self.can_become(order) and same_size and not self._leads(terms)

    def can_become(self, order: Order) -> bool:
        """Whether a replace can make of `order` what is wanted."""
        same_kind = order.type is self.type and order.trail == self.trail
        return same_kind and order.oco_group == self.oco_group

    def terms_for(self, order: Order) -> OrderTerms:
        """What makes of `order` what is wanted; one that only shrinks keeps its prices."""
        quantity = order.filled + self.quantity
        if quantity < order.quantity and not self._leads(order.terms):
            return replace(order.terms, quantity=quantity)
        return OrderTerms(quantity, self.limit_price, self.stop_price)

    def _leads(self, terms: OrderTerms) -> bool:
        """Whether `terms` are behind the price that this one followed."""
        return self.follows and (terms.stop_price or ZERO) < (self.stop_price or ZERO)


class Protection:
    """Keeps one stop, and one target where there is one, of each position's size at its venue.

    Where the venue links orders (one cancels the other) both rest there. Where it does not, the
    stop rests and the target is watched here: when it is reached the stop makes way, and only then
    the exit leaves, so that never more can be sold than is held. `refused` says until when (ns UTC)
    a leg that was refused is not asked for.
    """

    def __init__(self, context: Context, exits: Exits) -> None:
        self._context = context
        self._exits = exits
        self.brackets: dict[Key, Bracket] = {}
        self.refused: dict[tuple[str, str, OrderPurpose], int] = {}
        self._withdrawn: Newest[str, None] = Newest(WITHDRAWN_KEPT)
        self._lost: dict[tuple[str, str, OrderPurpose], tuple[int, ...]] = {}
        self._watched: dict[str, tuple[Key, ...]] = {}

    # --- what is wanted -------------------------------------------------------------------------

    def on_entry_filled(self, order: Order) -> None:
        """A position with a target or a trailing stop has a bracket from its first fill on."""
        if order.take_profit is None and order.trail is None:
            return
        key = (order.strategy, order.symbol)
        before = self.brackets.get(key, Bracket(*key)).stop_price
        stops = [stop for stop in (order.stop_loss, before) if stop is not None]
        self._set(Bracket(*key, max(stops, default=None), order.take_profit, order.trail))

    def on_restored(self, event: Restored) -> None:
        for bracket in event.brackets:
            self.brackets[bracket.strategy, bracket.symbol] = bracket
        self._watch()

    def drop(self, key: Key) -> None:
        """The position is closed. The next one is not that for which the venue refused a leg."""
        self.on_reversed(key)
        if self.brackets.pop(key, None) is not None:
            self._context.bus.publish(BracketChanged(Bracket(*key)))
            self._watch()

    def _set(self, bracket: Bracket) -> None:
        key = (bracket.strategy, bracket.symbol)
        if self.brackets.get(key) != bracket:
            self.brackets[key] = bracket
            self._context.bus.publish(BracketChanged(bracket))
            self._watch()

    def _legs(self, position: Position) -> list[Leg]:
        """What is to rest. A short has only the price at which it was to be stopped out: it is
        bought back at once."""
        key = (position.strategy, position.symbol)
        bracket = self.brackets.get(key, Bracket(*key, position.stop_price))
        if bracket.stop_price is None:
            return []
        able = self._context.capabilities(position.symbol)
        quantity = self._held(position)
        target = bracket.take_profit if able.oco else None
        group = self._group(position) if target is not None else ""
        trail = bracket.trail if OrderType.TRAILING_STOP in able.order_types else None
        kind = OrderType.STOP if trail is None else OrderType.TRAILING_STOP
        stop = OrderPurpose.PROTECTIVE_STOP
        follows = bracket.trail is not None and trail is None
        legs = [Leg(stop, kind, quantity, None, bracket.stop_price, trail, group, follows)]
        if target is not None:
            purpose, limit = OrderPurpose.TAKE_PROFIT, OrderType.LIMIT
            legs.append(Leg(purpose, limit, quantity, target, oco_group=group))
        return legs

    def _held(self, position: Position) -> Decimal:
        """What a stop is to cover. One that rests stays where a statement has nothing of the
        position at all: that may be the statement's error."""
        return self._context.at_venue(position) or self._context.closable(position)

    def _group(self, position: Position) -> str:
        """The same for the whole life of a position, whichever orders take each other's place."""
        return client_order_id(position.strategy, position.symbol, "oco", position.opened_ts)

    # --- keeping it at the venue ----------------------------------------------------------------

    def tend(self, position: Position, resting: list[Order]) -> None:
        """Have what is wanted rest at the venue, and nothing else."""
        legs = self._legs(position)
        for leg in legs:
            self._settle(position, leg, [o for o in resting if o.purpose is leg.purpose])
        purposes = [leg.purpose for leg in legs]
        self._context.cancel(
            [o for o in resting if o.purpose not in purposes], "is not wanted any more"
        )

    def _settle(self, position: Position, leg: Leg, orders: list[Order]) -> None:
        context = self._context
        if not orders:
            order = self._order(position, leg)
            key = (position.strategy, position.symbol)
            closed = worst_closed([*context.closing_orders(key), order])
            room = closed <= min(leg.quantity, context.at_venue(position))
            if room and (*key, leg.purpose) not in self.refused:
                context.orders.intend(order, position.quantity)
            return
        met = [o for o in orders if leg.is_met_by(o) and o.state is not OrderState.PENDING_CANCEL]
        kept = met[0] if met else self._change(leg, orders)
        context.cancel([o for o in orders if o is not kept], "the position changed")

    def _change(self, leg: Leg, orders: list[Order]) -> Order | None:
        """The order that a replace makes, or may soon make, what is wanted: so the position is
        protected all the while. None where the venue cannot, and a new order has to come."""
        if not self._context.capabilities(orders[0].symbol).replace:
            return None
        for order in orders:
            if not leg.can_become(order):
                continue
            self._context.orders.replace(
                order.client_order_id, leg.terms_for(order), "the position or its stop changed"
            )
            if order.state in SETTLED or order.state in IN_FLIGHT:
                return order
        return None

    def trim(self, position: Position, resting: list[Order]) -> None:
        """Where nothing may leave, what protects is made smaller, never larger: nothing may close
        more than is held."""
        held = self._context.closable(position)
        able = self._context.capabilities(position.symbol)
        for order in resting:
            if order.worst_leaves <= held:
                continue
            if order.state in SETTLED and able.replace:
                terms = replace(order.terms, quantity=order.filled + held)
                self._context.orders.replace(order.client_order_id, terms, "more than the position")
            elif order.state not in IN_FLIGHT:
                self._context.cancel([order], "more than the position")

    def _order(self, position: Position, leg: Leg) -> Order:
        bus = self._context.bus
        key = (position.strategy, position.symbol)
        name = "stop" if leg.purpose is OrderPurpose.PROTECTIVE_STOP else "target"
        return Order(
            client_order_id(*key, name, bus.now, bus.seq),
            *key,
            closing_side(position),
            leg.type,
            leg.quantity,
            leg.purpose,
            bus.now,
            bus.now,
            leg.limit_price or leg.stop_price or ZERO,
            leg.limit_price,
            leg.stop_price,
            trail=leg.trail,
            oco_group=leg.oco_group,
            cause=bus.cause,
        )

    def unprotected(self) -> dict[Key, Decimal]:
        """How much of each open position has no stop resting at its venue; while a stop is being
        replaced, the smaller of both counts."""
        guarded: dict[Key, Decimal] = {}
        for order in self._context.orders.open.values():
            if order.purpose is OrderPurpose.PROTECTIVE_STOP and order.state in AT_VENUE:
                key, quantity = (order.strategy, order.symbol), order.quantity
                resting = min(quantity, order.pending_quantity or quantity) - order.filled
                guarded[key] = guarded.get(key, ZERO) + resting
        bare: dict[Key, Decimal] = {}
        for key, position in self._context.portfolio.positions.items():
            if not self._context.portfolio.is_open(position):
                continue
            if (missing := self._held(position) - guarded.get(key, ZERO)) > 0:
                bare[key] = missing
        return bare

    # --- refusals -------------------------------------------------------------------------------

    def on_rejected(self, event: OrderRejected) -> None:
        """The venue refused a leg."""
        self._refuse(event.order, event.order.reason)

    def _refuse(self, order: Order, reason: str) -> None:
        """It is not asked for again at once. A position whose stop it is, is closed, or that is
        left to the operator, as the rules say."""
        position = self._context.portfolio.position(order.strategy, order.symbol)
        if not position.quantity:
            return
        leg = (order.strategy, order.symbol, order.purpose)
        self.refused[leg] = self._context.bus.now + REFUSED_PAUSE
        if order.purpose is not OrderPurpose.PROTECTIVE_STOP:
            return
        closes = self._context.rules.on_stop_refused is StopRefused.EXIT
        action = "it is closed" if closes else "it is asked for again in five minutes"
        self._context.bus.publish(
            PositionUnprotected(order.strategy, order.symbol, position.quantity, reason, action)
        )
        if closes:
            self._exits.force((order.strategy, order.symbol), "its stop was refused")

    def on_reversed(self, key: Key) -> None:
        """What the venue refused was for a position that is another one now."""
        self.refused = {leg: until for leg, until in self.refused.items() if leg[:2] != key}
        self._lost = {leg: times for leg, times in self._lost.items() if leg[:2] != key}

    def on_pending_cancel(self, order: Order) -> None:
        self._withdrawn[order.client_order_id] = None

    def on_canceled(self, order: Order) -> None:
        """One that did not leave, and would be the same again, waits a little. One that the venue
        took and cancelled is asked for again at once, unless it cancels that too, every time."""
        position = self._context.portfolio.position(order.strategy, order.symbol)
        if not any(leg.is_met_by(order) for leg in self._legs(position)):
            return
        leg = (order.strategy, order.symbol, order.purpose)
        now = self._context.bus.now
        if order.reason.startswith(NOT_SENT):
            self.refused[leg] = now + TRY_AGAIN
        elif order.client_order_id not in self._withdrawn:
            recent = [ts for ts in self._lost.get(leg, ()) if now - ts < REFUSED_PAUSE]
            self._lost[leg] = (*recent, now)
            if len(self._lost[leg]) >= NOT_KEPT:
                why = f": {order.reason}" if order.reason else ""
                self._refuse(order, f"the venue cancelled it {NOT_KEPT} times{why}")

    def on_time(self, now: int) -> list[Key]:
        """The positions whose refused legs may be asked for again."""
        due = [leg for leg, until in self.refused.items() if now >= until]
        for leg in due:
            del self.refused[leg]
        return [(strategy, symbol) for strategy, symbol, _ in due]

    # --- watching the price ---------------------------------------------------------------------

    def _watch(self) -> None:
        """See the prices of the symbols that have a bracket, and of no others."""
        was = bool(self._watched)
        self._watched = {}
        for key in self.brackets:
            self._watched[key[1]] = (*self._watched.get(key[1], ()), key)
        bus = self._context.bus
        if self._watched and not was:
            bus.subscribe(QuoteUpdate, self.on_quote)
            bus.subscribe(BarClosed, self.on_bar)
        elif was and not self._watched:
            bus.unsubscribe(QuoteUpdate, self.on_quote)
            bus.unsubscribe(BarClosed, self.on_bar)

    def on_quote(self, event: QuoteUpdate) -> None:
        if event.quote.symbol in self._watched:
            self._follow(event.quote.symbol, event.quote.bid)

    def on_bar(self, event: BarClosed) -> None:
        if event.live and event.bar.symbol in self._watched:
            self._follow(event.bar.symbol, event.bar.close)

    def _follow(self, symbol: str, price: float) -> None:
        """`price` is what the position would be sold at. A lone print far off moves and triggers
        nothing: the collar says how far that is."""
        collar = self._context.risk.limits_of(symbol).price_collar_pct
        if self._context.market.is_lone_print(symbol, float(collar)):
            return
        exact = Decimal(repr(price))
        for key in self._watched[symbol]:
            bracket = self.brackets[key]
            position = self._context.portfolio.position(*key)
            if position.quantity <= 0:
                continue
            if bracket.take_profit is not None and exact >= bracket.take_profit:
                self._reach(position, bracket.take_profit, exact)
            elif bracket.trail is not None:
                self._trail(bracket, bracket.trail, exact)

    def _reach(self, position: Position, target: Decimal, price: Decimal) -> None:
        """Where the target does not rest at the venue, the exit is ours, if it can leave now."""
        key, symbol = (position.strategy, position.symbol), position.symbol
        if self._context.capabilities(symbol).oco or key in self._exits.wanted:
            return
        if not self._context.objection(key):
            self._context.bus.publish(TargetReached(*key, target, price))

    def _trail(self, bracket: Bracket, trail: Decimal, price: Decimal) -> None:
        instrument = self._context.instrument(bracket.symbol)
        if instrument is None:
            return
        stop = instrument.price(price - trail)
        step = max(instrument.tick, trail * TRAIL_STEP)
        if stop > 0 and (bracket.stop_price is None or stop - bracket.stop_price >= step):
            self._set(replace(bracket, stop_price=stop))
