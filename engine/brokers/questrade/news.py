"""What Questrade says of an account without being asked."""

import asyncio
import logging
from collections.abc import AsyncGenerator

from msgspec import MsgspecError, json, structs

from engine.brokers.base import InDoubt, NotAuthenticated, NotSent
from engine.brokers.questrade import wire
from engine.brokers.questrade.records import Records
from engine.core.events import BrokerChanged, Event, ExecutionReport
from engine.core.model import MINUTE, OrderState
from engine.core.newest import Newest
from engine.ops.backoff import Backoff
from engine.ops.errors import UserError

LOOK_S = 10.0
"""How often executions are asked for: a stream may be silent for good and look healthy, and a
session without a request ends after half an hour."""
OVERLAP = MINUTE
MOST = 10_000
"""Events that wait to be taken, and executions that are remembered as told."""

log = logging.getLogger(__name__)


class News:
    """The notifications, connected to again and again; beside them, now and then, the executions
    that they did not tell of."""

    def __init__(self, broker: str, records: Records) -> None:
        self._broker = broker
        self._records = records
        self._ids = records.ids
        self._now = records.now
        self._said: asyncio.Queue[Event] = asyncio.Queue(MOST)
        self._told: Newest[int, None] = Newest(MOST)
        self._tasks: list[asyncio.Task[None]] = []

    async def events(self) -> AsyncGenerator[Event]:
        """Until `close`. Raises UserError where it takes a person to go on."""
        self._tasks = [asyncio.create_task(work()) for work in (self._listen, self._look)]
        try:
            while (said := await self._next()) is not None:
                yield said
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
        finally:
            await self.close()

    async def _next(self) -> Event | None:
        """The next event; None where no more will come."""
        said = asyncio.create_task(self._said.get())
        try:
            await asyncio.wait([said, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            return said.result() if said.done() else None
        finally:
            said.cancel()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        """Hear the notifications, and connect to them again and again. Raises UserError where that
        takes a person."""
        is_lost, backoff, loop = False, Backoff(), asyncio.get_running_loop()
        while True:
            since = None
            try:
                async with self._records.session.stream("notifications") as messages:
                    if is_lost:
                        await self._said.put(BrokerChanged(self._broker, True, ts=self._now()))
                    is_lost, since = False, loop.time()
                    async for message in messages:
                        await self._hear(message)
                reason = "its notifications have ended"
            except NotAuthenticated as error:
                raise UserError(wire.NO_LOGIN, str(error)) from error
            except (NotSent, InDoubt) as error:
                reason = str(error)
            if not is_lost:
                await self._said.put(BrokerChanged(self._broker, False, reason, ts=self._now()))
            is_lost = True
            await asyncio.sleep(backoff.after(0.0 if since is None else loop.time() - since))

    async def _hear(self, message: str | bytes) -> None:
        try:
            said = json.decode(message, type=wire.Notification)
        except MsgspecError:
            log.warning("a notification of Questrade cannot be read; executions are asked for soon")
            return
        for row in said.orders:
            report = wire.report_of(row, self._ids.claim(row), self._now())
            new = [e for e in said.executions if e.order_id == row.id and self._is_new(e)]
            for execution in new[:-1]:
                await self._tell_fill(execution)
            if new:
                report = structs.replace(report, fill=self._records.fill(new[-1]))
            if new or (report.client_order_id and row.state != wire.REPLACED):
                await self._said.put(report)

    async def _look(self) -> None:
        """Tell of the executions that the stream did not: now and then, and so keep the session.
        One that may be of an order whose submit has no answer waits for that answer."""
        since = self._now()
        while True:
            await asyncio.sleep(LOOK_S)
            asked = self._now()
            try:
                rows = await self._records.executions(since - OVERLAP)
            except NotAuthenticated as error:
                raise UserError(wire.NO_LOGIN, str(error)) from error
            except (NotSent, InDoubt) as error:
                log.info("executions cannot be asked for: %s", error)
                continue
            waiting = [row for row in rows if self._ids.is_expected(row, asked)]
            for row in rows:
                if row not in waiting and self._is_new(row):
                    await self._tell_fill(row)
            since = since if waiting else asked

    async def _tell_fill(self, row: wire.ExecutionRow) -> None:
        fill, state = self._records.fill(row), OrderState.PARTIALLY_FILLED
        key, venue_key = fill.client_order_id, fill.venue_order_id
        await self._said.put(ExecutionReport(key, state, venue_key, fill, ts=self._now()))

    def _is_new(self, row: wire.ExecutionRow) -> bool:
        """Whether it was not told yet; from now on it was."""
        if row.id in self._told:
            return False
        self._told[row.id] = None
        return True
