"""The broker Interactive Brokers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import structs

from engine.brokers.base import Balance, BaseBroker, InDoubt, NotConnected, NotSent
from engine.brokers.interactive_brokers import wire
from engine.brokers.throttle import TokenBucket
from engine.core.events import (
    CancelRejected,
    Event,
    ExecutionReport,
    ReplaceRejected,
    VenueOrder,
)
from engine.core.model import (
    EXTERNAL,
    FINAL_STATES,
    NANOS,
    ZERO,
    Capabilities,
    Fill,
    Idempotency,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
    nanos,
)
from engine.core.text import clean
from engine.ops.errors import UserError

if TYPE_CHECKING:
    import ib_async

T = TypeVar("T")
S = OrderState

RATE = 45.0
"""Messages a second; IB ends a connection that sends more than 50."""
FOR_CANCELS = 15.0


class InteractiveBrokers(BaseBroker):
    """One account at Interactive Brokers.

    The client order id is the order's `orderRef`, which IB does not keep unique. Executions are
    those of the day: IB tells of no others. `timeout_s` is for one request.
    """

    name = "interactive_brokers"
    capabilities = Capabilities(
        order_types=tuple(wire.TYPES),
        times_in_force=wire.TIMES,
        replace=True,
        idempotency=Idempotency.NONE,
        visibility_lag=5 * NANOS,
    )

    def __init__(
        self,
        instruments: Iterable[Instrument],
        now: Callable[[], int],
        *,
        host: str = "127.0.0.1",
        port: int = 7497,
        client_id: int = 1,
        account: str = "",
        timeout_s: float = 5.0,
    ) -> None:
        self._instruments = {i.symbol.removeprefix(wire.PREFIX): i for i in instruments}
        self._now = now
        self._host, self._port, self._client_id = host, port, client_id
        self._wanted = account
        self._account = ""
        self._timeout_s = timeout_s
        self._ib: ib_async.IB | None = None
        self._bucket = TokenBucket(RATE, RATE, FOR_CANCELS, time.monotonic)
        self._contracts: dict[str, ib_async.Contract] = {}
        self._errors: dict[int, tuple[int, str]] = {}
        self._news: asyncio.Queue[Event | None] = asyncio.Queue()
        self._up = asyncio.Event()
        self._listing = asyncio.Lock()

    # --- the connection -------------------------------------------------------------------------

    async def connect(self) -> None:
        await self.disconnect()
        try:
            import ib_async
        except ImportError as error:
            raise UserError(
                f"the broker {self.name} needs {error.name}, which is not installed",
                "run: pip install 'tradebot-tui[interactive-brokers]'",
            ) from error
        ib_async.util.getLoop.cache_clear()  # it keeps the first loop that it ever saw
        ib = self._ib = ib_async.IB()
        ib.RaiseRequestErrors = True
        ib.client.MaxRequests = 0  # the queue of ib_async has cancels wait: the bucket has room
        try:
            await ib.connectAsync(
                self._host,
                self._port,
                self._client_id,
                self._timeout_s,
                fetchFields=ib_async.ib.StartupFetch.ORDERS_OPEN,
                raiseSyncErrors=True,
            )
        except (OSError, TimeoutError) as error:
            where = f"{self._host}:{self._port}"
            raise NotConnected(
                f"no TWS or IB Gateway at {where} ({type(error).__name__})"
            ) from error
        self._account = _choose(ib.managedAccounts(), self._wanted)
        self._news = asyncio.Queue()
        ib.orderStatusEvent += self._on_status
        ib.commissionReportEvent += self._on_execution
        ib.errorEvent += self._on_error
        ib.disconnectedEvent += self._on_disconnected
        self._up.set()

    async def disconnect(self) -> None:
        self._up.clear()
        ib, self._ib = self._ib, None
        if ib is not None:
            ib.disconnect()

    async def stream_fills(self) -> AsyncIterator[Event]:
        """Until the connection is lost: it is one with that of the requests."""
        news = self._news
        while (event := await news.get()) is not None:
            yield event

    def _on_status(self, trade: "ib_async.Trade") -> None:
        if trade.order.orderRef and not wire.is_still_there(trade):
            self._news.put_nowait(self._report(trade))

    def _on_execution(
        self, trade: "ib_async.Trade", fill: "ib_async.Fill", _: "ib_async.CommissionReport"
    ) -> None:
        ours = self._fill(fill)
        report = self._report(trade)
        report = structs.replace(report, state=S.PARTIALLY_FILLED, fill=ours, terms=None)
        self._news.put_nowait(report)

    def _on_error(self, request: int, code: int, text: str, _: object) -> None:
        self._errors[request] = (code, clean(text))

    def _on_disconnected(self) -> None:
        self._up.clear()
        self._news.put_nowait(None)

    def _connected(self) -> "ib_async.IB":
        if self._ib is None or not self._ib.isConnected():
            raise NotConnected("not connected to TWS or IB Gateway")
        return self._ib

    # --- orders ---------------------------------------------------------------------------------

    async def submit_order(self, order: Order) -> ExecutionReport:
        self._connected()
        contract = await self._contract(order.symbol)
        asked, ib = self._order(order, order.terms), self._connected()
        self._bucket.take()
        trade = ib.placeOrder(contract, asked)
        await self._until(trade, lambda: trade.orderStatus.status not in wire.UNANSWERED)
        return self._report(trade)

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        trade = await self._find(order)
        if trade is None or trade.isDone():
            return ReplaceRejected(order.client_order_id, "not open", ts=self._now())
        self._bucket.take()
        asked = self._order(order, terms)
        asked.orderId, asked.permId, asked.clientId = (
            trade.order.orderId,
            trade.order.permId,
            trade.order.clientId,
        )
        seen = len(trade.log)
        self._errors.pop(asked.orderId, None)
        self._connected().placeOrder(trade.contract, asked)
        await self._until(trade, lambda: len(trade.log) > seen + 1)
        if refused := self._errors.get(asked.orderId):
            return ReplaceRejected(order.client_order_id, refused[1], ts=self._now())
        return self._report(trade)

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        key = order.client_order_id
        trade = await self._find(order)
        if trade is None or trade.isDone():
            reason = "unknown order" if trade is None else f"too late: {trade.orderStatus.status}"
            return CancelRejected(key, reason, ts=self._now())
        number = trade.order.orderId
        self._errors.pop(number, None)
        self._bucket.take(cancel=True)
        self._connected().cancelOrder(trade.order)
        await self._until(trade, lambda: trade.isDone() or number in self._errors)
        code, reason = self._errors.get(number, (wire.CANCELED, ""))
        if code != wire.CANCELED or trade.orderStatus.status == "Filled":
            return CancelRejected(key, reason or "too late", ts=self._now())
        return self._report(trade)

    async def get_order(self, order: Order) -> ExecutionReport | None:
        """Where it is among the open orders; else by the executions of the day, or as this session
        saw its end."""
        key = order.client_order_id
        listed = [t for t in await self._open_trades() if t.order.orderRef == key]
        if listed:
            return self._report(listed[0])
        fills = [f for f in await self.get_fills(0) if f.client_order_id == key]
        filled = sum((fill.quantity for fill in fills), ZERO)
        seen = self._seen(key)
        if filled >= order.quantity:
            venue_id = fills[-1].venue_order_id
            return ExecutionReport(key, S.FILLED, venue_id, fills[-1], ts=self._now())
        return None if seen is None or not seen.isDone() else self._report(seen)

    async def _find(self, order: Order) -> "ib_async.Trade | None":
        known = self._seen(order.client_order_id)
        if known is not None:
            return known
        await self._open_trades()
        return self._seen(order.client_order_id)

    def _seen(self, key: str) -> "ib_async.Trade | None":
        trades = [t for t in self._connected().trades() if t.order.orderRef == key]
        return trades[-1] if trades else None

    async def _until(self, trade: "ib_async.Trade", is_answered: Callable[[], bool]) -> None:
        """Wait for the answer. Raises InDoubt where there is none in time, or the line is cut."""
        ib, changed = self._connected(), asyncio.Event()

        def note(*_: object) -> None:
            changed.set()

        events = (trade.statusEvent, trade.modifyEvent, ib.errorEvent, ib.disconnectedEvent)
        for event in events:
            event += note
        try:
            async with asyncio.timeout(self._timeout_s):
                while not is_answered():
                    if not ib.isConnected():
                        raise InDoubt("the connection ended before an answer came")
                    await changed.wait()
                    changed.clear()
        except TimeoutError as error:
            raise InDoubt("no answer in time") from error
        finally:
            for event in events:
                event -= note

    # --- the account ----------------------------------------------------------------------------

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        orders = [self._venue_order(trade) for trade in await self._open_trades()]
        return [order for order in orders if order.state not in FINAL_STATES]

    async def _open_trades(self) -> "list[ib_async.Trade]":
        async with self._listing:  # ib_async takes one such request at a time
            return await self._ask(lambda ib: ib.reqAllOpenOrdersAsync())

    async def get_fills(self, since: int) -> Sequence[Fill]:
        await self._ask(lambda ib: ib.reqExecutionsAsync())
        fills = map(self._fill, self._connected().fills())  # these have their commissions
        return [fill for fill in fills if fill.ts >= since]

    async def get_positions(self) -> Mapping[str, Decimal]:
        held = await self._ask(lambda ib: ib.reqPositionsAsync())
        return {
            self._symbol(p.contract.symbol): wire.exact(p.position)
            for p in held
            if p.account == self._account
        }

    async def get_account_balance(self) -> Balance:
        values: dict[str, Decimal] = {}
        for value in await self._ask(self._summary):
            if value.account == self._account and value.value:
                values[value.tag] = Decimal(value.value)
        return Balance(values.get("TotalCashValue"), values.get("BuyingPower"))

    async def _summary(self, ib: "ib_async.IB") -> "list[ib_async.AccountValue]":
        """Asked for anew: what ib_async subscribes to comes every few minutes."""
        client: Any = ib.client
        wrapper: Any = ib.wrapper
        request = client.getReqId()
        answered = wrapper.startReq(request)
        client.reqAccountSummary(request, "All", "TotalCashValue,BuyingPower")
        await answered
        client.cancelAccountSummary(request)
        return list(wrapper.acctSummary.values())

    async def get_quote(self, symbol: str) -> Quote | None:
        if symbol.removeprefix(wire.PREFIX) not in self._instruments:
            return None
        contract = await self._contract(symbol)
        (ticker,) = await self._ask(lambda ib: ib.reqTickersAsync(contract))
        quote = Quote(symbol, self._now(), ticker.bid, ticker.ask, ticker.bidSize, ticker.askSize)
        return quote if quote.is_sound else None

    async def _ask(self, request: "Callable[[ib_async.IB], Awaitable[T]]") -> T:
        """The answer to a question, for which a connection that comes back is waited for. Raises
        NotConnected where none does, InDoubt where there is no answer in time, NotSent where IB
        refuses."""
        from ib_async import RequestError

        try:
            async with asyncio.timeout(self._timeout_s):
                await self._up.wait()
        except TimeoutError as error:
            raise NotConnected("not connected to TWS or IB Gateway") from error
        ib = self._connected()
        self._bucket.take()
        asking = asyncio.ensure_future(request(ib))
        lost = asyncio.ensure_future(_lost(ib))
        try:
            await asyncio.wait(
                [asking, lost], timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if asking.done() and not asking.cancelled():
                return asking.result()
            raise InDoubt("no answer from TWS or IB Gateway")
        except RequestError as error:
            raise NotSent(f"Interactive Brokers: {clean(error.message)}") from error
        except ConnectionError as error:
            raise InDoubt("the connection ended before an answer came") from error
        finally:
            asking.cancel()
            lost.cancel()

    # --- theirs and ours ------------------------------------------------------------------------

    async def _contract(self, symbol: str) -> "ib_async.Contract":
        """What IB trades as `symbol`, asked for once. Raises NotSent where it has no such, or not
        one alone, or there is no answer."""
        import ib_async

        if symbol not in self._contracts:
            name = symbol.removeprefix(wire.PREFIX)
            wanted = ib_async.Stock(name, "SMART", self._instruments[name].currency)
            try:
                found = await self._ask(lambda ib: ib.reqContractDetailsAsync(wanted))
            except InDoubt as error:
                raise NotConnected(f"{symbol} cannot be looked up: {error}") from error
            contracts = [details.contract for details in found if details.contract is not None]
            if len(contracts) != 1:
                raise NotSent(f"Interactive Brokers has {len(contracts)} stocks {symbol}")
            self._contracts[symbol] = contracts[0]
        return self._contracts[symbol]

    def _symbol(self, name: str) -> str:
        instrument = self._instruments.get(name)
        return wire.PREFIX + clean(name) if instrument is None else instrument.symbol

    def _order(self, order: Order, terms: OrderTerms) -> "ib_async.Order":
        import ib_async

        asked = ib_async.Order(
            action=order.side.upper(),
            totalQuantity=wire.as_float(terms.quantity),
            orderType=wire.TYPES[order.type],
            tif=order.time_in_force.upper(),
            account=self._account,
            orderRef=order.client_order_id,
        )
        if terms.limit_price is not None:
            asked.lmtPrice = wire.as_float(terms.limit_price)
        if terms.stop_price is not None:
            asked.auxPrice = wire.as_float(terms.stop_price)
        return asked

    def _report(self, trade: "ib_async.Trade") -> ExecutionReport:
        state = wire.state_of(trade)
        reason = trade.log[-1].message if state is S.REJECTED and trade.log else ""
        return ExecutionReport(
            trade.order.orderRef,
            state,
            str(trade.orderStatus.permId or trade.order.permId or ""),
            reason=clean(reason),
            terms=wire.terms_of(trade.order),
            ts=self._now(),
        )

    def _fill(self, fill: "ib_async.Fill") -> Fill:
        done = fill.execution
        return Fill(
            f"ib-{done.execId}",
            done.orderRef,
            self._symbol(fill.contract.symbol),
            Side.BUY if done.side == "BOT" else Side.SELL,
            wire.exact(done.shares),
            wire.exact(done.price),
            wire.exact(fill.commissionReport.commission),
            nanos(done.time),
            venue_order_id=str(done.permId),
        )

    def _venue_order(self, trade: "ib_async.Trade") -> VenueOrder:
        order, state = trade.order, wire.state_of(trade)
        terms = wire.terms_of(order)
        ours = Order(
            order.orderRef,
            EXTERNAL,
            self._symbol(trade.contract.symbol),
            Side(order.action.lower()),
            wire.OUR_TYPES.get(order.orderType, OrderType.MARKET),
            terms.quantity,
            OrderPurpose.EXTERNAL,
            self._now(),
            self._now(),
            terms.limit_price or terms.stop_price or ZERO,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
            state=state,
            filled=wire.exact(trade.orderStatus.filled),
            venue_order_id=str(order.permId),
        )
        return VenueOrder(ours, state)


async def _lost(ib: "ib_async.IB") -> None:
    await ib.disconnectedEvent


def _choose(accounts: Sequence[str], wanted: str) -> str:
    """Raises UserError where it is not clear which account is to be traded."""
    if wanted in accounts:
        return wanted
    if not wanted and len(accounts) == 1:
        return accounts[0]
    raise UserError(
        f"Interactive Brokers has no account {wanted}" if wanted else "which account to trade?",
        f"set INTERACTIVE_BROKERS_ACCOUNT to one of {clean(', '.join(accounts)) or 'none'}",
    )
