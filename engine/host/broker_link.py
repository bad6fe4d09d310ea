"""One broker: its connection, and the requests to it, each sent once and with a deadline."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from math import inf
from random import Random
from typing import ParamSpec, TypeVar

from engine.brokers.base import BaseBroker, InDoubt, NotPermitted, NotSent, RateLimited
from engine.brokers.turns import SHORTLY_S, Patience, for_a_cancel, patience, with_patience
from engine.brokers.wanted import GONE, while_wanted
from engine.core.clock_offset import TELLS
from engine.core.events import (
    CONNECTING,
    AccountStatement,
    BrokerChanged,
    CancelRejected,
    Event,
    ExecutionReport,
    OrderNotFound,
    ReplaceRejected,
    StatementDue,
    StatementFailed,
    SubmitFailed,
)
from engine.core.model import Order, OrderState, OrderTerms
from engine.core.text import clean
from engine.host.health import AnswerTimes
from engine.host.untold import GRACE_S, LOOK_S, untold
from engine.ops.backoff import Backoff
from engine.ops.errors import UserError
from engine.store.identity import OtherAccount
from engine.view.snapshot import BrokerHealth

P = ParamSpec("P")
T = TypeVar("T")
IsWanted = Callable[[str, OrderState], bool]
"""Whether an order is still in the state in which its request was made: a kill may have come."""

DISCONNECT_S = 1.0
SHUT = "the venue takes no requests for now"
"""Why a cancel waits; for how long is shown with the broker."""
PATIENCE_S = 20.0
"""How long the requests of a statement wait for their turn in all: less than the core's
`LOST_AFTER`."""
CLOCK_S, CLOCK_AGAIN_S = 300.0, 30.0
"""How often a venue's time is asked for: more often while it is another one, or not told."""

log = logging.getLogger(__name__)


