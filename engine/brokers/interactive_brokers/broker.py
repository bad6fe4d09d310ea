"""The broker Interactive Brokers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import structs

from engine.brokers.base import Balance, BaseBroker, InDoubt, NotSent, Room
from engine.brokers.interactive_brokers import wire
from engine.brokers.interactive_brokers.connection import Connection
from engine.brokers.interactive_brokers.login import Gateway
from engine.brokers.interactive_brokers.records import Records, order_of
from engine.brokers.turns import for_a_cancel, take_turn
from engine.brokers.wanted import check_wanted
from engine.core.events import (
    BrokerChanged,
    CancelRejected,
    Event,
    ExecutionReport,
    ReplaceRejected,
    TradeBusted,
    VenueOrder,
)
from engine.core.model import (
    FINAL_STATES,
    NANOS,
    ZERO,
    Capabilities,
    Fill,
    Idempotency,
    Instrument,
    Order,
    OrderState,
    OrderTerms,
    Quote,
    nanos,
)
from engine.core.text import clean
from engine.ops.errors import UserError

if TYPE_CHECKING:
    import ib_async

S = OrderState

PAPER_ACCOUNTS = "D"
"""How the numbers of paper accounts begin: DU, and DF for advisors."""
COMMISSIONS_S = 1.0
"""How long the commissions of executions that are listed are waited for."""
OTHER_CLIENT = "it was made by another client of TWS, which alone can change it"


class InteractiveBrokers(BaseBroker):
    """One account at Interactive Brokers.

    The client order id is the order's `orderRef`, which IB does not keep unique. Executions are
    those of the day: IB tells of no others. A login may have several accounts: what is of another
    one is left out. Until it is known which account it is, it counts as a real one.
    """

    name = "interactive_brokers"
    live = True
    capabilities = Capabilities(
        order_types=tuple(wire.TYPES),
        times_in_force=wire.TIMES,
        replace=True,
        idempotency=Idempotency.NONE,
        visibility_lag=5 * NANOS,
    )

    def __init__(
        self, instruments: Iterable[Instrument], now: Callable[[], int], gateway: Gateway
    ) -> None:
        self._records = Records(instruments, now)
        self._now = now
        self._wanted = gateway.account
        self._line = Connection(gateway, gateway.client_id, self._on_change)
        self._contracts: dict[str, ib_async.Contract] = {}
        self._news: asyncio.Queue[Event | None] = asyncio.Queue()
        self._told: set[str] = set()
        self._looking: set[asyncio.Task[None]] = set()

    # --- the connection -------------------------------------------------------------------------

    async def connect(self) -> None:
        await self.disconnect()
        ib = await self._line.open(with_orders=True)
        self.account_number = _choose(ib.managedAccounts(), self._wanted)
        self.live = not self.account_number.startswith(PAPER_ACCOUNTS)
        self._news = asyncio.Queue()
        self._told.clear()
        ib.orderStatusEvent += self._on_status
        ib.commissionReportEvent += self._on_execution
        ib.disconnectedEvent += self._on_disconnected

    async def disconnect(self) -> None:
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        self._line.close()

    async def stream_fills(self) -> AsyncIterator[Event]:
        """Until the connection is lost: it is one with that of the requests."""
        news = self._news
        while (event := await news.get()) is not None:
            yield event

    def _on_status(self, trade: "ib_async.Trade") -> None:
        if not trade.order.orderRef or not self._is_ours(trade.order.account):
            return
        if wire.is_guess(trade):
            looking = asyncio.ensure_future(self._look(trade.order.orderRef))
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)
        else:
            self._news.put_nowait(self._records.report(trade))

    async def _look(self, key: str) -> None:
        """Tell where an order is of which ib_async only guesses that it has ended."""
        try:
            await self._open_trades()
        except (NotSent, InDoubt):
            return  # it is asked for where the accounts are compared
        trade = self._seen(lambda trade: trade.order.orderRef == key)
        if trade is not None and wire.perm_id(trade):
            self._news.put_nowait(self._records.report(trade))

    def _on_execution(
        self, trade: "ib_async.Trade", fill: "ib_async.Fill", _: "ib_async.CommissionReport"
    ) -> None:
        """Told once: ib_async tells all again where they are asked for."""
        ours = self._records.fill(fill)
        if ours.execution_id in self._told or not self._is_ours(fill.execution.acctNumber):
            return
        self._told.add(ours.execution_id)
        if former := wire.corrected(fill.execution.execId, self._executions()):
            busted = TradeBusted(
                f"ib-{clean(former)}", ours.symbol, ours, "corrected", ts=self._now()
            )
            self._news.put_nowait(busted)
            return
        report = self._records.report(trade)
        report = structs.replace(report, state=S.PARTIALLY_FILLED, fill=ours, terms=None)
        self._news.put_nowait(report)

    def _executions(self) -> list[str]:
        return [fill.execution.execId for fill in self._line.ib.fills()]

    def _is_ours(self, account: str) -> bool:
        return account in (self.account_number, "")

    def _on_change(self, up: bool, reason: str) -> None:
        self._news.put_nowait(BrokerChanged(self.name, up, reason, ts=self._now()))

    def _on_disconnected(self) -> None:
        self._news.put_nowait(None)

    # --- orders ---------------------------------------------------------------------------------

    async def submit_order(self, order: Order) -> ExecutionReport:
        """Raises InDoubt too where IB says what may be a refusal, and may be a remark."""
        line = self._line
        contract = await self._contract(order.symbol)
        asked, ib = order_of(order, order.terms, self.account_number), line.ib
        check_wanted()
        line.bucket.take()
        trade = ib.placeOrder(contract, asked)
        _, text = await line.answer(ib, trade, lambda: wire.is_answered(trade))
        if not wire.is_answered(trade):
            raise InDoubt(f"Interactive Brokers: {text}")
        return self._records.report(trade)

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        key, line = order.client_order_id, self._line
        trade = await self._find(order)
        if trade is None or trade.isDone():
            return ReplaceRejected(key, "not open", ts=self._now())
        if not self._may_change(trade):
            return ReplaceRejected(key, OTHER_CLIENT, ts=self._now())
        asked, ib = order_of(order, terms, self.account_number), line.ib
        asked.orderId, asked.permId, asked.clientId = (
            trade.order.orderId,
            trade.order.permId,
            trade.order.clientId,
        )
        check_wanted()
        line.bucket.take()
        ib.placeOrder(trade.contract, asked)
        code, reason = await line.answer(ib, trade, lambda: wire.terms_of(trade.order) == terms)
        if code:
            return ReplaceRejected(key, reason, ts=self._now())
        return self._records.report(trade)

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        with for_a_cancel():
            return await self._cancel(order)

    async def _cancel(self, order: Order) -> ExecutionReport | CancelRejected:
        key, line = order.client_order_id, self._line
        await take_turn(line.bucket)
        trade = await self._find(order)
        if trade is None or trade.isDone():
            reason = "unknown order" if trade is None else f"too late: {trade.orderStatus.status}"
            return CancelRejected(key, reason, ts=self._now())
        if not self._may_change(trade):
            return CancelRejected(key, OTHER_CLIENT, ts=self._now())
        ib = line.ib
        ib.cancelOrder(trade.order)
        code, reason = await line.answer(ib, trade, trade.isDone)
        if code not in (0, wire.CANCELED) or trade.orderStatus.status == "Filled":
            return CancelRejected(key, reason or "too late", ts=self._now())
        return self._records.report(trade)

    async def get_order(self, order: Order) -> ExecutionReport | None:
        """Where it is among the open orders; else by the executions of the day, or as this session
        saw its end."""
        key = order.client_order_id
        listed = [t for t in await self._open_trades() if _is_of(order, t)]
        if listed:
            return self._records.report(listed[0], key)
        fills = await self.get_fills(0)
        fills = [f for f in fills if _names(order, f.client_order_id, f.venue_order_id)]
        filled = sum((fill.quantity for fill in fills), ZERO)
        seen = self._seen(partial(_is_of, order))
        if filled >= order.quantity:
            venue_id = fills[-1].venue_order_id
            return ExecutionReport(key, S.FILLED, venue_id, fills[-1], ts=self._now())
        if seen is None or not wire.has_ended(seen):
            return None
        return self._records.report(seen, key)

    async def _find(self, order: Order) -> "ib_async.Trade | None":
        known = self._seen(partial(_is_of, order))
        if known is not None and not wire.is_guess(known):
            return known
        await self._open_trades()
        return self._seen(partial(_is_of, order))

    def _seen(self, is_meant: "Callable[[ib_async.Trade], bool]") -> "ib_async.Trade | None":
        trades = [trade for trade in self._line.ib.trades() if is_meant(trade)]
        return trades[-1] if trades else None

    def _may_change(self, trade: "ib_async.Trade") -> bool:
        """Numbers of orders are each client's own: under another one's number it would be another
        order here, or a new one."""
        return trade.order.clientId == self._line.client_id and trade.order.orderId > 0

    # --- the account ----------------------------------------------------------------------------

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        orders = [self._records.venue_order(trade) for trade in await self._open_trades()]
        return [order for order in orders if order.state not in FINAL_STATES]

    async def _open_trades(self) -> "list[ib_async.Trade]":
        trades = await self._line.ask_alone(lambda ib: ib.reqAllOpenOrdersAsync())
        return [trade for trade in trades if self._is_ours(trade.order.account)]

    async def get_fills(self, since: int) -> Sequence[Fill]:
        """Those of the day; of one that was corrected as it is now."""
        await self._line.ask(_executions)
        ids = self._executions()
        former = {f"ib-{wire.corrected(each, ids)}" for each in ids}
        ours = (f for f in self._line.ib.fills() if self._is_ours(f.execution.acctNumber))
        fills = map(self._records.fill, ours)
        return [f for f in fills if f.ts >= since and f.execution_id not in former]

    async def get_positions(self) -> Mapping[str, Decimal]:
        held = await self._line.ask_alone(lambda ib: ib.reqPositionsAsync())
        return {
            self._records.symbol(p.contract): wire.exact(p.position)
            for p in held
            if p.account == self.account_number
        }

    async def get_account_balance(self) -> Balance:
        """In the account's own currency; nothing where the instruments have another one."""
        currencies = {i.currency for i in self._records.instruments.values()}
        values: dict[str, Decimal] = {}
        for value in await self._line.ask(_summary):
            is_ours = value.account == self.account_number and {value.currency} == currencies
            if is_ours and (amount := wire.amount(value.value)) is not None:
                values[value.tag] = amount
        return Balance(values.get("TotalCashValue"), values.get("BuyingPower"))

    async def get_time(self) -> int:
        """IB counts whole seconds: the middle of one is as near as can be."""
        told = await self._line.ask_alone(lambda ib: ib.reqCurrentTimeAsync())
        return nanos(told) + NANOS // 2

    def room(self) -> Room:
        return self._line.bucket.room()

    async def get_quote(self, symbol: str) -> Quote | None:
        if self._records.instrument(symbol) is None:
            return None
        contract = await self._contract(symbol)
        (ticker,) = await self._line.ask(lambda ib: ib.reqTickersAsync(contract))
        quote = Quote(symbol, self._now(), ticker.bid, ticker.ask, ticker.bidSize, ticker.askSize)
        return quote if quote.is_sound and ticker.marketDataType == wire.LIVE_DATA else None

    async def _contract(self, symbol: str) -> "ib_async.Contract":
        """What IB trades as `symbol`, asked for once. Raises NotSent where it has no such, or not
        one alone, or there is no answer."""
        if symbol not in self._contracts:
            self._contracts[symbol] = await self._line.contract(*wire.stock_of(symbol))
        return self._contracts[symbol]


