"""What venues say of orders: their terms, their executions, and where they are."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from engine.core.events import (
    ExecutionReport,
    FillQuarantined,
    LateFill,
    OrderAdopted,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplaceRejected,
    ReplaceRejected,
)
from engine.core.model import (
    EXTERNAL,
    FINAL_STATES,
    ZERO,
    Fill,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
)
from engine.core.order_graph import (
    AT_VENUE,
    may_be_for_more,
    may_go,
    may_turn_up,
    working_state,
)
from engine.core.order_moves import OrderMoves, client_order_id
from engine.core.order_rules import are_sound, fill_fault, number_fault
from engine.core.text import clean

S = OrderState

NO_ACCOUNT = "no account here trades its symbol"
EXECUTION_MISSING = "the venue has filled it, and an execution is missing here"

_SETTLED: dict[str, Any] = {
    "pending_quantity": None,
    "pending_limit_price": None,
    "pending_stop_price": None,
}


class OrderReports(OrderMoves):
    """Follows the reports of venues, in whatever order, how often and how late they come."""

    def on_report(self, event: ExecutionReport) -> None:
        order = (
            self.orders.get(event.client_order_id) or self._named(event) or self._external(event)
        )
        if order is None:
            return
        venue_order_id = clean(event.venue_order_id)
        if venue_order_id and not order.venue_order_id:
            order = replace(order, venue_order_id=venue_order_id)  # alone it is no answer
            self._keep(order)
            if order.state is S.PENDING_CANCEL and event.state not in FINAL_STATES:
                self._ask_to_cancel(order)  # it was in flight when it was cancelled
        if event.terms is not None:
            order = self._take_terms(order, event.terms, event, venue_order_id)
        if event.fill is not None:
            order = self._fill(order, event.fill, venue_order_id)
        self._follow(order, event.state, clean(event.reason))

    def on_replace_rejected(self, event: ReplaceRejected) -> None:
        """Refused for sure, the order keeps its terms. Without an answer nobody knows which it has;
        the venue is asked in both cases: there was a reason."""
        order = self.open.get(event.client_order_id)
        if order is None or order.pending_quantity is None:
            return
        if not event.in_doubt:
            order = self._keep_terms(order, clean(event.reason))
        if order.is_open:
            self._query(order)

    # --- orders that are not ours, or are named by their venue alone ----------------------------

    def _named(self, event: ExecutionReport) -> Order | None:
        """The order of an execution that names it by the venue's id alone: a venue that keeps no
        client order ids knows none of a former session's."""
        if event.client_order_id or event.fill is None or not event.venue_order_id:
            return None
        named = (clean(event.venue_order_id), event.fill.symbol)
        orders = self.orders.values()
        return next((o for o in orders if (o.venue_order_id, o.symbol) == named), None)

    def adopt(self, order: Order) -> None:
        """Take on an order at the venue that is not ours, unless its id is known; or take on again
        what was known by its executions alone, and is for more than those."""
        if known := self.orders.get(order.client_order_id):
            if not may_be_for_more(known) or order.quantity <= known.quantity:
                return
            filled = {"filled": known.filled, "avg_price": known.avg_price}
            order = replace(order, **filled, state=S.PARTIALLY_FILLED)
        order = replace(
            order, strategy=EXTERNAL, purpose=OrderPurpose.EXTERNAL, updated_ts=self._bus.now
        )
        self._keep(order)
        self._bus.publish(OrderAdopted(order))

    def _external(self, event: ExecutionReport) -> Order | None:
        """The order of an execution that is not ours, taken on as external; None without a sound
        execution that is new."""
        fill = event.fill
        if fill is None or self._is_known(fill.execution_id):
            return None
        fault = number_fault(fill)
        if not fault and fill.symbol not in self._instruments:
            fault = "not ours, in a symbol that is not known"
        if fault:
            self._bus.publish(FillQuarantined(fill, fault))
            return None
        venue_order_id = clean(event.venue_order_id)
        key = clean(event.client_order_id)
        key = key or client_order_id(EXTERNAL, fill.symbol, venue_order_id or fill.execution_id)
        terms = event.terms if event.terms and are_sound(event.terms) else None
        self.adopt(_order_of(fill, key, venue_order_id, terms))
        return self.orders[key]

    # --- terms ----------------------------------------------------------------------------------

    def _take_terms(
        self, order: Order, terms: OrderTerms, event: ExecutionReport, venue_order_id: str
    ) -> Order:
        """Believe what the venue says that the order asks for, unless it said something newer.

        The former terms tell nothing of a replace that is under way, which may not have got there
        yet: not before the venue's visibility lag has passed, or the order's end.
        """
        key, pending = order.client_order_id, order.pending_terms
        is_over = order.is_final and pending is None and not may_turn_up(order)
        is_old = 0 < event.transact_ts < self.told.get(key, 0)
        if is_over or is_old or not are_sound(terms):
            return order
        if event.transact_ts and order.is_open:
            self.told[key] = event.transact_ts
        settled = terms == pending or event.state in FINAL_STATES or self._is_visible(order)
        if terms != order.terms:
            return self._take_on(order, terms, venue_order_id, settled=settled)
        return self._keep_terms(order, "the venue has the former terms") if settled else order

    def _take_on(
        self, order: Order, terms: OrderTerms, venue_order_id: str, *, settled: bool
    ) -> Order:
        """The venue has `terms`, maybe under a new id of its own; with `settled` no other replace
        is under way."""
        changes = _SETTLED if settled else {}
        shift = (terms.stop_price or ZERO) - (order.stop_price or ZERO)
        order = replace(
            order,
            quantity=max(terms.quantity, order.filled),
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
            reference_price=max(terms.limit_price or ZERO, order.reference_price + shift),
            venue_order_id=venue_order_id or order.venue_order_id,
            **changes,
        )
        order = self._change(order, state=_settled_state(order))
        self._bus.publish(OrderReplaced(order))
        return order

    def _keep_terms(self, order: Order, reason: str) -> Order:
        """A replace that was under way did not take."""
        if order.pending_quantity is None:
            return order
        order = replace(order, **_SETTLED)
        order = self._change(order, state=_settled_state(order))
        self._bus.publish(OrderReplaceRejected(order, reason))
        return order

    # --- states ---------------------------------------------------------------------------------

    def _follow(self, order: Order, state: OrderState, reason: str) -> None:
        """Go where the venue says that the order is, as far as the graph allows."""
        if state in AT_VENUE:
            state = working_state(order)
        elif state is S.FILLED and (order.leaves or order.may_grow):
            state, reason = S.IN_DOUBT, EXECUTION_MISSING
        elif state is S.CANCELED and order.state is S.PENDING_CANCEL:
            reason = reason or order.reason  # a venue that confirms a cancel gives none
        if state is order.state or not may_go(order, state):
            return
        self._cancel_unwanted(order, self._move(order, state, reason=reason))

    def _cancel_unwanted(self, before: Order, order: Order) -> None:
        """An order that turns up after it was given up, or after its cancel was asked for while it
        was in doubt, must not stay."""
        reason = self.unwanted.get(order.client_order_id, "")
        if may_turn_up(before):
            reason = "turned up after it was given up"
        if reason and order.is_open:
            self.cancel(order.client_order_id, reason)

    # --- executions -----------------------------------------------------------------------------

    def on_booked(self, event: OrderPartiallyFilled | OrderFilled | LateFill) -> None:
        """The ledger has the execution."""
        del self.unbooked[event.fill.execution_id]

    def _is_known(self, execution_id: str) -> bool:
        return execution_id in self.unbooked or self._is_applied(execution_id)

    def fault_of(self, order: Order, fill: Fill) -> str:
        """Why an execution cannot be taken for one of `order` as it is now; empty where it can."""
        return fill_fault(order, fill) or ("" if self._account_of(fill.symbol) else NO_ACCOUNT)

    def _fill(self, order: Order, fill: Fill, venue_order_id: str) -> Order:
        """Apply an execution that is new and can be true; answers the order after it."""
        if self._is_known(fill.execution_id):
            return order
        if fault := self.fault_of(order, fill):
            self._bus.publish(FillQuarantined(fill, fault))
            return order
        filled = order.filled + fill.quantity
        if order.pending_terms is not None:
            order = self._settle_by_fill(order, order.pending_terms, filled, venue_order_id)
        known, late = order, order.is_final and not may_turn_up(order)
        quantity = max(order.quantity, filled)  # of an external order only what was told is known
        if filled == quantity and not order.may_grow:
            state = S.FILLED
        elif late or order.state is S.PENDING_CANCEL:
            state = order.state
        else:
            state = S.PENDING_REPLACE if order.pending_quantity is not None else S.PARTIALLY_FILLED
        before = (order.avg_price or ZERO) * order.filled
        avg_price = (before + fill.price * fill.quantity) / filled
        order = self._change(
            order, state=state, filled=filled, avg_price=avg_price, quantity=quantity
        )
        fill = replace(
            fill,
            client_order_id=order.client_order_id,
            strategy=order.strategy,
            venue_order_id=venue_order_id or order.venue_order_id,
            venue=self._account_of(fill.symbol),
        )
        self.unbooked[fill.execution_id] = fill
        if late:
            self._bus.publish(LateFill(order, fill))
        elif state is S.FILLED:
            self._bus.publish(OrderFilled(order, fill))
        else:
            self._bus.publish(OrderPartiallyFilled(order, fill))
            self._cancel_unwanted(known, order)
        return self.orders[order.client_order_id]

    def _settle_by_fill(
        self, order: Order, pending: OrderTerms, filled: Decimal, venue_order_id: str
    ) -> Order:
        """What an execution says of a replace that is under way: beyond the order's quantity it
        must have taken; at a quantity that was to shrink it came too late. At one that was to grow
        either may be: the venue is asked."""
        if filled > order.quantity:
            return self._take_on(order, pending, venue_order_id, settled=True)
        if filled == order.quantity:
            if not order.may_grow:
                return self._keep_terms(order, "filled first")
            if order.is_open:
                self._query(order)
        return order


def _settled_state(order: Order) -> OrderState:
    """Where an order goes whose terms the venue told."""
    if order.filled == order.quantity and not order.may_grow:
        return S.FILLED
    return working_state(order) if order.state is S.PENDING_REPLACE else order.state


def _order_of(fill: Fill, key: str, venue_order_id: str, terms: OrderTerms | None) -> Order:
    """An external order, as far as its execution tells."""
    return Order(
        key,
        EXTERNAL,
        fill.symbol,
        fill.side,
        OrderType.LIMIT if terms and terms.limit_price else OrderType.MARKET,
        terms.quantity if terms else fill.quantity,
        OrderPurpose.EXTERNAL,
        fill.ts,
        fill.ts,
        fill.price,
        limit_price=terms.limit_price if terms else None,
        state=S.ACCEPTED,
        venue_order_id=venue_order_id,
    )