class BrokerLink:
    """One broker, and whether it can be traded with.

    It is connected while it says so itself and answers in time: from a request without an answer
    on, and up to the next answer, it counts as not connected. Each request ends within
    `deadline_s` seconds and is answered with an input, whatever the broker does.

    `check` is told the number of each account that it gets to, and raises OtherAccount where the
    books are of another one; that is kept in `other_account`, and the broker is left.
    """

    def __init__(
        self,
        name: str,
        broker: BaseBroker,
        publish: Callable[[Event], None],
        now: Callable[[], int],
        deadline_s: float,
        check: Callable[[str, str], None] = lambda _venue, _number: None,
        random: Random | None = None,
    ) -> None:
        self.name = name
        self.broker = broker
        self.other_account: OtherAccount | None = None
        self.tried = asyncio.Event()
        self._publish = publish
        self._now = now
        self._deadline_s = deadline_s
        self._check = check
        self._backoff = Backoff(random)
        self._connected = False
        self._reason = CONNECTING
        self._mute = False
        self._answers = AnswerTimes()
        self._patience = Patience(0)
        self._cancelling: set[str] = set()
        self._asking: dict[str, Patience] = {}
        self.clock_offset: int | None = None
        """How far market time is ahead of the venue's (ns), as it was when that was asked; None
        where it did not tell."""

    @property
    def health(self) -> BrokerHealth:
        """What was measured of it."""
        room, offset = self.broker.room(), self.clock_offset
        return BrokerHealth(
            self.name,
            self._answers.count,
            self._answers.ms(0.5),
            self._answers.ms(0.99),
            None if room is None else room.left,
            None if room is None else room.most,
            0.0 if room is None else room.shut_s,
            None if offset is None else offset / 1e6,
            0.0 if room is None else room.cancels_s,
        )

    # --- the connection -------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and listen, again and again where either fails; not where it needs a person.
        The pauses between are those of a `Backoff`. `tried` is set once the first attempt has
        ended: requests wait for it."""
        loop = asyncio.get_running_loop()
        while True:
            since = None
            try:
                await self._connect()
                since = loop.time()
                self._set(True)
                self.tried.set()
                async for event in self.broker.stream_fills():
                    self.hear(event)
                self._set(False, "its stream has ended")
            except UserError as error:
                self._set(False, clean(f"{error.message}; {error.remedy}"))
                return
            except Exception as error:
                reason, known = _reason_of(error), isinstance(error, NotSent | InDoubt)
                log.warning("no connection to %s: %s", self.name, reason, exc_info=not known)
                self._set(False, reason)
            finally:
                self.tried.set()
            held_s = 0.0 if since is None else loop.time() - since
            await asyncio.sleep(self._backoff.after(held_s))

    async def _connect(self) -> None:
        async with _deadline(self._deadline_s):
            await self.broker.connect()
        try:
            self._check(self.name, self.broker.account_number)
        except OtherAccount as error:
            self.other_account = error
            await self.disconnect()
            raise

    async def watch_clock(self) -> None:
        """Ask what time the venue has, again and again, for as long as it tells."""
        await self.tried.wait()
        while True:
            every = CLOCK_AGAIN_S
            try:
                before = self._now()
                venue_ts = await self._ask(self.broker.get_time)
                after = self._now()
            except Exception as error:
                log.debug("%s does not tell its time: %s", self.name, _reason_of(error))
            else:
                if venue_ts is None:
                    return
                if after - before < TELLS:  # a slow answer tells too little
                    self.clock_offset = (before + after) // 2 - venue_ts
                    every = CLOCK_S if abs(self.clock_offset) < TELLS else CLOCK_AGAIN_S
            await asyncio.sleep(every)

    async def watch_orders(self, working: Callable[[], Sequence[Order]]) -> None:
        """Say so where the broker has orders that work here otherwise: its stream did not tell.
        `working` are those that are there now."""
        if self.broker.tells_all:
            return
        await self.tried.wait()
        while True:
            await asyncio.sleep(LOOK_S)
            lag = self.broker.capabilities.visibility_lag
            orders = [o for o in working() if self._now() - o.updated_ts >= lag]
            is_due = orders or self._mute  # one that did not answer is asked until it does
            if not is_due or not self._connected or self._patience.is_tried:
                continue
            try:
                suspects = untold(orders, await self._ask(self.broker.get_open_orders))
            except Exception as error:
                log.debug("%s does not list its open orders: %s", self.name, _reason_of(error))
                continue
            if suspects:
                await asyncio.sleep(GRACE_S)
                if any(order in suspects for order in working()):
                    self._publish(StatementDue(self.name, ts=self._now()))

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
                self.broker.account_name,
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
        """Send once. Whatever is not a clear answer leaves the order in doubt. What is not
        permitted will not be in a minute either: the order is rejected, as what a venue refuses."""
        key = order.client_order_id
        await self.tried.wait()
        if not is_wanted(key, OrderState.SUBMITTED):
            self._publish(SubmitFailed(key, False, GONE, ts=self._now()))
            return
        try:
            with while_wanted(partial(is_wanted, key, OrderState.SUBMITTED)):
                answer = await self._timed(self.broker.submit_order, order)
        except NotPermitted as error:
            answer = ExecutionReport(key, OrderState.REJECTED, reason=str(error), ts=self._now())
        except NotSent as error:
            answer = SubmitFailed(key, False, str(error), ts=self._now())
        except Exception as error:
            answer = SubmitFailed(key, True, _reason_of(error), ts=self._now())
        self._publish(answer)

    async def cancel(self, order: Order, is_open: Callable[[str], bool]) -> None:
        """Ask, however long it takes until the venue takes the request. One that is under way is
        not asked for twice, nor while the order itself is asked about: it may have ended. One that
        has to wait, because the venue said so, is told of before it leaves."""
        key = order.client_order_id
        await self.tried.wait()
        asking = self._asking.get(key)
        if key in self._cancelling or (asking is not None and not asking.is_tried):
            return
        self._cancelling.add(key)
        room = self.broker.room()
        if room is not None and room.shut_s:
            self._publish(CancelRejected(key, SHUT, sent=False, ts=self._now()))
        try:
            with for_a_cancel(), with_patience(Patience(inf)), while_wanted(partial(is_open, key)):
                answer = await self._timed(self.broker.cancel_order, order)
        except NotSent as error:
            reason = SHUT if isinstance(error, RateLimited) else str(error)
            answer = CancelRejected(key, reason, sent=False, ts=self._now())
        except Exception as error:
            answer = CancelRejected(key, _reason_of(error), ts=self._now())
        finally:
            self._cancelling.discard(key)
        # All cancels of a kill are on the wire before the first answer is looked at.
        await asyncio.sleep(0)
        self._publish(answer)

    async def replace(self, order: Order, terms: OrderTerms, is_wanted: IsWanted) -> None:
        """Ask once. Without a clear answer the machine asks which terms the order has."""
        key = order.client_order_id
        await self.tried.wait()
        if not is_wanted(key, OrderState.PENDING_REPLACE):
            self._publish(ReplaceRejected(key, GONE, ts=self._now()))
            return
        try:
            with while_wanted(partial(is_wanted, key, OrderState.PENDING_REPLACE)):
                answer = await self._timed(self.broker.replace_order, order, terms)
        except NotSent as error:
            answer = ReplaceRejected(key, str(error), ts=self._now())
        except Exception as error:
            answer = ReplaceRejected(key, _reason_of(error), in_doubt=True, ts=self._now())
        self._publish(answer)

    async def query(self, order: Order) -> None:
        """Ask where the order is, once at a time; no answer is asked again by the machine. About
        one whose cancel was asked for it is asked as for the cancel: else it would wait behind the
        cancels for ever. A statement that waits for its turn tells of every order: nothing takes
        the turn from it."""
        await self.tried.wait()
        key = order.client_order_id
        if self._patience.is_tried or key in self._asking:
            return
        cancelled = order.state is OrderState.PENDING_CANCEL
        asking = Patience(inf if cancelled else SHORTLY_S)
        self._asking[key] = asking
        try:
            with with_patience(asking), for_a_cancel() if cancelled else nullcontext():
                report = await self._ask(self.broker.get_order, order)
        except Exception as error:
            log.warning("no answer about order %s: %s", key, _reason_of(error))
            return
        finally:
            del self._asking[key]
        self._publish(report or OrderNotFound(key, ts=self._now()))

    async def statement(self, asked_ts: int, since: int) -> None:
        """Ask for the whole account. Executions come last, so that none which the positions have
        counted is missing among them."""
        await self.tried.wait()
        self._patience = Patience(PATIENCE_S)
        try:
            with with_patience(self._patience):
                answer = await self._statement(asked_ts, since)
        except Exception as error:
            answer = StatementFailed(self.name, asked_ts, _reason_of(error), ts=self._now())
        self._publish(answer)

    async def _statement(self, asked_ts: int, since: int) -> AccountStatement:
        broker = self.broker
        orders = await self._ask(broker.get_open_orders)
        positions = await self._ask(broker.get_positions)
        balance = await self._ask(broker.get_account_balance)
        fills = await self._ask(broker.get_fills, since)
        return AccountStatement(
            self.name,
            asked_ts,
            tuple(orders),
            tuple(fills),
            dict(positions),
            balance.cash,
            balance.buying_power,
            day_trades=balance.day_trades,
            ts=self._now(),
        )

    async def _timed(
        self, request: Callable[P, Awaitable[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """As `_ask`; how long the answer took is remembered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self._ask(request, *arguments, **named)
        self._answers.add(loop.time() - began - patience().waited)
        return answer

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


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncGenerator[None]:
    """Raises TimeoutError after so long, and InDoubt where the broker's library gives its own work
    up: that is a CancelledError too, and none that was meant for this task."""
    try:
        async with asyncio.timeout(seconds) as deadline:
            patience().deadline = deadline
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
