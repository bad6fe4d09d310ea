"""The order state machine: every order, where it stands, and what is still to be asked."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from engine.core.bus import BrokenLaw, Bus
from engine.core.events import (
    BrokerChanged,
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
    OrderAdopted,
    OrderFilled,
    OrderIntended,
    OrderMarked,
    OrderNotFound,
    OrderOverdue,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplaceRejected,
    QueryOrder,
    ReplaceOrder,
    ReplaceRejected,
    Restored,
    SubmitFailed,
    SubmitOrder,
)
from engine.core.model import (
    EXTERNAL,
    FINAL_STATES,
    NANOS,
    ZERO,
    Capabilities,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
)
from engine.core.order_graph import (
    AT_VENUE,
    FACTS,
    MARKED,
    TRANSIENT,
    may_go,
    may_turn_up,
    working_state,
)
from engine.core.order_rules import are_sound, fill_fault, number_fault, order_fault, terms_fault
from engine.core.text import clean

S = OrderState

ASK_AGAIN = 2 * NANOS
CANCEL_AGAIN = NANOS
OVERDUE = 120 * NANOS
FINAL_ORDERS_KEPT = 2_000

MARKS = FINAL_STATES - {S.FILLED}
"""How the operator may say that an order in doubt ended; a fill is the venue's to tell."""

