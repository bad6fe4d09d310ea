"""An account's orders and executions, as Questrade lists them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from engine.brokers.questrade import wire
from engine.brokers.questrade.ids import EARLIER, OrderIds
from engine.core.events import VenueOrder
from engine.core.model import (
    DAY,
    EXTERNAL,
    ZERO,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderType,
    TimeInForce,
)
from engine.core.text import clean

if TYPE_CHECKING:
    from engine.brokers.questrade.session import Session

NOT_FOUND = 404


class Records:
    """What `session` tells of the account with `number`, with our names of symbols, and with our
    client order ids as far as `ids` knows them. All raise what the session does."""

    def __init__(
        self,
        session: "Session",
        number: str,
        instruments: Iterable[Instrument],
        ids: OrderIds,
        now: Callable[[], int],
    ) -> None:
        self.session = session
        self.ids = ids
        self.now = now
        self.number = number
        self._symbols = {wire.name_of(i.symbol): i.symbol for i in instruments}

    def path(self, what: str) -> str:
        """Of what the account has."""
        return f"accounts/{self.number}/{what}"

    def symbol(self, name: str) -> str:
        """What we call it; with our prefix where it is none of the instruments."""
        return self._symbols.get(name) or wire.PREFIX + clean(name)

    # --- orders ---------------------------------------------------------------------------------

    async def find(self, order: Order) -> wire.OrderRow | None:
        """Where `order` is, by its id or, without one, by what it is like; None where it is not
        there. Raises InDoubt where several may be it."""
        known = self.ids.newest(order)
        row = None if known is None else await self._order(known)
        if row is None:
            row = self.ids.find(order, await self.orders("All", order.created_ts - EARLIER))
        if row is not None:
            self.ids.learn(order.client_order_id, row)
        return row

    async def _order(self, number: int) -> wire.OrderRow | None:
        """None where there is no such order, or another one is in its place."""
        try:
            answer = await self.session.get(self.path(f"orders/{number}"), wire.Orders)
        except wire.Refused as refused:
            if refused.status != NOT_FOUND:
                raise
            return None
        return next((row for row in answer.orders if row.state != wire.REPLACED), None)

    async def orders(self, state: str, since: int) -> Sequence[wire.OrderRow]:
        """The orders in `state` (All, Open or Closed) that were made since `since` (ns UTC)."""
        answer = await self.session.get(
            self.path("orders"), wire.Orders, stateFilter=state, **self._period(since)
        )
        return answer.orders

    def venue_order(self, row: wire.OrderRow) -> VenueOrder:
        order = Order(
            self.ids.claim(row),
            EXTERNAL,
            self.symbol(row.symbol),
            wire.side_of(row.side),
            wire.OUR_TYPES.get(row.order_type, OrderType.UNKNOWN),
            row.total_quantity,
            OrderPurpose.EXTERNAL,
            wire.time_of(row.creation_time),
            wire.time_of(row.update_time),
            row.terms.limit_price or row.terms.stop_price or ZERO,
            limit_price=row.terms.limit_price,
            stop_price=row.terms.stop_price,
            time_in_force=wire.OUR_TIMES.get(row.time_in_force, TimeInForce.UNKNOWN),
            state=row.our_state,
            filled=row.filled,
            avg_price=row.avg_exec_price,
            venue_order_id=str(row.chain),
        )
        return VenueOrder(order, row.our_state)

    # --- executions -----------------------------------------------------------------------------

    async def executions(self, since: int) -> Sequence[wire.ExecutionRow]:
        path = self.path("executions")
        answer = await self.session.get(path, wire.Executions, **self._period(since))
        return answer.executions

    def fill(self, row: wire.ExecutionRow) -> Fill:
        return wire.fill_of(row, self.ids.owner(row), self.symbol(row.symbol), self.now())

    async def fill_after(self, order: Order) -> Fill | None:
        """The first execution of `order` that it does not count yet."""
        counted = ZERO
        rows = await self.executions(order.created_ts - EARLIER)
        for fill in sorted(map(self.fill, rows), key=lambda fill: fill.ts):
            if fill.client_order_id == order.client_order_id:
                counted += fill.quantity
                if counted > order.filled:
                    return fill
        return None

    def _period(self, since: int) -> dict[str, str]:
        """From `since` (ns UTC) until after now, whatever the difference of the clocks."""
        return {"startTime": wire.iso(since), "endTime": wire.iso(self.now() + DAY)}
