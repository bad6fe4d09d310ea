"""The broker Questrade."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import structs

from engine.brokers.base import (
    Balance,
    BaseBroker,
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotSent,
    Room,
)
from engine.brokers.questrade import wire
from engine.brokers.questrade.ids import OrderIds
from engine.brokers.questrade.news import News
from engine.brokers.questrade.records import Records
from engine.brokers.turns import for_a_cancel
from engine.core.events import (
    CancelRejected,
    Event,
    ExecutionReport,
    ReplaceRejected,
    VenueOrder,
)
from engine.core.model import (
    DAY,
    FINAL_STATES,
    NANOS,
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
    from engine.brokers.questrade.session import Session

S = OrderState

OPEN_FOR = 120 * DAY
"""No order stays open for longer."""


class QuestradeBroker(BaseBroker):
    """One account at Questrade.

    It keeps no client order ids: see `OrderIds` for what that means for an order in doubt. An
    order's `venue_order_id` is the id of its chain, which stays the same when it is replaced.
    Orders need Questrade's permission as a partner; without it they raise NotPermitted, and all
    else works. `session` is the engine's (`open_session`): its market data use it too.
    """

    name = "questrade"
    capabilities = Capabilities(
        order_types=tuple(wire.TYPES),
        times_in_force=tuple(wire.TIMES),
        replace=True,
        idempotency=Idempotency.NONE,
        visibility_lag=10 * NANOS,
    )

    def __init__(
        self,
        instruments: Iterable[Instrument],
        session: "Session",
        *,
        account: str = "",
    ) -> None:
        self._instruments = tuple(instruments)
        self._session = session
        self._joined = False
        self._now = session.now
        self.live = session.live
        self._account = account
        self._known: Records | None = None
        self._news: News | None = None
        self._ids = OrderIds()

    # --- the connection -------------------------------------------------------------------------

    async def connect(self) -> None:
        await self.disconnect()
        self._session.join()
        self._joined = True
        try:
            answer = await self._session.get("accounts", wire.Accounts)
        except NotAuthenticated as error:
            raise UserError(wire.NO_LOGIN, str(error)) from error
        self.account_number = number = _choose(answer.accounts, self._account)
        self._known = Records(self._session, number, self._instruments, self._ids, self._now)

    async def disconnect(self) -> None:
        if self._news is not None:
            await self._news.close()
        joined, self._joined, self._known = self._joined, False, None
        if joined:
            await self._session.leave()

    @property
    def _records(self) -> Records:
        if self._known is None:
            raise NotConnected("not connected to Questrade")
        return self._known

    async def stream_fills(self) -> AsyncIterator[Event]:
        self._news = News(self.name, self._records)
        async with aclosing(self._news.events()) as events:
            async for event in events:
                yield event

    # --- orders ---------------------------------------------------------------------------------

    async def submit_order(self, order: Order) -> ExecutionReport:
        key = order.client_order_id
        symbol_id = await self._session.symbols.id_of(order.symbol)
        if symbol_id is None:
            return ExecutionReport(key, S.REJECTED, reason=_unknown(order.symbol), ts=self._now())
        body = wire.body_of(order, order.terms, self._records.number, symbol_id)
        self._ids.expect(order)
        try:
            return await self._place(order, "orders", body)
        except wire.Refused as refused:
            self._ids.forget(order)
            return ExecutionReport(key, S.REJECTED, reason=str(refused), ts=self._now())
        except NotSent:
            self._ids.forget(order)
            raise

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        known, symbol_id = self._ids.newest(order), await self._session.symbols.id_of(order.symbol)
        if known is None or symbol_id is None:
            return ReplaceRejected(order.client_order_id, "unknown order", ts=self._now())
        body = wire.body_of(order, terms, self._records.number, symbol_id)
        try:
            return await self._place(order, f"orders/{known}", body)
        except wire.Refused as refused:
            return ReplaceRejected(order.client_order_id, str(refused), ts=self._now())

    async def _place(self, order: Order, what: str, body: dict[str, Any]) -> ExecutionReport:
        """Make an order, or put it in the place of another one. Raises as `Session.send`."""
        request = wire.Request("POST", self._records.path(what), "orders", body=body)
        try:
            answer = await self._records.session.send(request, wire.Orders)
        except wire.Refused as refused:
            answer = wire.made_all_the_same(refused)
            if answer is None:
                raise
        if not answer.orders:
            raise InDoubt("Questrade does not say which order it made")
        row = max(answer.orders, key=lambda row: row.id)
        self._ids.learn(order.client_order_id, row)
        return wire.report_of(row, order.client_order_id, self._now(), answer.message)

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        """The answer says that Questrade tries; the end is told by the stream."""
        with for_a_cancel():
            return await self._cancel(order)

    async def _cancel(self, order: Order) -> ExecutionReport | CancelRejected:
        key, known = order.client_order_id, self._ids.newest(order)
        if known is None:
            row = await self._records.find(order)
            if row is None:
                return CancelRejected(key, "unknown order", ts=self._now())
            known = row.id
        request = wire.Request("DELETE", self._records.path(f"orders/{known}"), "orders")
        try:
            await self._records.session.send(request, wire.Canceled)
        except wire.Refused as refused:
            return CancelRejected(key, str(refused), ts=self._now())
        return ExecutionReport(key, S.PENDING_CANCEL, order.venue_order_id, ts=self._now())

    async def get_order(self, order: Order) -> ExecutionReport | None:
        """With the first execution that `order` does not count yet, where there is one."""
        row = await self._records.find(order)
        if row is None:
            return None
        report = wire.report_of(row, order.client_order_id, self._now())
        if row.filled > order.filled:
            report = structs.replace(report, fill=await self._records.fill_after(order))
        return report

    # --- the account ----------------------------------------------------------------------------

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        rows = await self._records.orders("Open", self._now() - OPEN_FOR)
        return [self._records.venue_order(r) for r in rows if r.our_state not in FINAL_STATES]

    async def get_fills(self, since: int) -> Sequence[Fill]:
        return [self._records.fill(row) for row in await self._records.executions(since)]

    async def get_positions(self) -> Mapping[str, Decimal]:
        answer = await self._records.session.get(self._records.path("positions"), wire.Positions)
        return {self._records.symbol(row.symbol): row.open_quantity for row in answer.positions}

    async def get_account_balance(self) -> Balance:
        """In the currency of the instruments; nothing where they have several, for each has its own
        cash."""
        answer = await self._records.session.get(self._records.path("balances"), wire.Balances)
        currencies = {instrument.currency for instrument in self._instruments}
        for row in answer.per_currency_balances:
            if currencies == {row.currency}:
                return Balance(row.cash, row.buying_power)
        return Balance()

    async def get_time(self) -> int:
        answer = await self._records.session.get("time", wire.Clock)
        return nanos(answer.time)

    def room(self) -> Room:
        return self._session.room

    # --- market data ----------------------------------------------------------------------------

    async def get_quote(self, symbol: str) -> Quote | None:
        symbol_id = await self._session.symbols.id_of(symbol)
        if symbol_id is None:
            return None
        answer = await self._records.session.get(
            "markets/quotes", wire.Quotes, "market", ids=str(symbol_id)
        )
        for row in answer.quotes:
            if row.symbol_id == symbol_id and not row.is_halted and not row.delay:
                prices = (row.bid_price or 0.0, row.ask_price or 0.0)
                sizes = (row.bid_size or 0.0, row.ask_size or 0.0)
                quote = Quote(symbol, self._now(), *prices, *sizes)
                return quote if quote.is_sound else None
        return None


def _choose(accounts: Iterable[wire.AccountRow], wanted: str) -> str:
    """The number of the account to trade. Raises UserError where that is not clear."""
    numbers = [str(account.number) for account in accounts if account.status == "Active"]
    if wanted in numbers:
        return wanted
    if not wanted and len(numbers) == 1:
        return numbers[0]
    there = clean(", ".join(numbers)) or "none"
    raise UserError(
        f"Questrade has no account {wanted}" if wanted else "which account at Questrade to trade?",
        f"set QUESTRADE_ACCOUNT to one of those that the token may use: {there}",
    )


def _unknown(symbol: str) -> str:
    return f"Questrade has no symbol {wire.name_of(symbol)}"
