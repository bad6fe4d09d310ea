"""The graph of an order's states: where each may go, and the fact that says so."""

from engine.core.events import (
    OrderAbandoned,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderInDoubt,
    OrderPendingCancel,
    OrderPendingReplace,
    OrderRejected,
    OrderSubmitted,
)
from engine.core.model import FINAL_STATES, Order, OrderPurpose, OrderState

S = OrderState

AT_VENUE = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL, S.PENDING_REPLACE})
"""The states of an order that works at the venue."""

TRANSIENT = frozenset({S.SUBMITTED, S.IN_DOUBT, S.PENDING_CANCEL, S.PENDING_REPLACE})
"""The states in which an answer of the venue is waited for."""

MARKED = "marked by hand"
"""How the reason of an order starts that the operator ended by hand."""

ALLOWED: dict[OrderState, frozenset[OrderState]] = {
    S.INTENDED: frozenset({S.SUBMITTED, S.CANCELED, S.REJECTED, S.IN_DOUBT}),
    S.SUBMITTED: AT_VENUE | FINAL_STATES | {S.IN_DOUBT},
    S.IN_DOUBT: AT_VENUE | FINAL_STATES,
    S.ACCEPTED: (AT_VENUE | FINAL_STATES | {S.IN_DOUBT}) - {S.ACCEPTED},
    S.PARTIALLY_FILLED: (AT_VENUE | FINAL_STATES | {S.IN_DOUBT}) - {S.ACCEPTED},
    S.PENDING_REPLACE: AT_VENUE | FINAL_STATES | {S.IN_DOUBT},
    S.PENDING_CANCEL: FINAL_STATES | {S.PENDING_CANCEL},
    # A venue may still tell of an execution that happened before the end, and of an order that it
    # did not find when it was asked.
    S.CANCELED: frozenset({S.FILLED}),
    S.EXPIRED: frozenset({S.FILLED}),
    S.REJECTED: frozenset({S.FILLED}),
    S.ABANDONED: AT_VENUE | {S.IN_DOUBT, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED},
    S.FILLED: frozenset(),
}
"""The graph of an order's states: where each may go."""

FACTS: dict[OrderState, type[OrderEvent]] = {
    S.SUBMITTED: OrderSubmitted,
    S.ACCEPTED: OrderAccepted,
    S.PARTIALLY_FILLED: OrderAccepted,  # known again, after a doubt
    S.PENDING_REPLACE: OrderPendingReplace,
    S.PENDING_CANCEL: OrderPendingCancel,
    S.CANCELED: OrderCanceled,
    S.REJECTED: OrderRejected,
    S.EXPIRED: OrderExpired,
    S.IN_DOUBT: OrderInDoubt,
    S.ABANDONED: OrderAbandoned,
}


def may_turn_up(order: Order) -> bool:
    """Whether `order` was given up without a word of the venue, which may know it after all."""
    if order.state is S.ABANDONED:
        return True
    return order.is_final and order.state is not S.FILLED and order.reason.startswith(MARKED)


def may_be_for_more(order: Order) -> bool:
    """Whether `order`, which is not ours, may ask for more than what was filled of it: by its
    executions alone nobody knows how much it is for."""
    return order.purpose is OrderPurpose.EXTERNAL and order.state is S.FILLED


def may_go(order: Order, state: OrderState) -> bool:
    """Whether the graph lets `order` go to another `state`."""
    return state in ALLOWED[S.ABANDONED if may_turn_up(order) else order.state]


def working_state(order: Order) -> OrderState:
    """The state of `order` when it works at the venue and nobody wants it cancelled."""
    if order.pending_quantity is not None:
        return S.PENDING_REPLACE
    return S.PARTIALLY_FILLED if order.filled else S.ACCEPTED
