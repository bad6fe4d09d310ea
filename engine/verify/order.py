"""A trial order: far away from the market, and cancelled."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal

from msgspec.structs import replace

from engine.brokers.base import BaseBroker
from engine.core.events import ExecutionReport
from engine.core.model import (
    FINAL_STATES,
    Capabilities,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from engine.core.order_moves import client_order_id
from engine.core.order_rules import order_fault
from engine.core.sizing import smallest_order
from engine.core.text import clean
from engine.ops.errors import NotPermitted, NotSent
from engine.verify.said import Outcome, Said, told

SHARES = (Decimal("0.5"), Decimal("0.8"))
"""Of the bid: where a venue takes no price so far away, nearer."""
SUBMIT_S = 8.0
ASK_S = 3.0
WITHDRAW_S = 15.0
"""Longer than an order that came may be missing in a venue's answers."""
LOOK_S = 0.3
LOOKS_A_CANCEL = 7
TRIAL_S = 2 * SUBMIT_S + WITHDRAW_S + ASK_S + LOOK_S + 1.0
"""The longest that it takes, and a second: cut short, it could not say that the order may be
left."""


class Trial:
    """One trial of `broker`, whose account is no real one, with `instrument` at its `bid`.

    `order_id` is the client order id of the order that was placed. `alarm` is told of an order that
    may be left at the venue when nobody waits for the answer any more.
    """

    def __init__(
        self, broker: BaseBroker, instrument: Instrument, bid: float, alarm: Callable[[str], None]
    ) -> None:
        if broker.live:
            raise AssertionError("a trial order is not for a real account")
        self._broker = broker
        self._instrument = instrument
        self._bid = bid
        self._alarm = alarm
        self._able = broker.capabilities.of(instrument.asset_class)
        self.order_id = ""

    async def run(self) -> Said:
        """Place an order, cancel it, and see that it is cancelled."""
        reason = ""
        for share in SHARES:
            order = far_away(self._instrument, self._bid, share, self._able)
            if fault := order_fault(order, self._instrument, self._able):
                return Said(Outcome.FAILED, f"no order can be made: {fault}")
            try:
                answer = await self._submitted(order)
            except NotPermitted as error:
                return Said(
                    Outcome.WARNING, told(error), "market data and trading on paper work without"
                )
            if answer is None or answer.state is not OrderState.REJECTED:
                venue_id = "" if answer is None else answer.venue_order_id
                return await self._withdrawn(replace(order, venue_order_id=venue_id))
            reason = clean(answer.reason)
        return Said(Outcome.FAILED, f"refused: {reason}", "mend what it names, or see the venue")

    async def _submitted(self, order: Order) -> ExecutionReport | None:
        """The answer; None where there is none, and the order may be there."""
        self.order_id = order.client_order_id
        try:
            async with asyncio.timeout(SUBMIT_S):
                return await self._broker.submit_order(order)
        except NotSent:
            raise
        except asyncio.CancelledError:
            await self._withdrawn_at_last(order)
            raise
        except Exception:
            return None

    async def _withdrawn(self, order: Order) -> Said:
        try:
            return await self._ended(order)
        except asyncio.CancelledError:
            await self._withdrawn_at_last(order)
            raise

    async def _withdrawn_at_last(self, order: Order) -> None:
        """Somebody pressed ctrl+c: the order is not left for that."""
        said = await self._ended(order)
        if said.outcome is Outcome.FAILED:
            self._alarm(f"{said.reason}\n{said.remedy}")

    async def _ended(self, order: Order) -> Said:
        """Cancel until the order is seen to be over."""
        what = f"buy {order.quantity.normalize():f} {order.symbol} at {order.limit_price}"
        clock = asyncio.get_running_loop().time
        ends, looks, last = clock() + WITHDRAW_S, 0, ""
        while clock() < ends:
            try:
                async with asyncio.timeout(ASK_S):
                    if looks % LOOKS_A_CANCEL == 0:
                        await self._broker.cancel_order(order)
                    found = await self._broker.get_order(order)
                if found is not None and found.state is OrderState.CANCELED:
                    return Said(Outcome.OK, f"{what}: placed, cancelled")
                if found is not None and found.state in FINAL_STATES:
                    return _unexpected(what, order, found)
                last = "it is not found" if found is None else f"it is {found.state}"
            except Exception as error:
                last = told(error)
            looks += 1
            await asyncio.sleep(LOOK_S)
        return Said(
            Outcome.FAILED,
            f"THE ORDER MAY STILL BE OPEN at {self._broker.name}: {what}, {_names(order)} ({last})",
            "look for it at the venue, and cancel it by hand",
        )


def _unexpected(what: str, order: Order, found: ExecutionReport) -> Said:
    if found.state is OrderState.FILLED:
        remedy = "look at the account: it holds what was bought"
        return Said(Outcome.FAILED, f"IT WAS FILLED: {what}, {_names(order)}", remedy)
    return Said(Outcome.WARNING, f"{what}: {found.state} before it was cancelled")


def _names(order: Order) -> str:
    venue_id = f", there {clean(order.venue_order_id)}" if order.venue_order_id else ""
    return f"order {order.client_order_id}{venue_id}"


def far_away(instrument: Instrument, bid: float, share: Decimal, able: Capabilities) -> Order:
    """The smallest buy, at `share` of the bid. Its client order id is as all are, but does not look
    as if an engine had made it: one that runs would miss it in its database."""
    now = time.time_ns()
    price = max(instrument.price(Decimal(repr(bid)) * share), instrument.tick)
    times = able.times_in_force
    key = client_order_id("verify-broker", instrument.symbol, share, now).removeprefix("tb-")
    return Order(
        f"vb-{key}",
        "verify-broker",
        instrument.symbol,
        Side.BUY,
        OrderType.LIMIT,
        smallest_order(instrument, price),
        OrderPurpose.ENTRY,
        now,
        now,
        price,
        limit_price=price,
        time_in_force=TimeInForce.DAY if TimeInForce.DAY in times else times[0],
    )
