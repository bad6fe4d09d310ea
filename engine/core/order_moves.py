"""Where every order stands, and its single moves."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from engine.core.bus import BrokenLaw, Bus
from engine.core.events import (
    CancelOrder,
    Effect,
    QueryOrder,
)
from engine.core.model import (
    Capabilities,
    Fill,
    Instrument,
    Order,
    OrderState,
)
from engine.core.order_graph import (
    FACTS,
    may_go,
)

S = OrderState

FINAL_ORDERS_KEPT = 2_000
"""Of one that is forgotten the database still knows the id, so no second order is made of its
decision, and the ledger its executions."""

_UNKNOWN = Capabilities(fractional=True)
"""What is held in fractions can be closed before its venue has said what it takes."""


def client_order_id(*parts: object) -> str:
    """A deterministic client order id: the same parts always make the same id.

    18 characters of [a-z0-9-], the longest that Kraken's `cl_ord_id` takes as free text: `tb-` and
    60 bits of BLAKE2b.
    """
    digest = blake2b("|".join(map(str, parts)).encode(), digest_size=8).hexdigest()
    return "tb-" + digest[:15]


def is_made_here(order_id: str) -> bool:
    """Whether a client order id looks as `client_order_id` makes them."""
    return re.fullmatch("tb-[0-9a-f]{15}", order_id) is not None


class OrderMoves:
    """All orders of the session, and the only place where one changes.

    `gate` says why an order must not leave now (empty text: it may); it is asked at the last
    moment, when the intent is durable and the submit would go out, and before a replace.
    `kill_objection` says whether a kill stands against one that waits at its adapter since.
    `is_applied` says whether the ledger has an execution id, `account_of` the venue of a symbol's
    account, empty where there is none. `capabilities` are what each venue said that it can do; of
    `told` and the open orders, when the venue last said what each asks for; `unwanted` is why an
    order in doubt is to be cancelled; `refused` why the last cancel of an open order did not take;
    `unbooked` are the executions that the ledger does not have yet, by their ids: their facts are
    on the bus.
    """

    def __init__(
        self,
        bus: Bus,
        emit: Callable[[Effect], None],
        is_applied: Callable[[str], bool],
        account_of: Callable[[str], str],
        *,
        instruments: Iterable[Instrument],
        submit_timeout: int,
        visibility_lag: int,
    ) -> None:
        self._bus = bus
        self._instruments = {i.symbol: i for i in instruments}
        self._emit = emit
        self._is_applied = is_applied
        self._account_of = account_of
        self._submit_timeout = submit_timeout
        self._visibility_lag = visibility_lag
        self.gate: Callable[[Order], str] = lambda order: ""
        self.kill_objection: Callable[[Order], str] = lambda order: ""
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self._final: OrderedDict[str, None] = OrderedDict()
        self._asked: dict[str, int] = {}
        self._overdue: set[str] = set()
        self.unwanted: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.told: dict[str, int] = {}
        self.unbooked: dict[str, Fill] = {}
        self.capabilities: dict[str, Capabilities] = {}

    def open_orders(self, strategy: str, symbol: str) -> list[Order]:
        return [o for o in self.open.values() if o.strategy == strategy and o.symbol == symbol]

    def capabilities_of(self, instrument: Instrument | None) -> Capabilities:
        """What its venue can do with `instrument`; the least until it said."""
        if instrument is None:
            return _UNKNOWN
        return self.capabilities.get(instrument.venue, _UNKNOWN).of(instrument.asset_class)

    def lag_of(self, venue: str) -> int:
        """How long (ns) an order that `venue` has may be missing in its answers."""
        return self.capabilities.get(venue, _UNKNOWN).visibility_lag

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

    # --- moves ----------------------------------------------------------------------------------

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
        lag = self.capabilities_of(instrument).visibility_lag
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
        self.refused.pop(key, None)
        self.told.pop(key, None)
        self._final[key] = None
        if len(self._final) > FINAL_ORDERS_KEPT:
            oldest, _ = self._final.popitem(last=False)
            del self.orders[oldest]
