"""The order state machine: every order, where it stands, and what is still to be asked."""

from decimal import Decimal

from msgspec.structs import replace

from engine.core.events import (
    BarClosed,
    BrokerChanged,
    CancelRejected,
    ClockTick,
    CommitIntent,
    DuplicateRefused,
    IntentCommitted,
    IntentFailed,
    OrderCancelRejected,
    OrderIntended,
    OrderMarked,
    OrderNotFound,
    OrderOverdue,
    ReplaceOrder,
    Restored,
    SubmitFailed,
    SubmitOrder,
)
from engine.core.model import (
    FINAL_STATES,
    NANOS,
    Bar,
    Order,
    OrderState,
    OrderTerms,
)
from engine.core.order_graph import (
    FACTS,
    MARKED,
    TRANSIENT,
)
from engine.core.order_moves import FINAL_ORDERS_KEPT, client_order_id
from engine.core.order_reports import OrderReports
from engine.core.order_rules import fraction_fault, order_fault, terms_fault
from engine.core.text import clean

__all__ = ["FINAL_ORDERS_KEPT", "OrderBook", "client_order_id"]

S = OrderState

ASK_AGAIN = 2 * NANOS
CANCEL_AGAIN = NANOS
OVERDUE = 120 * NANOS

MARKS = FINAL_STATES - {S.FILLED}
"""How the operator may say that an order in doubt ended; a fill is the venue's to tell."""


