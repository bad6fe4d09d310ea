"""Answers what is asked of the engine, and never makes it late.

What is in memory is read on the engine's loop, no more of it than is asked for. What is in the
database is read in a thread, by a connection of its own that cannot write, one reading at a time
and none for long. A session of the past is asked in the same way: only up to where it is.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar, cast

from msgspec.structs import replace
from sqlalchemy import Connection

from engine.core.events import Event, OrderEvent
from engine.core.machine import Machine
from engine.core.model import ZERO, Fill, Order, OrderPurpose, Position
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.store import audited, equity, history
from engine.store.audited import Until
from engine.store.database import read_database
from engine.store.place import Place
from engine.view.causes import Causes
from engine.view.explaining import GUARDING, guard, order_chain, position_chain, signal_chain
from engine.view.questions import (
    MOST_WAITING,
    Answer,
    Bars,
    Chain,
    Chart,
    Equity,
    Fills,
    MeantPart,
    Orders,
    Question,
    Step,
    WhichPart,
    WhyFill,
    WhyOrder,
    WhyPosition,
    WhySignal,
)
from engine.view.view import View

READING_S = 5.0
"""How long the database may take for one answer; and how long a question waits for its turn."""

OLD_SIGNAL = "ask of the order that was made from it, if one was"

A = TypeVar("A", bound=Answer)
T = TypeVar("T")

log = logging.getLogger(__name__)


class Answers:
    """To be used on the engine's loop alone. Of the database nothing counts that came after `until`
    says; without it, all that is there."""

    def __init__(
        self,
        machine: Machine,
        view: View,
        causes: Causes,
        place: Place,
        until: Callable[[], Until | None] = lambda: None,
    ) -> None:
        self._machine = machine
        self._view = view
        self._causes = causes
        self._place = place
        self._until = until
        self._reading = asyncio.Lock()
        self._under_way: set[asyncio.Task[Answer]] = set()
        self._closed = False

    def ask(self, question: Question[A], answer: Future[A]) -> None:
        """Have `answer` bring what is asked for, or a UserError that says why not."""
        if not answer.set_running_or_notify_cancel():
            return
        if self._closed:
            answer.set_exception(has_ended())
        elif len(self._under_way) >= MOST_WAITING:
            refused = "the engine has too many questions to answer"
            answer.set_exception(UserError(refused, "ask again in a moment"))
        else:
            task = asyncio.get_running_loop().create_task(self.find(question))
            self._under_way.add(task)
            task.add_done_callback(partial(self._bring, answer))

    async def close(self) -> None:
        """Nothing is answered any more; who waits for an answer is told so."""
        self._closed = True
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _bring(self, answer: Future[Any], task: asyncio.Task[Answer]) -> None:
        self._under_way.discard(task)
        if task.cancelled():
            answer.set_exception(has_ended())
        elif (error := task.exception()) is None:
            answer.set_result(task.result())
        else:
            answer.set_exception(error)

    async def find(self, question: Question[A]) -> A:
        """What is asked for. Raises UserError that says why there is no answer."""
        try:
            return cast("A", await self._find(question))
        except UserError:
            raise
        except Exception as error:
            log.error("a question found no answer", exc_info=error)
            what = f"no answer: {type(error).__name__}"
            raise UserError(what, "see the log of the engine") from error

    async def _find(self, question: Question[Any]) -> Answer:
        until = self._until()
        match question:
            case Bars():
                return self._chart(question)
            case Equity():
                return await self._read(partial(equity.curve, asked=question, until=until))
            case Orders():
                known = {} if until is None else self._machine.orders.orders
                page = partial(history.orders, asked=question, until=until, known=known)
                return await self._read(page)
            case Fills():
                rows = () if until is None else self._view.executions
                heard = {(row.fill.execution_id, row.fill.symbol): row for row in rows}
                fills = partial(history.executions, asked=question, until=until, known=heard)
                return await self._read(fills)
            case WhySignal():
                return self._why_signal(question)
            case WhyOrder():
                return await self._why_order(question.client_order_id)
            case WhyFill():
                return await self._why_fill(question)
            case WhyPosition():
                return await self._why_position(question)
            case WhichPart(part):
                parts = self._machine.parts
                return MeantPart(parts.meant(part), parts.unknown(part))
            case _:
                raise TypeError(f"no way to answer {type(question).__name__}")

    async def _read(self, work: Callable[[Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(READING_S):
                await self._reading.acquire()
        except TimeoutError:
            busy = "the database is still at the questions before this one"
            raise UserError(busy, "ask again in a moment") from None
        try:
            return await loop.run_in_executor(None, read_database, self._place, work, READING_S)
        finally:
            self._reading.release()

    def _chart(self, asked: Bars) -> Chart:
        market = self._machine.market.symbols.get(asked.symbol)
        if market is None:
            raise UserError(f"no symbol {clean(asked.symbol)}", "ask for one that has quotes")
        bars = tuple(islice(reversed(market.bars), max(0, asked.count)))[::-1]
        since = bars[0].start if bars else self._machine.bus.now
        symbol, view = asked.symbol, self._view
        fills = tuple(f for f in view.fills if f.symbol == symbol and f.ts >= since)
        rows = (row for row in view.signals if row.signal.symbol == symbol)
        return Chart(symbol, bars, fills, tuple(r for r in rows if r.signal.ts >= since))

    # --- why --------------------------------------------------------------------------------------

    def _why_signal(self, asked: WhySignal) -> Chain:
        story = self._causes.signals.get(asked.seq)
        if story is None:
            raise UserError(f"nothing is known of signal {asked.seq} any more", OLD_SIGNAL)
        return signal_chain(story.facts, story.dropped)

    async def _why_order(self, client_order_id: str) -> Chain:
        order, facts, dropped = await self._story(client_order_id)
        guards = await self._guards(order, facts) if order.purpose in GUARDING else ()
        return order_chain(order, facts, dropped, guards)

    async def _story(self, client_order_id: str) -> audited.Told:
        """From memory; what is older, or of a former session, from the audit log."""
        order = self._machine.orders.orders.get(client_order_id)
        story = self._causes.orders.get(client_order_id)
        if order is not None and story is not None:
            return order, story.facts, story.dropped
        asked = partial(audited.story, client_order_id=client_order_id, until=self._until())
        found, facts, dropped = await self._read(asked)
        return order or found, facts, dropped

    async def _guards(self, order: Order, facts: Sequence[Event]) -> tuple[Step, ...]:
        """From the entry of which a fill brought the order about; else from the last before it."""
        told = [fact.order for fact in facts if isinstance(fact, OrderEvent)]
        entries = [o for o in told if o.purpose is OrderPurpose.ENTRY] or [
            o
            for o in self._machine.orders.orders.values()
            if (o.strategy, o.symbol) == (order.strategy, order.symbol)
            and o.purpose is OrderPurpose.ENTRY
            and o.filled
            and o.created_ts <= order.created_ts
        ]
        if not entries:
            return ()
        entry = max(entries, key=attrgetter("created_ts")).client_order_id
        _, about, _ = await self._story(entry)
        return guard(about, entry)

    async def _why_fill(self, asked: WhyFill) -> Chain:
        key = (asked.execution_id, asked.symbol)
        fills = self._view.fills
        fill = next((f for f in fills if (f.execution_id, f.symbol) == key), None)
        if fill is None:
            it = partial(history.fill, execution_id=key[0], symbol=key[1], until=self._until())
            fill = await self._read(it)
        chain = await self._why_order(fill.client_order_id)
        return replace(chain, title=f"fill {clean(fill.execution_id)} of {chain.title}")

    async def _why_position(self, asked: WhyPosition) -> Chain:
        key = (asked.strategy, asked.symbol)
        position = self._machine.portfolio.positions.get(key)
        if position is None or not position.quantity:
            what = f"{clean(asked.strategy)} holds no {clean(asked.symbol)}"
            raise UserError(what, "ask why of one of the positions")
        fills = [f for f in self._view.fills if _is_in(f, position)]
        if sum((f.position_change for f in fills), ZERO) != position.quantity:
            asked_for = partial(history.fills, position=position, until=self._until())
            fills = await self._read(asked_for)
        if not fills:
            raise UserError(f"no execution of {clean(asked.symbol)} is recorded", "see the log")
        chain = await self._why_order(first := fills[0].client_order_id)
        later = [fill for fill in fills if fill.client_order_id != first]
        resting = self._machine.orders.open_orders(*key)
        stops = [o for o in resting if o.purpose is OrderPurpose.PROTECTIVE_STOP]
        return position_chain(position, chain, later, stops)


def _is_in(fill: Fill, position: Position) -> bool:
    """Whether an execution is of the round trip that is open."""
    mine = (fill.strategy, fill.symbol) == (position.strategy, position.symbol)
    return mine and fill.ts >= position.opened_ts


def is_starting() -> UserError:
    return UserError("the engine is starting", "ask again when it has started")


def has_ended() -> UserError:
    return UserError("the engine has ended", "start it again, and ask again")
