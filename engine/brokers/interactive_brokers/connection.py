"""A connection to a TWS or an IB Gateway."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, TypeVar

from engine.brokers.base import InDoubt, NotConnected, NotPermitted, NotSent
from engine.brokers.interactive_brokers import wire
from engine.brokers.interactive_brokers.login import Gateway
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import Patience, take_turn, with_patience
from engine.core.text import clean
from engine.ops.errors import UserError

if TYPE_CHECKING:
    import ib_async

T = TypeVar("T")

RATE = 45.0
"""Messages a second; IB ends a connection that sends more than 50."""
WINDOW_S = 1.1
FOR_CANCELS = 15.0
LOST = frozenset({1100, 2110})
"""TWS says that it has lost its own connection."""
BACK = frozenset({1101, 1102})


class Connection:
    """The connection of one client id, made anew with each `open`.

    It is up while TWS has its own connection to Interactive Brokers too: `on_change` is told, with
    the reason where it is down, and not where it has ended.
    """

    def __init__(
        self,
        gateway: Gateway,
        client_id: int,
        on_change: Callable[[bool, str], None] = lambda _up, _reason: None,
    ) -> None:
        self.bucket = TokenBucket(RATE, RATE, FOR_CANCELS, time.monotonic, window_s=WINDOW_S)
        self.client_id = client_id
        self._gateway = gateway
        self._on_change = on_change
        self._ib: ib_async.IB | None = None
        self._up = asyncio.Event()
        self._one = asyncio.Lock()

    async def open(self, *, with_orders: bool) -> "ib_async.IB":
        """Connect; `with_orders` has TWS tell of the open orders of this client.

        Raises UserError where ib_async is missing, NotPermitted where TWS takes no orders,
        NotConnected where there is no TWS, or it does not take the connection.
        """
        self.close()
        try:
            import ib_async
        except ImportError as error:
            raise UserError(
                f"interactive_brokers needs {error.name}, which is not installed",
                "run: pip install 'tradebot-tui[interactive-brokers]'",
            ) from error
        ib_async.util.getLoop.cache_clear()  # it keeps the first loop that it ever saw
        ib = self._ib = ib_async.IB()
        ib.RaiseRequestErrors = True
        ib.client.MaxRequests = 0  # the queue of ib_async has cancels wait: the bucket has room
        said: list[str] = []

        def note(_request: int, _code: int, text: str, _contract: object) -> None:
            said.append(clean(text))

        ib.errorEvent += note
        gateway = self._gateway
        try:
            await ib.connectAsync(
                gateway.host,
                gateway.port,
                self.client_id,
                gateway.timeout_s,
                readonly=not with_orders,
                fetchFields=ib_async.ib.StartupFetch.ORDERS_OPEN,
                raiseSyncErrors=True,
            )
        except (OSError, TimeoutError) as error:
            raise self._refusal(error, said) from error
        finally:
            ib.errorEvent -= note
        ib.errorEvent += self._on_error
        ib.disconnectedEvent += self._up.clear
        self._up.set()
        return ib

    def close(self) -> None:
        self._up.clear()
        ib, self._ib = self._ib, None
        if ib is not None:
            ib.disconnect()

    @property
    def is_connected(self) -> bool:
        """To TWS, whether or not that has its own connection."""
        return self._ib is not None and self._ib.isConnected()

    @property
    def is_up(self) -> bool:
        return self.is_connected and self._up.is_set()

    @property
    def ib(self) -> "ib_async.IB":
        """Raises NotConnected where nothing can be asked for now."""
        if self._ib is None or not self._ib.isConnected():
            raise NotConnected("not connected to TWS or IB Gateway")
        if not self._up.is_set():
            raise NotConnected("TWS is not connected to Interactive Brokers")
        return self._ib

    def _refusal(self, error: Exception, said: list[str]) -> Exception:
        where = f"{self._gateway.host}:{self._gateway.port}"
        if any("read-only" in text.lower() for text in said):
            return NotPermitted(
                f"the API of TWS at {where} is read-only; allow orders in its settings of the API"
            )
        reason = said[-1] if said else type(error).__name__
        return NotConnected(f"no TWS or IB Gateway at {where} ({reason})")

    def _on_error(self, _request: int, code: int, text: str, _contract: object) -> None:
        if code in LOST and self._up.is_set():
            self._up.clear()
            self._on_change(False, clean(text))
        elif code in BACK and not self._up.is_set():
            self._up.set()
            self._on_change(True, "")

    async def turn(self) -> None:
        """Wait, however long, until a message may leave, and count it."""
        with with_patience(Patience(inf)):
            await take_turn(self.bucket)

    # --- questions ------------------------------------------------------------------------------

    async def ask(
        self, request: "Callable[[ib_async.IB], Awaitable[T]]", timeout_s: float | None = None
    ) -> T:
        """The answer to a question, for which a connection that comes back is waited for. Raises
        NotConnected where none does, InDoubt where there is no answer in time, NotSent where IB
        refuses."""
        from ib_async import RequestError

        try:
            async with asyncio.timeout(self._gateway.timeout_s):
                await self._up.wait()
        except TimeoutError as error:
            raise NotConnected("not connected to TWS or IB Gateway") from error
        await take_turn(self.bucket)
        ib = self.ib
        asking = asyncio.ensure_future(request(ib))
        lost = asyncio.ensure_future(_lost(ib))
        try:
            await asyncio.wait(
                [asking, lost],
                timeout=timeout_s or self._gateway.timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if asking.done() and not asking.cancelled():
                return asking.result()
            raise InDoubt("no answer from TWS or IB Gateway")
        except RequestError as error:
            raise wire.refusal(error.code, error.message) from error
        except ConnectionError as error:
            raise InDoubt("the connection ended before an answer came") from error
        finally:
            asking.cancel()
            lost.cancel()

    async def ask_alone(self, request: "Callable[[ib_async.IB], Awaitable[T]]") -> T:
        """As `ask`, for what has no number on the wire: a late end of the one before would be taken
        for the end of the next. So there is one at a time, and one that was asked and has no answer
        ends the connection that it was asked on."""
        asked: list[ib_async.IB] = []

        def note(ib: "ib_async.IB") -> Awaitable[T]:
            asked.append(ib)
            return request(ib)

        async with self._one:
            try:
                return await self.ask(note)
            except (InDoubt, asyncio.CancelledError):
                for ib in asked:
                    ib.disconnect()
                raise

    async def answer(
        self, ib: "ib_async.IB", trade: "ib_async.Trade", is_answered: Callable[[], bool]
    ) -> tuple[int, str]:
        """Wait until IB has answered about `trade`: its error, or 0 and no text. Raises InDoubt
        where there is no answer in time, or the line is cut; never NotSent, as it was."""
        changed = asyncio.Event()
        errors: list[tuple[int, str]] = []

        def note(*_: object) -> None:
            changed.set()

        def note_error(request: int, code: int, text: str, _contract: object) -> None:
            if request == trade.order.orderId and code not in wire.REMARKS:
                errors.append((code, clean(text)))

        ib.errorEvent += note_error
        ib.updateEvent += note
        ib.disconnectedEvent += note
        try:
            async with asyncio.timeout(self._gateway.timeout_s):
                while not errors and not is_answered():
                    if not ib.isConnected():
                        raise InDoubt("the connection ended before an answer came")
                    await changed.wait()
                    changed.clear()
        except TimeoutError as error:
            raise InDoubt("no answer in time") from error
        finally:
            ib.errorEvent -= note_error
            ib.updateEvent -= note
            ib.disconnectedEvent -= note
        return errors[0] if errors else (0, "")

    async def details(self, name: str, currency: str) -> "list[ib_async.ContractDetails]":
        """The stocks that IB calls `name`, in `currency`. Raises NotSent where there are none, or
        no answer, also where that was lost: no order was on its way."""
        import ib_async

        wanted = ib_async.Stock(name, "SMART", currency)
        try:
            found = await self.ask(lambda ib: ib.reqContractDetailsAsync(wanted))
        except InDoubt as error:
            raise NotConnected(f"{clean(name)} cannot be looked up: {error}") from error
        return [details for details in found if details.contract is not None]

    async def contract(self, name: str, currency: str) -> "ib_async.Contract":
        """The one stock of that name. Raises NotSent where there is none, or more than one."""
        found = await self.details(name, currency)
        if len(found) != 1 or found[0].contract is None:
            raise NotSent(f"Interactive Brokers has {len(found)} stocks {clean(name)}")
        return found[0].contract


async def _lost(ib: "ib_async.IB") -> None:
    await ib.disconnectedEvent