class OrderBook(OrderReports):
    """All orders of the session: what the engine wants of them, and what inputs make of them."""

    # --- what the engine wants ------------------------------------------------------------------

    def intend(self, order: Order, held: Decimal | None = None) -> bool:
        """Take on a new order and have its intent made durable. False where the client order id is
        known: the same decision was taken before, and makes no second order. `held` is the position
        that it closes.

        An order that its venue would refuse is rejected here, with the numbers, and never leaves.
        """
        if order.client_order_id in self.orders:
            return False
        self._keep(order)
        self._bus.publish(OrderIntended(order, held))
        if fault := self._fault(order):
            self._move(order, S.REJECTED, reason=f"not sent: {fault}")
        else:
            self._emit(CommitIntent(order))
        return True

    def _fault(self, order: Order) -> str:
        instrument = self._instruments.get(order.symbol)
        if instrument is None:
            return f"unknown symbol {order.symbol}"
        return order_fault(order, instrument, self.capabilities_of(instrument))

    def replace_objection(self, client_order_id: str, terms: OrderTerms) -> str:
        """Why an order cannot be given `terms` now; empty where it can."""
        order = self.open.get(client_order_id)
        if order is None:
            return "no such order is open"
        if order.state not in (S.ACCEPTED, S.PARTIALLY_FILLED):
            return f"the order is {order.state.replace('_', ' ')}"
        instrument = self._instruments.get(order.symbol)
        able = self.capabilities_of(instrument)
        if instrument is None or not able.replace:
            return "the venue cannot replace orders"
        if terms == order.terms:
            return "nothing would change"
        if fault := terms_fault(order, terms, instrument) or fraction_fault(terms, able):
            return fault
        if terms.quantity <= order.filled:
            return f"{order.filled} is filled already"
        self.open[client_order_id] = _pending(order, terms)  # so that it counts at its worst
        try:
            return self.gate(self.open[client_order_id])
        finally:
            self.open[client_order_id] = order

    def replace(self, client_order_id: str, terms: OrderTerms, reason: str) -> None:
        """Have an order that works at the venue changed to `terms`, unless that cannot be now.

        Until the venue says what the order asks for, it counts at the worse of both.
        """
        if self.replace_objection(client_order_id, terms):
            return
        order = _pending(self.open[client_order_id], terms)
        order = self._move(order, S.PENDING_REPLACE, reason=reason)
        self._asked[client_order_id] = self._bus.now
        self._emit(ReplaceOrder(order, terms))

    def ask(self, client_order_id: str) -> bool:
        """Ask the venue about an open order now. False where no such order has left."""
        order = self.open.get(client_order_id)
        if order is None or order.state is S.INTENDED:
            return False
        self._query(order)
        return True

    def mark(self, client_order_id: str, state: OrderState, author: str) -> bool:
        """Believe `author` that an order in doubt ended in `state`. False where it is not in doubt,
        or may not be said to end so. Where the venue knows it after all, it is cancelled."""
        order = self.open.get(client_order_id)
        if order is None or order.state is not S.IN_DOUBT or state not in MARKS:
            return False
        order = self._change(order, state=state, reason=f"{MARKED} by {author}")
        self._bus.publish(OrderMarked(order, author))
        self._bus.publish(FACTS[state](order))
        return True

    # --- inputs ---------------------------------------------------------------------------------

    def decided_on(self, bar: Bar) -> tuple[str, ...]:
        """The client order ids of the orders of this session that came of `bar`, as far back as the
        trace reaches."""
        return tuple(
            order.client_order_id
            for order in self.orders.values()
            if order.created_ts >= bar.start
            and any(
                isinstance(cause, BarClosed) and cause.bar.key == bar.key
                for cause in self._bus.why(order.cause)
            )
        )

    def on_broker(self, event: BrokerChanged) -> None:
        if event.capabilities is not None:
            self.capabilities[clean(event.broker)] = event.capabilities

    def on_committed(self, event: IntentCommitted) -> None:
        order = self.open.get(event.client_order_id)
        if order is None or order.state is not S.INTENDED:
            return
        if reason := self.gate(order):
            self._move(order, S.CANCELED, reason=f"not sent: {reason}")
        else:
            self._emit(SubmitOrder(self._move(order, S.SUBMITTED)))

    def on_intent_failed(self, event: IntentFailed) -> None:
        order = self.open.get(event.client_order_id)
        if order is None or order.state is not S.INTENDED:
            return
        if event.duplicate:
            del self.orders[order.client_order_id], self.open[order.client_order_id]
            self._bus.publish(DuplicateRefused(order))
        else:
            self._move(order, S.CANCELED, reason=f"not sent: {clean(event.reason)}")

    def is_wanted(self, client_order_id: str, state: OrderState = S.SUBMITTED) -> bool:
        """Whether a submit (or, with PENDING_REPLACE, a replace) that is about to go out still
        should: a kill may have come since, one that leaves open orders as they are too."""
        order = self.open.get(client_order_id)
        return order is not None and order.state is state and not self.kill_objection(order)

    @property
    def is_cancelling(self) -> bool:
        """Whether a cancel was asked for, and none of its outcomes has come."""
        return any(order.state is S.PENDING_CANCEL for order in self.open.values())

    def on_submit_failed(self, event: SubmitFailed) -> None:
        order = self.open.get(event.client_order_id)
        if order is None or order.state not in (S.SUBMITTED, S.PENDING_CANCEL):
            return
        if not event.in_doubt:
            self._move(order, S.CANCELED, reason=f"not sent: {clean(event.reason)}")
        elif order.state is S.SUBMITTED:
            self._doubt(order, clean(event.reason))
        else:
            self._query(order)

    def on_cancel_rejected(self, event: CancelRejected) -> None:
        """Believed of the cancel alone: where the order stands, the venue is asked, unless nothing
        got there. The same reason is told once of an order, however often its cancel is tried."""
        order = self.open.get(event.client_order_id)
        if order is None:
            return
        reason = clean(event.reason)
        if self.refused.get(order.client_order_id) != reason:
            self.refused[order.client_order_id] = reason
            self._bus.publish(OrderCancelRejected(order, reason))
        if event.sent:
            self._query(order)

    def on_not_found(self, event: OrderNotFound) -> None:
        """The venue knows of no such order: believed only once its visibility lag has passed."""
        order = self.open.get(event.client_order_id)
        if order is None:
            return
        if order.state in (S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_REPLACE):
            self._doubt(order, "the venue does not know it")
        elif order.state in (S.IN_DOUBT, S.PENDING_CANCEL) and self._is_visible(order):
            self._move(order, S.ABANDONED, reason="the venue does not know it")

    def on_tick(self, event: ClockTick) -> None:
        """Ask about every order whose state is not settled, again and again."""
        for order in list(self.open.values()):
            if order.state not in TRANSIENT:
                continue
            waited = event.ts - order.updated_ts
            if waited >= OVERDUE and order.client_order_id not in self._overdue:
                self._overdue.add(order.client_order_id)
                self._bus.publish(OrderOverdue(order))
            if order.state is S.SUBMITTED:
                if waited >= self._submit_timeout:
                    self._doubt(order, "no answer to the submit")
            elif order.state is S.PENDING_CANCEL:
                if self._is_due(order, CANCEL_AGAIN):
                    self._ask_to_cancel(order)
                    if waited >= self._submit_timeout:
                        self._query(order)
            elif self._is_due(order, ASK_AGAIN):
                self._query(order)

    def on_restored(self, event: Restored) -> None:
        """Orders of former sessions: every open one is asked about. One whose intent was durable
        may have left before the end, so it is in doubt."""
        for order in event.orders:
            self._keep(order)
            if order.state is S.INTENDED or order.state is S.SUBMITTED:
                self._doubt(order, "the engine ended before an answer came")
            elif order.state is S.PENDING_CANCEL:
                self._ask_to_cancel(order)
            elif order.is_open:
                self._query(order)


def _pending(order: Order, terms: OrderTerms) -> Order:
    return replace(
        order,
        pending_quantity=terms.quantity,
        pending_limit_price=terms.limit_price,
        pending_stop_price=terms.stop_price,
    )
