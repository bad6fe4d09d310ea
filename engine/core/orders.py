"""The order state machine: every order, where it stands, and what is still to be asked."""

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from engine.core.bus import BrokenLaw, Bus
from engine.core.events import (
    CancelOrder,
    CancelRejected,
    ClockTick,
    CommitIntent,
    DuplicateRefused,
    Effect,
    ExecutionReport,
    FillQuarantined,
    IntentCommitted,
    IntentFailed,
    LateFill,
    OrderAbandoned,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderInDoubt,
    OrderIntended,
    OrderNotFound,
    OrderPartiallyFilled,
    OrderPendingCancel,
    OrderRejected,
    OrderSubmitted,
    QueryOrder,
    Restored,
    SubmitFailed,
    SubmitOrder,
)
from engine.core.model import FINAL_STATES, NANOS, Fill, Order, OrderState
from engine.core.text import clean

S = OrderState

_LIVE = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL})

ALLOWED: dict[OrderState, frozenset[OrderState]] = {
    S.INTENDED: frozenset({S.SUBMITTED, S.CANCELED, S.IN_DOUBT}),
    S.SUBMITTED: _LIVE | FINAL_STATES | {S.IN_DOUBT},
    S.IN_DOUBT: _LIVE | FINAL_STATES,
    S.ACCEPTED: (_LIVE | FINAL_STATES | {S.IN_DOUBT}) - {S.ACCEPTED},
    S.PARTIALLY_FILLED: (_LIVE | FINAL_STATES | {S.IN_DOUBT}) - {S.ACCEPTED},
    S.PENDING_CANCEL: FINAL_STATES | {S.PENDING_CANCEL},
    # A venue may still tell of an execution that happened before the end, and of an order that it
    # did not find when it was asked.
    S.CANCELED: frozenset({S.FILLED}),
    S.EXPIRED: frozenset({S.FILLED}),
    S.REJECTED: frozenset({S.FILLED}),
    S.ABANDONED: _LIVE | {S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED},
    S.FILLED: frozenset(),
}
"""The graph of an order's states: where each may go."""

ASK_AGAIN = 2 * NANOS
CANCEL_AGAIN = NANOS
FINAL_ORDERS_KEPT = 2_000

_FACTS: dict[OrderState, type[OrderEvent]] = {
    S.SUBMITTED: OrderSubmitted,
    S.ACCEPTED: OrderAccepted,
    S.PARTIALLY_FILLED: OrderAccepted,  # known again, after a doubt
    S.PENDING_CANCEL: OrderPendingCancel,
    S.CANCELED: OrderCanceled,
    S.REJECTED: OrderRejected,
    S.EXPIRED: OrderExpired,
    S.IN_DOUBT: OrderInDoubt,
    S.ABANDONED: OrderAbandoned,
}


def client_order_id(*parts: object) -> str:
    """A deterministic client order id: the same parts always make the same id.

    18 characters of [a-z0-9-], the longest that Kraken's `cl_ord_id` takes as free text: `tb-` and
    60 bits of BLAKE2b.
    """
    digest = blake2b("|".join(map(str, parts)).encode(), digest_size=8).hexdigest()
    return "tb-" + digest[:15]