def _is_of(order: Order, trade: "ib_async.Trade") -> bool:
    return _names(order, clean(trade.order.orderRef), str(wire.perm_id(trade)))


def _names(order: Order, reference: str, perm_id: str) -> bool:
    """Whether these are of `order`; one that was made by hand has IB's own id alone."""
    if reference:
        return reference == order.client_order_id
    return perm_id == order.venue_order_id


async def _executions(ib: "ib_async.IB") -> None:
    """Have ib_async know the day's executions, with their commissions: those come after each."""
    await ib.reqExecutionsAsync()
    changed = asyncio.Event()

    def note() -> None:
        changed.set()

    ib.updateEvent += note
    try:
        async with asyncio.timeout(COMMISSIONS_S):
            while not all(fill.commissionReport.execId for fill in ib.fills()):
                await changed.wait()
                changed.clear()
    except TimeoutError:
        pass  # an execution counts, whatever it cost
    finally:
        ib.updateEvent -= note


async def _summary(ib: "ib_async.IB") -> "list[ib_async.AccountValue]":
    """Asked for anew: what ib_async subscribes to comes every few minutes."""
    client: Any = ib.client
    wrapper: Any = ib.wrapper
    request = client.getReqId()
    answered = wrapper.startReq(request)
    client.reqAccountSummary(request, "All", "TotalCashValue,BuyingPower")
    try:
        await answered
    finally:  # IB has no more than two at a time
        if ib.isConnected():
            client.cancelAccountSummary(request)
    return list(wrapper.acctSummary.values())


def _choose(accounts: Sequence[str], wanted: str) -> str:
    """Raises UserError where it is not clear which account is to be traded."""
    if wanted in accounts:
        return wanted
    if not wanted and len(accounts) == 1:
        return accounts[0]
    raise UserError(
        f"Interactive Brokers has no account {wanted}" if wanted else "which account to trade?",
        f"set IB_ACCOUNT to one of {clean(', '.join(accounts)) or 'none'}",
    )
