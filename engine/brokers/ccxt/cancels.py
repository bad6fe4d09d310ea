"""Cancels of several orders in one request, where an exchange takes that."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.brokers.batch import Batch
from engine.brokers.ccxt.errors import Refused, answered, asked, understood
from engine.brokers.ccxt.venues import BatchCancel
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import wait_for_turn
from engine.core.text import clean


class Cancels:
    """Of one account, by the exchange's own ids. The requests go one after another: at Kraken those
    that overtake each other are refused, for their nonces.

    `exchange` answers that of the connection, or raises NotConnected.
    """

    def __init__(
        self, together: BatchCancel, bucket: TokenBucket, exchange: Callable[[], Any]
    ) -> None:
        self._together = together
        self._exchange = exchange
        self._batch = Batch(lambda: wait_for_turn(bucket), self._cancel)

    def close(self) -> None:
        self._batch.close()

    async def ask(self, order_id: str) -> str:
        """Why the exchange does not cancel the order; empty where it took the cancel."""
        return await self._batch.ask(order_id)

    async def _cancel(self, ids: Sequence[str]) -> Mapping[str, str]:
        reasons: dict[str, str] = {}
        most = self._together.most
        for first in range(0, len(ids), most):
            some = ids[first : first + most]
            reasons |= await (self._told_of_each(some) if self._together.tells_each else
                              self._counted(some))  # fmt: skip
        return reasons

    async def _told_of_each(self, ids: Sequence[str]) -> Mapping[str, str]:
        answer = await self._send(ids)
        with understood():
            return {
                row["order_id"]: "" if row["success"] is True else clean(str(row["failure_reason"]))
                for row in answer["results"]
            }

    async def _counted(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Where it took the cancel of fewer than all, those that are still listed as open are
        cancelled by themselves: the others have ended, and how is told as of any order."""
        if len(ids) == 1:
            return {ids[0]: await self._alone(ids[0])}
        try:
            answer = await self._send(ids)
            with understood():
                count = int(answer["result"]["count"])
        except Refused:
            count = 0
        reasons = dict.fromkeys(ids, "")
        if count < len(ids):
            listed = await answered(self._exchange().fetch_open_orders)
            with understood():
                left = reasons.keys() & {order["id"] for order in listed}
            reasons |= {order_id: await self._alone(order_id) for order_id in sorted(left)}
        return reasons

    async def _send(self, ids: Sequence[str]) -> Any:
        call = getattr(self._exchange(), self._together.call)
        return await asked(call, {self._together.field: list(ids)})

    async def _alone(self, order_id: str) -> str:
        try:
            await asked(self._exchange().cancel_order, order_id)
        except Refused as refused:
            return str(refused)
        return ""