class OrderBook:
    """All orders of the session, and the only place where one changes.

    `gate` says why an order must not leave now (empty text: it may); it is asked at the last
    moment, when the intent is durable and the submit would go out.
    """

    def __init__(
        self,
        bus: Bus,
        emit: Callable[[Effect], None],
        is_applied: Callable[[str], bool],
        *,
        submit_timeout: int,
        visibility_lag: int,
    ) -> None:
        self._bus = bus
        self._emit = emit
        self._is_applied = is_applied
        self._submit_timeout = submit_timeout
        self._visibility_lag = visibility_lag
        self.gate: Callable[[Order], str] = lambda order: ""
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self._final: OrderedDict[str, None] = OrderedDict()
        self._asked: dict[str, int] = {}
        self.unwanted: dict[str, str] = {}

    def open_orders(self, strategy: str, symbol: str) -> list[Order]:
        return [o for o in self.open.values() if o.strategy == strategy and o.symbol == symbol]

    # --- what the engine wants ------------------------------------------------------------------

    def intend(self, order: Order) -> bool:
        """Take on a new order and have its intent made durable. False where the client order id is
        known: the same decision was taken before, and makes no second order."""
        if order.client_order_id in self.orders:
            return False
        self._keep(order)
        self._bus.publish(OrderIntended(order))
        self._emit(CommitIntent(order))
        return True

    def cancel(self, client_order_id: str, reason: str) -> None:
        """Have an open order cancelled; asked again until the venue confirms.

        One that has not left yet is cancelled here. One in doubt is cancelled when it is known.
        """
        order = self.open.get(client_order_id)
        if order is None or order.state is S.PENDING_CANCEL:
            return
        if order.state is S.INTENDED:
            self._move(order, S.CANCELED, reason=f"not sent: {reason}")
        elif order.state is S.IN_DOUBT:
            self.unwanted[client_order_id] = reason
            self._ask_to_cancel(order)
        else:
            self._ask_to_cancel(self._move(order, S.PENDING_CANCEL, reason=reason))

    # --- inputs ---------------------------------------------------------------------------------

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

    def is_wanted(self, client_order_id: str) -> bool:
        """Whether a submit that is about to go out still should: a kill may have come since."""
        order = self.open.get(client_order_id)
        return order is not None and order.state is S.SUBMITTED

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

    def on_report(self, event: ExecutionReport) -> None:
        order = self.orders.get(event.client_order_id)
        if order is None:
            if event.fill is not None:
                self._bus.publish(FillQuarantined(event.fill, "for an order that is not ours"))
            return
        if event.venue_order_id and not order.venue_order_id:
            order = self._change(order, venue_order_id=clean(event.venue_order_id))
            if order.state is S.PENDING_CANCEL and event.state not in FINAL_STATES:
                self._ask_to_cancel(order)  # it was in flight when it was cancelled
        if event.fill is not None:
            self._fill(order, event.fill)
        self._follow(self.orders[event.client_order_id], event.state, clean(event.reason))

    def on_cancel_rejected(self, event: CancelRejected) -> None:
        order = self.open.get(event.client_order_id)
        if order is not None:
            self._query(order)

    def on_not_found(self, event: OrderNotFound) -> None:
        """The venue knows of no such order: believed only once its visibility lag has passed."""
        order = self.open.get(event.client_order_id)
        if order is None:
            return
        if order.state in (S.ACCEPTED, S.PARTIALLY_FILLED):
            self._doubt(order, "the venue does not know it")
        elif (
            order.state in (S.IN_DOUBT, S.PENDING_CANCEL)
            and self._bus.now - order.updated_ts >= self._visibility_lag
        ):
            self._move(order, S.ABANDONED, reason="the venue does not know it")

    def on_tick(self, event: ClockTick) -> None:
        """Ask about every order whose state is not settled, again and again."""
        for order in list(self.open.values()):
            waited = event.ts - order.updated_ts
            if order.state is S.SUBMITTED and waited >= self._submit_timeout:
                self._doubt(order, "no answer to the submit")
            elif order.state is S.IN_DOUBT and self._is_due(order, ASK_AGAIN):
                self._query(order)
            elif order.state is S.PENDING_CANCEL and self._is_due(order, CANCEL_AGAIN):
                self._ask_to_cancel(order)
                if waited >= self._submit_timeout:
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

    # --- moves ----------------------------------------------------------------------------------

    def _follow(self, order: Order, state: OrderState, reason: str) -> None:
        """Go where the venue says that the order is, as far as the graph allows."""
        if state in _LIVE:
            state = S.PARTIALLY_FILLED if order.filled else S.ACCEPTED
        elif state is S.FILLED and order.leaves:
            state, reason = S.IN_DOUBT, "the venue has filled it, and an execution is missing here"
        if state is order.state or state not in ALLOWED[order.state]:
            return
        self._cancel_unwanted(order, self._move(order, state, reason=reason))

    def _cancel_unwanted(self, before: Order, order: Order) -> None:
        """An order that turns up after it was given up, or after its cancel was asked for while it
        was in doubt, must not stay."""
        reason = self.unwanted.get(order.client_order_id, "")
        if before.state is S.ABANDONED:
            reason = "turned up after it was given up"
        if reason and order.is_open:
            self.cancel(order.client_order_id, reason)

    def _fill(self, order: Order, fill: Fill) -> None:
        if self._is_applied(fill.execution_id):
            return
        if fault := _fill_fault(order, fill):
            self._bus.publish(FillQuarantined(fill, fault))
            return
        fill = replace(fill, strategy=order.strategy, venue_order_id=order.venue_order_id)
        filled = order.filled + fill.quantity
        before = (order.avg_price or Decimal(0)) * order.filled
        avg_price = (before + fill.price * fill.quantity) / filled
        late = order.is_final and order.state is not S.ABANDONED
        if filled == order.quantity:
            state = S.FILLED
        elif late or order.state is S.PENDING_CANCEL:
            state = order.state
        else:
            state = S.PARTIALLY_FILLED
        known, order = order, self._change(order, state=state, filled=filled, avg_price=avg_price)
        if late:
            self._bus.publish(LateFill(order, fill))
        elif state is S.FILLED:
            self._bus.publish(OrderFilled(order, fill))
        else:
            self._bus.publish(OrderPartiallyFilled(order, fill))
            self._cancel_unwanted(known, order)

    def _doubt(self, order: Order, reason: str) -> None:
        self._query(self._move(order, S.IN_DOUBT, reason=reason))

    def _query(self, order: Order) -> None:
        self._asked[order.client_order_id] = self._bus.now
        self._emit(QueryOrder(order))

    def _ask_to_cancel(self, order: Order) -> None:
        self._asked[order.client_order_id] = self._bus.now
        self._emit(CancelOrder(order))

    def _is_due(self, order: Order, interval: int) -> bool:
        return self._bus.now - self._asked.get(order.client_order_id, 0) >= interval

    def _move(self, order: Order, state: OrderState, reason: str = "") -> Order:
        order = self._change(order, state=state, reason=reason)
        self._bus.publish(_FACTS[state](order))
        return order

    def _change(self, order: Order, **changes: Any) -> Order:
        state = changes.get("state", order.state)
        if state is not order.state and state not in ALLOWED[order.state]:
            raise BrokenLaw("I7", f"{order.client_order_id} from {order.state} to {state}")
        order = replace(order, updated_ts=self._bus.now, **changes)
        self._keep(order)
        return order

    def _keep(self, order: Order) -> None:
        key = order.client_order_id
        self.orders[key] = order
        if order.is_open:
            self.open[key] = order
            self._final.pop(key, None)
            return
        self.open.pop(key, None)
        self._asked.pop(key, None)
        self.unwanted.pop(key, None)
        self._final[key] = None
        if len(self._final) > FINAL_ORDERS_KEPT:
            oldest, _ = self._final.popitem(last=False)
            del self.orders[oldest]


def _fill_fault(order: Order, fill: Fill) -> str:
    """Why an execution cannot be true of `order`; empty where it can."""
    if not (fill.price.is_finite() and fill.quantity.is_finite() and fill.commission.is_finite()):
        return "price, quantity or commission is not a number"
    if fill.price <= 0 or fill.quantity <= 0:
        return "price or quantity is not positive"
    if fill.symbol != order.symbol or fill.side is not order.side:
        return "symbol or side is not the order's"
    if order.filled + fill.quantity > order.quantity:
        return "more than the order's quantity"
    return ""
