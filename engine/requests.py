"""Requests to brokers: each in a task of its own and with a deadline, sent once.

Nothing here waits for another request, so a broker that never answers holds up no other one, and
no cancel waits behind a submit.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from engine.brokers.base import BaseBroker, InDoubt, NotSent
from engine.core.events import (
    AccountStatement,
    BarClosed,
    BrokerChanged,
    CancelOrder,
    CancelRejected,
    Effect,
    Event,
    OrderNotFound,
    QueryOrder,
    QuoteUpdate,
    ReplaceOrder,
    ReplaceRejected,
    RequestStatement,
    StatementFailed,
    SubmitFailed,
    SubmitOrder,
)
from engine.core.model import Order, OrderState, OrderTerms
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.tasks import Tasks

P = ParamSpec("P")
T = TypeVar("T")
IsWanted = Callable[[str, OrderState], bool]
"""Whether an order is still in the state in which its request was made: a kill may have come."""

CONNECT_AGAIN_S = 1.0
CONNECT_AGAIN_MOST_S = 30.0
DISCONNECT_S = 1.0

log = logging.getLogger(__name__)


class InFlight:
    """How many intents and requests are under way, and one more while too many facts wait for the
    disk; `idle` is set while there are none."""

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def begin(self) -> None:
        self.count += 1
        self.idle.clear()

    def end(self) -> None:
        self.count -= 1
        if not self.count:
            self.idle.set()


class BrokerLink:
    """One broker, and whether it can be traded with.

    It is connected while it says so itself and answers in time: from a request without an answer
    on, and up to the next answer, it counts as not connected. Each request ends within
    `deadline_s` seconds and is answered with an input, whatever the broker does.
    """

    def __init__(
        self,
        name: str,
        broker: BaseBroker,
        publish: Callable[[Event], None],
        now: Callable[[], int],
        deadline_s: float,
    ) -> None:
        self.name = name
        self.broker = broker
        self.tried = asyncio.Event()
        self._publish = publish
        self._now = now
        self._deadline_s = deadline_s
        self._connected = False
        self._reason = "connecting"
        self._mute = False

    # --- the connection -------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and listen, again and again where either fails; not where it needs a person.
        `tried` is set once the first attempt has ended: requests wait for it."""
        pause = CONNECT_AGAIN_S
        while True:
            try:
                async with _deadline(self._deadline_s):
                    await self.broker.connect()
                self._set(True)
                self.tried.set()
                pause = CONNECT_AGAIN_S
                async for event in self.broker.stream_fills():
                    self.hear(event)
                self._set(False, "its stream has ended")
            except UserError as error:
                self._set(False, clean(f"{error.message}; {error.remedy}"))
                return
            except Exception as error:
                log.warning("no connection to %s", self.name, exc_info=error)
                self._set(False, _reason_of(error))
            finally:
                self.tried.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, CONNECT_AGAIN_MOST_S)

    async def disconnect(self) -> None:
        try:
            async with _deadline(DISCONNECT_S):
                await self.broker.disconnect()
        except Exception as error:
            log.warning("%s did not disconnect in order", self.name, exc_info=error)

    def announce(self) -> None:
        reason = "does not answer" if self._connected and self._mute else self._reason
        connected = self._connected and not self._mute
        self._publish(
            BrokerChanged(
                self.name,
                connected,
                reason,
                self.broker.live,
                self.broker.capabilities,
                ts=self._now(),
            )
        )

    def hear(self, event: Event) -> None:
        """What the broker says without being asked."""
        if isinstance(event, BrokerChanged):
            self._set(event.connected, event.reason)
        else:
            self._publish(event)

    def _set(self, connected: bool, reason: str = "") -> None:
        self._connected, self._reason, self._mute = connected, reason, False
        self.announce()

    def _note(self, answered: bool) -> None:
        if self._mute == answered:
            self._mute = not answered
            self.announce()

    # --- requests -------------------------------------------------------------------------------

    async def submit(self, order: Order, is_wanted: IsWanted) -> None:
        """Send once. Whatever is not a clear answer leaves the order in doubt."""
        key = order.client_order_id
        await self.tried.wait()
        if not is_wanted(key, OrderState.SUBMITTED):
            self._publish(SubmitFailed(key, False, "cancelled before it left", ts=self._now()))
            return
        try:
            answer = await self._ask(self.broker.submit_order, order)
        except NotSent as error:
            answer = SubmitFailed(key, False, str(error), ts=self._now())
        except Exception as error:
            answer = SubmitFailed(key, True, _reason_of(error), ts=self._now())
        self._publish(answer)

    async def cancel(self, order: Order) -> None:
        await self.tried.wait()
        try:
            answer = await self._ask(self.broker.cancel_order, order)
        except Exception as error:
            answer = CancelRejected(order.client_order_id, _reason_of(error), ts=self._now())
        # All cancels of a kill are on the wire before the first answer is looked at.
        await asyncio.sleep(0)
        self._publish(answer)

    async def replace(self, order: Order, terms: OrderTerms, is_wanted: IsWanted) -> None:
        """Ask once. Without a clear answer the machine asks which terms the order has."""
        key = order.client_order_id
        await self.tried.wait()
        if not is_wanted(key, OrderState.PENDING_REPLACE):
            self._publish(ReplaceRejected(key, "cancelled before it left", ts=self._now()))
            return
        try:
            answer = await self._ask(self.broker.replace_order, order, terms)
        except NotSent as error:
            answer = ReplaceRejected(key, str(error), ts=self._now())
        except Exception as error:
            answer = ReplaceRejected(key, _reason_of(error), in_doubt=True, ts=self._now())
        self._publish(answer)

    async def query(self, order: Order) -> None:
        """Ask where the order is; no answer is asked again by the machine."""
        await self.tried.wait()
        key = order.client_order_id
        try:
            report = await self._ask(self.broker.get_order, order)
        except Exception as error:
            log.warning("no answer about order %s: %s", key, _reason_of(error))
            return
        self._publish(report or OrderNotFound(key, ts=self._now()))

    async def statement(self, asked_ts: int, since: int) -> None:
        """Ask for the whole account. Executions come last, so that none which the positions have
        counted is missing among them."""
        await self.tried.wait()
        try:
            answer = await self._ask(self._statement, asked_ts, since)
        except Exception as error:
            answer = StatementFailed(self.name, asked_ts, _reason_of(error), ts=self._now())
        self._publish(answer)

    async def _statement(self, asked_ts: int, since: int) -> AccountStatement:
        broker = self.broker
        orders = await broker.get_open_orders()
        positions = await broker.get_positions()
        balance = await broker.get_account_balance()
        fills = await broker.get_fills(since)
        return AccountStatement(
            self.name,
            asked_ts,
            tuple(orders),
            tuple(fills),
            dict(positions),
            balance.cash,
            balance.buying_power,
            ts=self._now(),
        )

    async def _ask(
        self, request: Callable[P, Awaitable[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """The answer to a request. Raises what the broker does, TimeoutError past the deadline."""
        try:
            async with _deadline(self._deadline_s):
                answer = await request(*arguments, **named)
        except TimeoutError:
            self._note(answered=False)
            raise
        except (NotSent, InDoubt):
            raise
        except Exception as error:
            log.error("%s failed at %s", self.name, clean(str(request)), exc_info=error)
            raise
        self._note(answered=True)
        return answer


class Requests:
    """Carries out the effects that concern brokers; each order goes to its instrument's `venue`.

    `failed` is told of an error that is none of a broker's: then half-blind is not traded.
    """

    def __init__(
        self,
        links: Mapping[str, BrokerLink],
        venues: Mapping[str, str],
        is_wanted: IsWanted,
        in_flight: InFlight,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._links = links
        self._venues = venues
        self._is_wanted = is_wanted
        self._in_flight = in_flight
        self._tasks = Tasks(failed)

    def carry_out(self, effect: Effect) -> bool:
        """Start the request; False where the effect is none for a broker."""
        match effect:
            case SubmitOrder(order=order):
                self._start(self._link(order).submit(order, self._is_wanted))
            case CancelOrder(order=order):
                self._start(self._link(order).cancel(order))
            case ReplaceOrder(order=order, terms=terms):
                self._start(self._link(order).replace(order, terms, self._is_wanted))
            case QueryOrder(order=order):
                self._start(self._link(order).query(order))
            case RequestStatement(broker=name, asked_ts=asked_ts, since=since):
                self._start(self._links[name].statement(asked_ts, since))
            case _:
                return False
        return True

    def on_market(self, event: QuoteUpdate | BarClosed) -> None:
        """Market data, before the machine sees it: what a simulated broker says of them comes
        first."""
        for link in self._links.values():
            for said in link.broker.on_market(event):
                link.hear(said)

    def announce(self) -> None:
        """Say of each broker whether it is connected."""
        for link in self._links.values():
            link.announce()

    async def run(self) -> None:
        """Keep the connections to all brokers, and listen to them, until cancelled or until each
        needs a person."""
        await asyncio.gather(*(link.run() for link in self._links.values()))

    async def tried(self) -> None:
        """Until the first attempt to connect to each broker has ended."""
        for link in self._links.values():
            await link.tried.wait()

    async def close(self) -> None:
        """Give up what is still under way, and disconnect."""
        await self._tasks.close()
        await asyncio.gather(*(link.disconnect() for link in self._links.values()))

    def _link(self, order: Order) -> BrokerLink:
        return self._links[self._venues[order.symbol]]

    def _start(self, request: Coroutine[Any, Any, None]) -> None:
        self._in_flight.begin()
        self._tasks.start(request).add_done_callback(lambda _: self._in_flight.end())


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncGenerator[None]:
    """Raises TimeoutError after so long, and InDoubt where the broker's library gives its own work
    up: that is a CancelledError too, and none that was meant for this task."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise InDoubt("the broker's library gave up") from error


def _reason_of(error: Exception) -> str:
    """What to tell of a failed request. The text of an error that is no broker's may hold secrets,
    so only its name is told."""
    if isinstance(error, NotSent | InDoubt):
        return str(error) or "no answer"
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