_SETTLED: dict[str, Any] = {
    "pending_quantity": None,
    "pending_limit_price": None,
    "pending_stop_price": None,
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
    moment, when the intent is durable and the submit would go out, and before a replace.
    `capabilities` are what each venue said that it can do; of `told` and the open orders, when the
    venue last said what each asks for; `unwanted` is why an order in doubt is to be cancelled.
    """

    def __init__(
        self,
        bus: Bus,
        emit: Callable[[Effect], None],
        is_applied: Callable[[str], bool],
        *,
        instruments: Iterable[Instrument],
        submit_timeout: int,
        visibility_lag: int,
    ) -> None:
        self._bus = bus
        self._instruments = {i.symbol: i for i in instruments}
        self._emit = emit
        self._is_applied = is_applied
        self._submit_timeout = submit_timeout
        self._visibility_lag = visibility_lag
        self.gate: Callable[[Order], str] = lambda order: ""
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self._final: OrderedDict[str, None] = OrderedDict()
        self._asked: dict[str, int] = {}
        self._overdue: set[str] = set()
        self.unwanted: dict[str, str] = {}
        self.told: dict[str, int] = {}
        self.capabilities: dict[str, Capabilities] = {}

    def open_orders(self, strategy: str, symbol: str) -> list[Order]:
        return [o for o in self.open.values() if o.strategy == strategy and o.symbol == symbol]

    # --- what the engine wants ------------------------------------------------------------------

    def intend(self, order: Order) -> bool:
        """Take on a new order and have its intent made durable. False where the client order id is
        known: the same decision was taken before, and makes no second order.

        An order that its venue would refuse is rejected here, with the numbers, and never leaves.
        """
        if order.client_order_id in self.orders:
            return False
        self._keep(order)
        self._bus.publish(OrderIntended(order))
        if fault := self._fault(order):
            self._move(order, S.REJECTED, reason=f"not sent: {fault}")
        else:
            self._emit(CommitIntent(order))
        return True

    def _fault(self, order: Order) -> str:
        instrument = self._instruments.get(order.symbol)
        if instrument is None:
            return f"unknown symbol {order.symbol}"
        return order_fault(order, instrument, self.capabilities_of(instrument.venue))

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

    def replace_objection(self, client_order_id: str, terms: OrderTerms) -> str:
        """Why an order cannot be given `terms` now; empty where it can."""
        order = self.open.get(client_order_id)
        if order is None:
            return "no such order is open"
        if order.state not in (S.ACCEPTED, S.PARTIALLY_FILLED):
            return f"the order is {order.state.replace('_', ' ')}"
        instrument = self._instruments.get(order.symbol)
        if instrument is None or not self.capabilities_of(instrument.venue).replace:
            return "the venue cannot replace orders"
        if terms == order.terms:
            return "nothing would change"
        if fault := terms_fault(order, terms, instrument):
            return fault
        if terms.quantity <= order.filled:
            return f"{order.filled} is filled already"
        self.open[client_order_id] = _pending(order, terms)  # so that it counts at its worst
        try:
            return self.gate(self.open[client_order_id])
        finally:
            self.open[client_order_id] = order

    def replace(self, client_order_id: str, terms: OrderTerms, reason: str) -> bool:
        """Have an order that works at the venue changed to `terms`. False where that cannot be now.

        Until the venue says what the order asks for, it counts at the worse of both.
        """
        if self.replace_objection(client_order_id, terms):
            return False
        order = _pending(self.open[client_order_id], terms)
        order = self._move(order, S.PENDING_REPLACE, reason=reason)
        self._asked[client_order_id] = self._bus.now
        self._emit(ReplaceOrder(order, terms))
        return True

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

    def adopt(self, order: Order) -> bool:
        """Take on an order at the venue that is not ours. False where its id is known."""
        if order.client_order_id in self.orders:
            return False
        order = replace(
            order, strategy=EXTERNAL, purpose=OrderPurpose.EXTERNAL, updated_ts=self._bus.now
        )
        self._keep(order)
        self._bus.publish(OrderAdopted(order))
        return True

    def capabilities_of(self, venue: str) -> Capabilities:
        """What `venue` can do; the least until it said."""
        return self.capabilities.get(venue, _UNKNOWN)

    # --- inputs ---------------------------------------------------------------------------------

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
        should: a kill may have come since."""
        order = self.open.get(client_order_id)
        return order is not None and order.state is state

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
        order = self.orders.get(event.client_order_id) or self._external(event)
        if order is None:
            return
        venue_order_id = clean(event.venue_order_id)
        if venue_order_id and not order.venue_order_id:
            order = self._change(order, venue_order_id=venue_order_id)
            if order.state is S.PENDING_CANCEL and event.state not in FINAL_STATES:
                self._ask_to_cancel(order)  # it was in flight when it was cancelled
        if event.terms is not None:
            order = self._take_terms(order, event.terms, event, venue_order_id)
        if event.fill is not None:
            order = self._fill(order, event.fill, venue_order_id)
        self._follow(order, event.state, clean(event.reason))

    def on_cancel_rejected(self, event: CancelRejected) -> None:
        order = self.open.get(event.client_order_id)
        if order is not None:
            self._query(order)

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

    # --- moves ----------------------------------------------------------------------------------

    def _external(self, event: ExecutionReport) -> Order | None:
        """The order of an execution that is not ours, taken on as external; None without a sound
        execution that is new."""
        fill = event.fill
        if fill is None or self._is_applied(fill.execution_id):
            return None
        fault = number_fault(fill)
        if not fault and fill.symbol not in self._instruments:
            fault = "not ours, in a symbol that is not known"
        if fault:
            self._bus.publish(FillQuarantined(fill, fault))
            return None
        venue_order_id = clean(event.venue_order_id)
        key = clean(event.client_order_id)
        key = key or client_order_id(EXTERNAL, venue_order_id or fill.execution_id)
        if key not in self.orders:
            terms = event.terms if event.terms and are_sound(event.terms) else None
            self.adopt(_order_of(fill, key, venue_order_id, terms))
        return self.orders[key]

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
            reference_price=terms.limit_price or order.reference_price + shift,
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

    def _follow(self, order: Order, state: OrderState, reason: str) -> None:
        """Go where the venue says that the order is, as far as the graph allows."""
        if state in AT_VENUE:
            state = working_state(order)
        elif state is S.FILLED and (order.leaves or order.may_grow):
            state, reason = S.IN_DOUBT, "the venue has filled it, and an execution is missing here"
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

    def _fill(self, order: Order, fill: Fill, venue_order_id: str) -> Order:
        """Apply an execution that is new and can be true; answers the order after it."""
        if self._is_applied(fill.execution_id):
            return order
        if fault := fill_fault(order, fill):
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
        )
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

    def _is_visible(self, order: Order) -> bool:
        """Whether what was asked of the venue must show in its answers by now."""
        instrument = self._instruments.get(order.symbol)
        lag = self.capabilities_of(instrument.venue).visibility_lag if instrument else 0
        return self._bus.now - order.updated_ts >= max(lag, self._visibility_lag)

    def _move(self, order: Order, state: OrderState, reason: str = "") -> Order:
        order = self._change(order, state=state, reason=reason)
        self._bus.publish(FACTS[state](order))
        return order

    def _change(self, order: Order, **changes: Any) -> Order:
        state = changes.get("state", order.state)
        if state is not order.state and not may_go(order, state):
            raise BrokenLaw("I7", f"{order.client_order_id} from {order.state} to {state}")
        if self._overdue and state is not order.state:
            self._overdue.discard(order.client_order_id)
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
        self._overdue.discard(key)
        self.unwanted.pop(key, None)
        self.told.pop(key, None)
        self._final[key] = None
        if len(self._final) > FINAL_ORDERS_KEPT:
            oldest, _ = self._final.popitem(last=False)
            del self.orders[oldest]


_UNKNOWN = Capabilities()


def _pending(order: Order, terms: OrderTerms) -> Order:
    return replace(
        order,
        pending_quantity=terms.quantity,
        pending_limit_price=terms.limit_price,
        pending_stop_price=terms.stop_price,
    )


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
