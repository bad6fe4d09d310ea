"""The cancel of all orders at once, where there are many.

Alpaca takes 200 requests a minute, each of which needs a thread and a connection here; and it has
no cancel of several orders by their ids: only that of whatever is open
(https://docs.alpaca.markets/reference/deleteallorders), be it made by hand or by another program.
So it is asked for only where all that Alpaca lists as open is to be cancelled anyway, and no order
of ours is under way. One that somebody else makes between the list and the cancel, some hundredths
of a second, is cancelled with the others.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from engine.brokers.alpaca.answers import Canceled, Named, Refused, read
from engine.brokers.base import RateLimited
from engine.brokers.batch import Batch
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import wait_for_turn
from engine.core.model import Order
from engine.core.newest import Newest

if TYPE_CHECKING:
    from engine.brokers.alpaca.rest import Rest

ALONE = 20
"""So many orders at a time are cancelled each by itself: the largest ones, at once."""
COST = 2
"""Requests: the list, and the cancel."""
LISTED_AT_ONCE = 500
REMEMBERED = 10_000

Answer = str | Refused | None
"""Of an order: its id there where the cancel was taken, or why not; None where it is to be
cancelled by itself."""


class Sweep:
    """`rest` is its own, `bucket` that of the cancels of single orders."""

    def __init__(self, rest: "Rest", bucket: TokenBucket) -> None:
        self._rest = rest
        self._bucket = bucket
        self._batch = Batch(self._turn, self._cancel_all)
        self._unwanted: Newest[str, None] = Newest(REMEMBERED)
        self._alone = self._leaving = 0
        self._calm = asyncio.Event()
        self._calm.set()

    def close(self) -> None:
        self._batch.close()

    async def cancel(self, order: Order) -> Answer:
        """None as well where few are under way and there is room: it leaves at once."""
        for name in (order.client_order_id, order.venue_order_id):
            self._unwanted[name] = None
        if self._alone < ALONE and not self._bucket.wait_s(cancel=True):
            return None
        return await self._batch.ask(order.client_order_id)

    @contextmanager
    def alone(self) -> Generator[None]:
        """An order is cancelled by itself within the block."""
        self._alone += 1
        try:
            yield
        finally:
            self._alone -= 1

    @asynccontextmanager
    async def apart(self) -> AsyncGenerator[None]:
        """An order is made within the block: not while all are cancelled, nor are they then."""
        await self._calm.wait()
        self._leaving += 1
        try:
            yield
        finally:
            self._leaving -= 1

    async def _turn(self) -> None:
        """What Alpaca says of waiting is for all requests of the account."""
        if wait_s := self._bucket.room().shut_s:
            await asyncio.sleep(wait_s)
        await wait_for_turn(self._rest.bucket, COST)

    async def _cancel_all(self, keys: Sequence[str]) -> Mapping[str, Answer]:
        if self._leaving or len(keys) <= COST:
            return dict.fromkeys(keys)
        self._calm.clear()
        try:
            listed = await self._listed()
            if len(listed) >= LISTED_AT_ONCE or not all(map(self._is_unwanted, listed)):
                return dict.fromkeys(keys)
            answer = await self._rest.question(self._rest.client.cancel_orders)
        except RateLimited as error:
            self._bucket.shut(error.wait_s)
            raise
        finally:
            self._calm.set()
        told = {row.id: row for row in read(answer, list[Canceled])}
        open_ones = {row.root: row.id for row in listed}
        return {key: _answer(told.get(open_ones.get(key, ""))) for key in keys}

    async def _listed(self) -> list[Named]:
        asked = {"status": "open", "limit": LISTED_AT_ONCE}
        return read(await self._rest.question(self._rest.client.get, "/orders", asked), list[Named])

    def _is_unwanted(self, row: Named) -> bool:
        return row.root in self._unwanted or row.id in self._unwanted


def _answer(row: Canceled | None) -> Answer:
    if row is None:
        return Refused(404, "alpaca does not list it as open")
    return row.id if row.status < 300 else Refused(row.status, "alpaca does not cancel it")
